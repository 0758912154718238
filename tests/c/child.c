// The program that exec, spawn and popen start: tells how it was started. It is
// compiled into the fixture as bin/child.
// part of the fixture
// Whoever started it hands the counters over.
#undef HITS_OFFSET
#include "common.h"

extern char **environ;

int main(int argc, char **argv)
{
	char cwd[PATH_MAX] = "?";
	char exe[PATH_MAX] = "";
	int shown = 0;
	printf("child:");
	for (int i = 0; i < argc; i++)
		putchar(' '), print_path(argv[i]);
	putchar('\n');
	if (!getcwd(cwd, sizeof cwd))
		strcpy(cwd, error_name(errno));
	printf(" in "), print_path(cwd);
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0)
		strcpy(exe, error_name(errno));
	printf(" as "), print_path(exe);
	printf(" umask %03o open", umask(0));
	for (int fd = 3; fd < 20; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf(" %d", fd);
	sigset_t blocked;
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	printf(" blocked");
	for (int sig = 1; sig < 32; sig++)
		if (sigismember(&blocked, sig))
			printf(" %d", sig);
	printf(" ignored");
	for (int sig = 1; sig < 32; sig++) {
		struct sigaction action;
		if (sigaction(sig, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			printf(" %d", sig);
	}
	printf("%s\n env", getpgrp() == getpid() ? " leader" : "");
	// How this library and its daemon are told things is not the job's own environment.
	for (char **entry = environ; *entry; entry++)
		if (strncmp(*entry, "TERMITE", 7) && strncmp(*entry, "XDG_", 4) && strncmp(*entry, "LD_PRELOAD", 10) && shown++ < 40)
			putchar(' '), print_path(*entry);
	putchar('\n');
	const char *word = getenv("READ");
	if (word) {
		char line[64] = "";
		ssize_t got = read(atoi(word), line, sizeof line - 1);
		printf(" read %zd ", got), print_path(line), putchar('\n');
	}
	fflush(stdout);
	return argc > 1 ? atoi(argv[1]) : 0;
}
