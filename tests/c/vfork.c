// vfork: a child that shares its parent's memory makes path calls, executes in every way, and ends.
// hooks: open execve execvp execlp access readlink chdir
#include "common.h"
#include <sched.h>

static char *ENV[] = { "A=1", NULL }, *ARGV[] = { "zeroth", "3", NULL };
static volatile int STEPS;

#define BORN(...) do { \
	fflush(stdout); \
	pid_t child = vfork(); \
	if (child == 0) { \
		__VA_ARGS__; \
		_exit(98); \
	} \
	show_end(#__VA_ARGS__, child); \
} while (0)

static int cloned(void *unused)
{
	execve("bin/child", ARGV, ENV);
	return 97;
}

int main(void)
{
	char text[64];
	struct stat st;
	BORN(execve("bin/child", ARGV, ENV));
	BORN(execve("dir/script.sh", ARGV, ENV));
	BORN(execve("missing", ARGV, ENV));
	BORN(execvp("no-such-program", ARGV));
	BORN(execlp("sh", "sh", "-c", "cat trees/two/a/b/leaf; exit 4", (char *)NULL));
	BORN(STEPS = stat("trees/three/a", &st) == 0 && access("missing", F_OK) < 0 && readlink("trees/three/a/b/up", text, 64) == 9 ? 7 : 8; _exit(STEPS));
	printf("steps %d errno kept %d\n", STEPS, errno == ENOENT);
	// What the child opens and where it goes is its own.
	BORN(chdir("dir/sub"); close(0); open("deep/leaf", O_RDONLY); execve("../../bin/child", ARGV, (char *[]){ "READ=0", NULL }));
	show_path("dir/sub"), R(read(0, text, 0));
	// One within the other, and one that forks.
	BORN(pid_t inner = vfork(); if (inner == 0) { execve("bin/child", ARGV, ENV); _exit(96); } int status; waitpid(inner, &status, 0); _exit(WEXITSTATUS(status) + 10));
	BORN(pid_t inner = fork(); if (inner == 0) execve("bin/child", ARGV, ENV); int status; waitpid(inner, &status, 0); _exit(WEXITSTATUS(status) + 20));
	static char stack[1 << 16];
	fflush(stdout);
	show_end("CLONE_VM | CLONE_VFORK", clone(cloned, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
	fflush(stdout);
	pid_t child = vfork();
	if (child == 0)
		raise(SIGKILL);
	show_end("killed", child);
	// Many, one after the other, of a program that is there and of one that is not.
	int bad = 0;
	for (int i = 0; i < 60; i++) {
		int status;
		child = vfork();
		if (child == 0) {
			execlp(i % 3 ? "true" : "not-there", "true", (char *)NULL);
			_exit(3);
		}
		bad += waitpid(child, &status, 0) != child || WEXITSTATUS(status) != (i % 3 ? 0 : 3);
	}
	printf("bad %d\n", bad);
	fflush(stdout);
	// Shells: dash forks by vfork where it can, bash where it was told so.
	const char *text_of_shell = "for i in 1 2 3; do cat many/n0$i; (cd dir && cat file); done; a=$(cat link | tr a-z A-Z); echo \"$a\"; "
		"cat trees/four/a/b/leaf | cat - plain1 > out; cat < out; cat missing || echo no $?; ./missing || echo no $?; bin/child 3 | head -1; wait";
	char *shells[] = { "/bin/dash", "/bin/bash" };
	for (int i = 0; i < LEN(shells); i++)
		BORN(execl(shells[i], shells[i], "-c", text_of_shell, (char *)NULL));
	return 0;
}
