// Programs executed by descriptor, chains of `#!` lines, programs that have no name.
// beside: static
// hooks: fexecve execveat execve
#include "common.h"
#include <sys/sendfile.h>

static char *ARGV[] = { "zeroth", "3", "two words", NULL }, *ENV[] = { "A=1", NULL };

#define RUN(expression) do { \
	fflush(stdout); \
	pid_t child = fork(); \
	if (child == 0) { \
		expression; \
		printf("%s\n", error_name(errno)); \
		fflush(stdout); \
		_exit(98); \
	} \
	show_end(#expression, child); \
} while (0)

// The child tells its own name; one without a name is called by a number that varies.
#define RUN_QUIET(expression) RUN((dup2(open("/dev/null", O_WRONLY), 1), expression))

static void copy_to(int to, const char *path)
{
	struct stat st;
	int from = open(path, O_RDONLY);
	fstat(from, &st);
	while (lseek(from, 0, SEEK_CUR) < st.st_size)
		if (sendfile(to, from, NULL, st.st_size) <= 0)
			die("sendfile");
	close(from);
}

static int reopened(int fd)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int again = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return again;
}

static void by_descriptor(void)
{
	int dir = open("bin", O_PATH | O_DIRECTORY), script = open("dir/script.sh", O_PATH), nested = open("trees/one", O_RDONLY);
	const char *programs[] = { "bin/child", "bin/static" };
	for (int i = 0; i < LEN(programs); i++) {
		int plain = open(programs[i], O_RDONLY), path = open(programs[i], O_PATH | O_CLOEXEC);
		dup2(plain, 19), close(plain);
		RUN(fexecve(19, ARGV, ENV));
		RUN(fexecve(path, ARGV, ENV));
		RUN(execveat(19, "", ARGV, ENV, AT_EMPTY_PATH));
		RUN(execveat(path, "", ARGV, ENV, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
		RUN(execveat(19, "", ARGV, ENV, 0));
		RUN(execveat(19, "child", ARGV, ENV, 0));
		RUN(execve("/proc/self/fd/19", ARGV, ENV));
		RUN(execve("/dev/fd/19", ARGV, ENV));
		close(19), close(path);
	}
	RUN(execveat(dir, "child", ARGV, ENV, 0)); RUN(execveat(dir, "link", ARGV, ENV, 0)); RUN(execveat(dir, "link", ARGV, ENV, AT_SYMLINK_NOFOLLOW));
	RUN(execveat(nested, "../../bin/child", ARGV, ENV, 0)); RUN(execveat(dir, "/bin/true", ARGV, ENV, 0)); RUN(execveat(dir, "", ARGV, ENV, AT_EMPTY_PATH));
	RUN(execveat(dir, "child", ARGV, ENV, 0x8)); RUN(execveat(AT_FDCWD, "", ARGV, ENV, AT_EMPTY_PATH)); RUN(execveat(dir, "missing", ARGV, ENV, AT_EMPTY_PATH));
	RUN(fexecve(script, ARGV, ENV)); RUN(execveat(script, "", ARGV, ENV, AT_EMPTY_PATH)); RUN(execveat(nested, "../../dir/script.sh", ARGV, ENV, 0));
	fcntl(script, F_SETFD, FD_CLOEXEC);
	RUN(fexecve(script, ARGV, ENV));
	close(dir), close(script), close(nested);
}

static void nameless(void)
{
	const char *programs[] = { "bin/child", "bin/static" };
	for (int i = 0; i < LEN(programs); i++) {
		int memory = syscall(SYS_memfd_create, "nameless", 0);
		copy_to(memory, programs[i]), fchmod(memory, 0755);
		RUN_QUIET(fexecve(memory, ARGV, ENV));
		close(memory);
		int temporary = open("dir", O_TMPFILE | O_RDWR, 0755);
		copy_to(temporary, programs[i]), temporary = reopened(temporary);
		RUN_QUIET(fexecve(temporary, ARGV, ENV));
		close(temporary);
		int gone = open("gone", O_CREAT | O_RDWR, 0755);
		copy_to(gone, programs[i]), gone = reopened(gone), unlink("gone");
		RUN_QUIET(execveat(gone, "", ARGV, ENV, AT_EMPTY_PATH));
		close(gone);
	}
	// A script without a name cannot be read by its interpreter once the descriptor is closed.
	int memory = syscall(SYS_memfd_create, "nameless", 0);
	dprintf(memory, "#!dir/script.sh\n"), fchmod(memory, 0755);
	RUN_QUIET(fexecve(memory, ARGV, ENV));
}

static void chain(int length, const char *first)
{
	char path[64], text[128], command[64];
	for (int i = 0; i < length; i++) {
		snprintf(path, sizeof path, "chained/%d", i);
		if (i == 0)
			snprintf(text, sizeof text, "#!%s\necho innermost \"$@\"\n", first);
		else
			snprintf(text, sizeof text, "#! chained/%d   with words \t\n", i - 1);
		write_file(path, text), chmod(path, 0755);
	}
	snprintf(command, sizeof command, "chained/%d", length - 1);
	printf("chain of %d on %s\n", length, first);
	RUN(execve(command, ARGV, ENV));
}

int main(void)
{
	by_descriptor();
	nameless();
	mkdir("chained", 0755);
	for (int length = 1; length <= 7; length++)
		chain(length, "/bin/sh");
	chain(2, "/usr/bin/env -S sh -e"), chain(2, "bin/child"), chain(2, "bin/static"), chain(1, "missing"), chain(3, "dir"), chain(1, "bin/link with-argument"), chain(2, ""), chain(2, "dir/no-magic");
	chain(1, "dirlink/script.sh");
	// A shell takes over what the kernel will not execute.
	RUN(execlp("sh", "sh", "-c", "dir/no-magic a; dir/empty-exec; echo $?; chained/0", (char *)NULL));
	return 0;
}
