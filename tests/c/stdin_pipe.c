// Standard input of a pipe arrives whole, through read, readv, stdio, /dev/stdin and children.
// stdin: pipe
// hooks:
#include "common.h"
#include <poll.h>
#include <sys/uio.h>

int main(void)
{
	char one[5] = "", two[6] = "", line[128], rest[4];
	struct iovec parts[] = { { one, 4 }, { two, 5 } };
	struct pollfd ready = { .fd = 0, .events = POLLIN };
	R(readv(0, parts, 2));
	print_path(one), putchar(' '), print_path(two), putchar('\n');
	R(poll(&ready, 1, -1));
	int fd = open("/dev/stdin", O_RDONLY);
	memset(rest, 0, sizeof rest);
	R(read(fd, rest, 3));
	print_path(rest), putchar('\n');
	fflush(stdout);
	if (fork() == 0) {
		char byte;
		_exit(read(0, &byte, 1) == 1 ? byte : 0);
	}
	int status;
	wait(&status);
	printf("child read %d\n", WEXITSTATUS(status));
	long total = 0, lines = 0;
	while (fgets(line, sizeof line, stdin))
		total += strlen(line), lines++;
	printf("%ld bytes, %ld lines, at the end %d\n", total, lines, feof(stdin) != 0);
	R(read(0, line, 1));
	return 0;
}
