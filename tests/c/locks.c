// Locks between the processes of a job, of all four kinds, on files of the client that nobody
// read yet and on its own.
// hooks: open
#include "common.h"
#include <sys/file.h>

enum { FLOCK, POSIX, OFD, LOCKF };
static const char *const KINDS[] = { "flock", "fcntl", "OFD", "lockf" };

static int lock(int kind, int fd, int type, int wait)
{
	struct flock whole = { .l_type = type, .l_whence = SEEK_SET };
	switch (kind) {
	case FLOCK: return flock(fd, (type == F_WRLCK ? LOCK_EX : type == F_RDLCK ? LOCK_SH : LOCK_UN) | (wait ? 0 : LOCK_NB));
	case POSIX: return fcntl(fd, wait ? F_SETLKW : F_SETLK, &whole);
	case OFD: return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &whole);
	default: lseek(fd, 0, SEEK_SET); return lockf(fd, type == F_UNLCK ? F_ULOCK : wait ? F_LOCK : F_TLOCK, 0);
	}
}

static int in_child(int kind, const char *path, int flags, int type)
{
	int status;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		int fd = open(path, flags);
		_exit(fd < 0 ? 250 : lock(kind, fd, type, 0) == 0 ? 0 : errno);
	}
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static void kind_on(int kind, const char *path)
{
	printf("%s on %s:", KINDS[kind], path);
	int fd = open(path, O_RDWR);
	printf(" taken %d", lock(kind, fd, F_WRLCK, 0));
	int other = in_child(kind, path, O_RDWR, F_WRLCK);
	printf(" other %s", other ? error_name(other) : "0");
	if (kind != LOCKF)
		other = in_child(kind, path, O_RDONLY, F_RDLCK), printf(" reader %s", other ? error_name(other) : "0");
	printf(" left %d", lock(kind, fd, F_UNLCK, 0));
	printf(" other %d\n", in_child(kind, path, O_RDWR, F_WRLCK));
	close(fd);
}

// Children that count in a file, each holding the lock while it does.
static void counted(int kind, const char *path)
{
	char text[16] = "";
	write_file(path, "0");
	fflush(stdout);
	for (int child = 0; child < 4; child++)
		if (fork() == 0) {
			for (int i = 0; i < 50; i++) {
				char now[16] = "";
				int fd = open(path, O_RDWR);
				if (fd < 0 || lock(kind, fd, F_WRLCK, 1) != 0 || pread(fd, now, 15, 0) < 1)
					_exit(1);
				int length = snprintf(now, sizeof now, "%d", atoi(now) + 1);
				if (pwrite(fd, now, length, 0) != length)
					_exit(1);
				lock(kind, fd, F_UNLCK, 0), close(fd);
			}
			_exit(0);
		}
	for (int status; wait(&status) > 0;)
		if (status)
			printf("a child failed\n");
	int fd = open(path, O_RDONLY);
	R(read(fd, text, 15)), close(fd);
	printf("%s counted %s\n", KINDS[kind], text);
}

int main(void)
{
	char path[32];
	for (int kind = FLOCK; kind <= LOCKF; kind++) {
		snprintf(path, sizeof path, "many/n%02d", kind), kind_on(kind, path);
		snprintf(path, sizeof path, "own-%d", kind), write_file(path, "own\n"), kind_on(kind, path);
		snprintf(path, sizeof path, "count-%d", kind), counted(kind, path);
	}
	// A reader that holds a lock while another process makes the file its own by writing.
	int reader = open("big", O_RDONLY), writer;
	R(flock(reader, LOCK_SH));
	fflush(stdout);
	printf("writer %s\n", error_name(in_child(FLOCK, "big", O_RDWR, F_WRLCK)));
	writer = open("big", O_WRONLY | O_APPEND), R(write(writer, "more", 4)), R(flock(writer, LOCK_EX | LOCK_NB)), R(flock(reader, LOCK_UN)), R(flock(writer, LOCK_EX | LOCK_NB));
	// Looking at a file neither takes nor gives back a lock; opening and closing it does give back a process's own.
	struct stat st;
	int fd = open("plain1", O_RDWR);
	R(lock(POSIX, fd, F_WRLCK, 0)), R(stat("plain1", &st)), R(access("plain1", R_OK)), free(realpath("plain1", NULL));
	printf("still held %s\n", error_name(in_child(POSIX, "plain1", O_RDWR, F_WRLCK)));
	close(open("plain1", O_RDONLY));
	printf("given back %d\n", in_child(POSIX, "plain1", O_RDWR, F_WRLCK));
	int dir = open("trees", O_RDONLY);
	R(flock(dir, LOCK_EX)); printf("directory %s\n", error_name(in_child(FLOCK, "trees", O_RDONLY, F_WRLCK)));
	fflush(stdout);
	R(system("flock many/n10 sh -c 'flock -n many/n10 true; echo $?'; flock lockfile -c 'cat trees/one/top'"));
	return 0;
}
