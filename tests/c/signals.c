// Signals inside a program, in handlers that make path calls, and as its end.
// end: signal 15
// hooks: open stat access signal sigaction
#include "common.h"
#include <setjmp.h>
#include <sys/resource.h>

static volatile int HANDLED, FOUND;
static sigjmp_buf BACK;

static void look(int sig)
{
	struct stat st;
	int fd = open("dir/file", O_RDONLY);
	FOUND += fd >= 0 && stat("many/n01", &st) == 0 && access("missing", F_OK) < 0;
	close(fd);
	HANDLED++;
}

// Of a FIFO this may end in EINTR anywhere, and of any file where the guard answers; so may
// all else that looks a path up where the shim is not there to ask again.
#define PATIENTLY(call) ({ int answer; do answer = call; while (answer < 0 && errno == EINTR); answer; })

static void jump(int sig) { siglongjmp(BACK, sig); }

int main(void)
{
	struct sigaction action = { .sa_handler = look };
	struct stat st;
	R(sigaction(SIGUSR1, &action, NULL));
	for (int i = 0; i < 50; i++)
		raise(SIGUSR1);
	printf("handled %d found %d\n", HANDLED, FOUND);
	// A child floods its parent while that makes path calls.
	pid_t child = fork(), me = getppid();
	if (child == 0) {
		for (int i = 0; i < 500; i++)
			kill(me, SIGUSR1);
		_exit(0);
	}
	int bad = 0;
	for (int i = 0; i < 500; i++) {
		int fd = PATIENTLY(open("dir/sub/deep/leaf", O_RDONLY));
		bad += fd < 0 || PATIENTLY(lstat("loop", &st)) != 0 || PATIENTLY(stat("missing", &st)) == 0 || errno != ENOENT;
		close(fd);
	}
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	printf("bad %d, found all %d\n", bad, HANDLED == FOUND);
	// Out of a crash in a path call by longjmp, and on with path calls.
	signal(SIGSEGV, jump);
	if (sigsetjmp(BACK, 1) == 0)
		(void)realpath(BAD_POINTER, NULL);
	show_file("link");
	int status;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	show_end("abort", child);
	child = fork();
	if (child == 0)
		for (;;)
			stat("missing", &st);
	kill(child, SIGKILL);
	show_end("kill", child);
	// Stopped and continued between path calls.
	child = fork();
	if (child == 0) {
		raise(SIGSTOP);
		_exit(stat("dir/file", &st) == 0 ? 5 : 6);
	}
	waitpid(child, &status, WUNTRACED);
	printf("stopped %d\n", WIFSTOPPED(status));
	kill(child, SIGCONT);
	show_end("continued", child);
	write_file("written-before-the-end", "kept\n");
	fflush(stdout);
#ifdef HITS_OFFSET
	keep_hits();
#endif
	raise(SIGTERM);
	return 0;
}
