// A program replaced by another from a thread that is not its first, while others are at work.
// beside: static
// hooks: execve stat
#include "common.h"
#include <pthread.h>

static char *ARGV[] = { "zeroth", "3", NULL }, *ENV[] = { "A=1", NULL };
static const char *PROGRAM;

static void *busy(void *unused)
{
	struct stat st;
	for (;;)
		if (stat("dir/file", &st) != 0 || access("missing", F_OK) == 0)
			abort();
}

static void *become(void *unused)
{
	execve("missing", ARGV, ENV);
	execve(PROGRAM, ARGV, ENV);
	printf("%s\n", error_name(errno));
	fflush(stdout);
	_exit(98);
}

int main(void)
{
	const char *programs[] = { "bin/child", "dir/script.sh", "bin/static", "missing", "dir/file", "dir/nested-script" };
	for (int i = 0; i < LEN(programs); i++) {
		PROGRAM = programs[i];
		printf("%s\n", PROGRAM);
		fflush(stdout);
		pid_t child = fork();
		if (child == 0) {
			pthread_t thread;
			for (int n = 0; n < 4; n++)
				pthread_create(&thread, NULL, busy, NULL);
			pthread_create(&thread, NULL, become, NULL);
			for (;;)
				pause();
		}
		show_end(PROGRAM, child);
	}
	return 0;
}
