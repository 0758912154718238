// fork in a program whose other threads are inside libc and hooked calls all the time; vfork; clone.
// hooks: open stat access readlink realpath opendir mkstemp
#include "common.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static atomic_int STOP, LOOKS;

static void *busy(void *number)
{
	struct stat st;
	char path[64], target[64];
	for (int i = (int)(long)number; !STOP; i++) {
		snprintf(path, sizeof path, "many/n%02d", i % 60);
		int fd = open(path, O_RDONLY);
		if (fd < 0 || stat(path, &st) != 0 || access("missing", F_OK) == 0 || readlink("link", target, sizeof target) < 0)
			abort();
		close(fd);
		char *name = realpath("dirlink/../link", NULL);
		if (!name)
			abort();
		free(name);
		LOOKS++;
	}
	return NULL;
}

// Everything a child of a threaded program does between fork and exec may need a lock
// that no thread of the child will ever give back.
static int in_child(void)
{
	struct stat st;
	char name[] = "dir/XXXXXX", target[64];
	int fd = open("dir/file", O_RDONLY), made = mkstemp(name);
	DIR *dir = opendir("dir");
	int good = fd >= 0 && made >= 0 && dir && unlink(name) == 0 && lstat("loop", &st) == 0 && readlink("loop", target, sizeof target) > 0;
	return good ? 0 : 1;
}

static int cloned(void *unused) { _exit(in_child()); }

int main(void)
{
	pthread_t threads[4];
	int status, bad = 0;
	for (long i = 0; i < LEN(threads); i++)
		pthread_create(&threads[i], NULL, busy, (void *)(i * 7));
	while (LOOKS < 200)
		sched_yield();
	for (int i = 0; i < 40; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(in_child());
		if (waitpid(child, &status, 0) != child || status != 0)
			bad++;
	}
	printf("fork: %d bad\n", bad);
	fflush(stdout);
	// The started programs say nothing: which descriptors the threads have open varies.
	close(1), open("/dev/null", O_WRONLY);
	for (int i = 0; i < 30; i++) {
		pid_t child = vfork();
		if (child == 0) {
			int fd = open("dir/missing", O_RDONLY);
			execl(i % 2 ? "bin/child" : "missing", "child", "7", (char *)NULL);
			_exit(fd < 0 ? 98 : 97);
		}
		if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != (i % 2 ? 7 : 98))
			bad++;
	}
	static char stack[1 << 17];
	for (int i = 0; i < 20; i++) {
		pid_t child = clone(cloned, stack + sizeof stack, SIGCHLD, NULL);
		if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
			bad++;
	}
	STOP = 1;
	for (int i = 0; i < LEN(threads); i++)
		pthread_join(threads[i], NULL);
	fprintf(stderr, "all: %d bad\n", bad);
	return bad != 0;
}
