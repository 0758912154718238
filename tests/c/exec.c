// Programs executed in every way: binaries, scripts, through links, by descriptor, in vain.
// hooks: execve execv execvp execvpe execl execle execlp fexecve execveat
#include "common.h"

static char *ENV[] = { "A=1", "PATH=/usr/bin:/bin", "LD_PRELOAD=", NULL }, *EMPTY[] = { NULL }, *NO_ARGS[] = { NULL };
static char *ARGV[] = { "zeroth", "3", "two words", "", NULL };
static int DIR_FD, CHILD_FD, SCRIPT_FD, CLOEXEC_FD;

#define RUN(expression) do { \
	fflush(stdout); \
	pid_t child = fork(); \
	if (child == 0) { \
		errno = UNTOUCHED; \
		expression; \
		printf("%s\n", error_name(errno)); \
		fflush(stdout); \
		_exit(98); \
	} \
	show_end(#expression, child); \
} while (0)

static const char *const PROGRAMS[] = {
	"bin/child", "./bin/child", "bin/../bin/child", "bin/link", "dir/script.sh", "dir/env-script", "dir/nested-script",
	"dir/bad-script", "dir/loop-script", "dir/long-script", "dir/no-magic", "dir/empty-exec", "dir/file", "dir", "bin/child/", "missing",
	"dangling", "loop", "dir/file/x", "", "dirlink/script.sh", "closed/file", "private",
};

static void by_path(void)
{
	char absolute[PATH_MAX], cwd[PATH_MAX - 100];
	if (!getcwd(cwd, sizeof cwd))
		die("getcwd");
	for (int i = 0; i < LEN(PROGRAMS); i++) {
		const char *program = PROGRAMS[i];
		snprintf(absolute, sizeof absolute, "%s/%s", cwd, program);
		print_path(program), putchar('\n');
		RUN(execve(program, ARGV, ENV));
		RUN(execve(absolute, ARGV, ENV));
		RUN(execv(program, ARGV));
		RUN(execvp(program, ARGV));
		RUN(execveat(AT_FDCWD, program, ARGV, ENV, 0));
	}
}

int main(void)
{
	char long_argument[200000];
	memset(long_argument, 'a', sizeof long_argument), long_argument[sizeof long_argument - 1] = 0;
	char *too_long[] = { "x", long_argument, NULL };
	DIR_FD = open("bin", O_RDONLY | O_CLOEXEC), CHILD_FD = open("bin/child", O_RDONLY | O_CLOEXEC);
	SCRIPT_FD = open("dir/script.sh", O_RDONLY), CLOEXEC_FD = open("dir/script.sh", O_PATH | O_CLOEXEC);
	by_path();
	RUN(execl("bin/child", "l0", "4", "l2", (char *)NULL));
	RUN(execl("missing", "l0", (char *)NULL));
	RUN(execle("bin/child", "e0", "5", (char *)NULL, ENV));
	RUN(execlp("child", "p0", "6", (char *)NULL));
	RUN((setenv("PATH", "dir:bin:/usr/bin", 1), execlp("child", "p0", "6", (char *)NULL)));
	RUN((setenv("PATH", "missing::bin", 1), execvp("child", ARGV)));
	RUN((setenv("PATH", "closed:dir", 1), execvp("no-magic", ARGV)));
	RUN((unsetenv("PATH"), execvp("sh", (char *[]){ "sh", "-c", "echo default path", NULL })));
	RUN((setenv("PATH", "dir/file:bin", 1), execvpe("child", ARGV, ENV)));
	RUN(execvpe("true", ARGV, EMPTY));
	RUN(execvpe("not-a-program-anywhere", ARGV, ENV));
	RUN(execvpe("", ARGV, ENV));
	RUN(execve("bin/child", ARGV, EMPTY));
	RUN(execve("bin/child", NO_ARGS, ENV));
	RUN(execve("bin/child", too_long, ENV));
	RUN(execve("bin/child", (char **)BAD_POINTER, ENV));
	RUN(execve(BAD_POINTER, ARGV, ENV));
	RUN(fexecve(CHILD_FD, ARGV, ENV));
	RUN(fexecve(SCRIPT_FD, ARGV, ENV));
	RUN(fexecve(-1, ARGV, ENV));
	RUN(execveat(DIR_FD, "child", ARGV, ENV, 0));
	RUN(execveat(DIR_FD, "../dir/script.sh", ARGV, ENV, 0));
	RUN(execveat(DIR_FD, "missing", ARGV, ENV, 0));
	RUN(execveat(DIR_FD, "link", ARGV, ENV, AT_SYMLINK_NOFOLLOW));
	RUN(execveat(CHILD_FD, "", ARGV, ENV, AT_EMPTY_PATH));
	RUN(execveat(-1, "bin/child", ARGV, ENV, 0));
	// A signal set, a mask and a directory go along.
	RUN((signal(SIGUSR1, SIG_IGN), umask(077), chdir("dir/sub"), execv("../../bin/child", ARGV)));
	// A program that was copied here a moment ago.
	R(system("cp bin/child dir/fresh && chmod 755 dir/fresh"));
	RUN(execv("dir/fresh", ARGV));
	// Busy: open for writing.
	int busy = open("dir/fresh", O_WRONLY | O_CLOEXEC);
	RUN(execv("dir/fresh", ARGV));
	close(busy);
	// What was missing along PATH is there a moment later, and the other way round.
	R(setenv("PATH", "dir/early:bin", 1));
	RUN(execvp("child", ARGV));
	R(mkdir("dir/early", 0755));
	RUN(execvp("child", ARGV));
	R(symlink("../script.sh", "dir/early/child"));
	RUN(execvp("child", ARGV));
	R(unlink("dir/early/child"));
	RUN(execvp("child", ARGV));
	// Another program in the place of one that was executed, with an interpreter of its own.
	RUN(execv("dir/script.sh", ARGV));
	R(rename("dir/fresh", "dir/script.sh"));
	RUN(execv("dir/script.sh", ARGV));
	R(system("PATH=/usr/bin:/bin; cd dirlink && rm script.sh && printf '#!/usr/bin/env -S sh -e\necho other $1\n' >script.sh && chmod 755 script.sh"));
	RUN(execv("dir/script.sh", ARGV));
	return 0;
}
