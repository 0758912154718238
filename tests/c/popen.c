// Shell commands run by libc: what they print, read and answer.
// hooks: popen system _IO_popen
#include "common.h"

extern FILE *_IO_popen(const char *, const char *);

static void read_from(FILE *(*opener)(const char *, const char *), const char *command, const char *mode)
{
	char line[256];
	fflush(stdout);
	FILE *stream = CALL(opener(command, mode));
	int error = errno;
	printf("popen %s %s:", mode, command);
	if (!stream) {
		printf(" %s\n", error_name(error));
		return;
	}
	printf(" %s\n", fcntl(fileno(stream), F_GETFD) ? "cloexec" : "inherited");
	while (fgets(line, sizeof line, stream))
		printf("> %s", line);
	printf("pclose %d\n", pclose(stream));
}

int main(void)
{
	const char *commands[] = {
		"echo hello", "bin/child 3", "cat dir/file link", "cat missing 2>&1", "exit 7", "kill -9 $$", "cd dir/sub && pwd -P && ls",
		"for f in many/n0*; do test -f $f && echo $f; done", "not-a-command-anywhere 2>/dev/null", "", "dir/script.sh a b | tr a-z A-Z",
		"cat <<END\nhere document\nEND", "echo $(cat dir/file)", "ls missing/* 2>/dev/null; echo $?",
	};
	setlinebuf(stdout);
	for (int i = 0; i < LEN(commands); i++) {
		read_from(popen, commands[i], "r");
		printf("system = %x\n", CALL(system(commands[i])));
	}
	read_from(_IO_popen, "echo old name; bin/child", "re");
	read_from(popen, "echo x", "q");
	read_from(popen, "echo x", "rw");
	printf("shell there: %d\n", system(NULL) != 0);
	FILE *sink = popen("cat > popen-out; echo done >> popen-out", "w");
	if (!sink)
		die("popen");
	fputs("through the pipe\n", sink);
	printf("pclose %d\n", pclose(sink));
	show_file("popen-out");
	// Ignored and blocked signals are put back after system().
	signal(SIGINT, SIG_IGN);
	R(system("kill -INT $$; exit 4"));
	printf("still ignored: %d\n", signal(SIGINT, SIG_DFL) == SIG_IGN);
	// Two streams at once: the second child must not hold the first's pipe.
	FILE *first = popen("cat > first-out", "w"), *second = popen("sleep 0; cat > second-out", "w");
	fputs("1\n", first), fputs("2\n", second);
	printf("%d %d\n", pclose(first), pclose(second));
	show_file("first-out"), show_file("second-out");
	return 0;
}
