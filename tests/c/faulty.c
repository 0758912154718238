// A program to be built with a sanitizer: content, or with one fault of the kind that it is asked for.
// part of the fixture
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int SHARED;

static void *count(void *unused)
{
	for (int i = 0; i < 1000; i++)
		SHARED++;
	return NULL;
}

int main(int argc, char **argv)
{
	struct stat st;
	char text[64] = "", *block = malloc(16);
	const char *fault = argc > 1 ? argv[1] : "";
	int fd = open("dir/file", O_RDONLY);
	ssize_t got = read(fd, text, sizeof text - 1);
	printf("read %zd <%s> missing %d\n", got, text, stat("missing", &st));
	fflush(stdout);
	close(fd);
	if (!strcmp(fault, "heap"))
		block[argc + 14] = 'x';
	if (!strcmp(fault, "overflow"))
		printf("%d\n", 0x7ffffffe + argc);
	if (!strcmp(fault, "race")) {
		pthread_t one, two;
		pthread_create(&one, NULL, count, NULL), pthread_create(&two, NULL, count, NULL);
		pthread_join(one, NULL), pthread_join(two, NULL);
	}
	free(block);
	return 0;
}
