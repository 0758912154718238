// Counts up the number in a file under a lock of it, in place, and takes its time over it.
//
// count HOW FILE MILLISECONDS     HOW is flock (flock(2)), posix (F_SETLKW) or open (F_OFD_SETLKW)

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int lock(const char *how, int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	if (strcmp(how, "flock") == 0)
		return flock(fd, LOCK_EX);
	return fcntl(fd, strcmp(how, "open") == 0 ? F_OFD_SETLKW : F_SETLKW, &whole);
}

int main(int argc, char **argv)
{
	char text[32] = "";
	if (argc != 4)
		return 2;
	int fd = open(argv[2], O_RDWR);
	if (fd < 0 || lock(argv[1], fd) != 0 || pread(fd, text, sizeof text - 1, 0) < 0) {
		perror(argv[2]);
		return 1;
	}
	usleep(1000 * atoi(argv[3]));
	int length = snprintf(text, sizeof text, "%d\n", atoi(text) + 1);
	if (pwrite(fd, text, length, 0) != length || close(fd) != 0) {
		perror(argv[2]);
		return 1;
	}
	return 0;
}
