// Signal handlers that leave by longjmp whatever they interrupted, over and over, with path
// calls before, in and after them: nothing is left behind half done.
// fresh: 40
// hooks: open stat access readlink realpath opendir
#include "common.h"
#include <setjmp.h>
#include <sys/time.h>

static sigjmp_buf BACK;
static volatile sig_atomic_t ARMED, JUMPS, LOOKS;

static void jump(int sig)
{
	struct stat st;
	LOOKS += stat("dir/file", &st) == 0 && access("missing", F_OK) < 0;
	if (ARMED) {
		ARMED = 0, JUMPS++;
		siglongjmp(BACK, 1);
	}
}

// Calls that hold no lock of libc's while they are in the kernel, so that leaving them is safe.
static int look(int i)
{
	struct stat st;
	char path[64], text[64];
	snprintf(path, sizeof path, i % 5 ? "many/n%02d" : "fresh/%d/file", i % 40);
	int good = stat(path, &st) == 0 && access(path, R_OK) == 0 && readlink("link", text, sizeof text) == 8 && lstat("loop", &st) == 0 && access("missing", F_OK) < 0;
	int fd = open(path, O_RDONLY);
	good = good && fd >= 0;
	close(fd);
	return good;
}

int main(void)
{
	struct itimerval each = { { 0, 700 }, { 0, 700 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = jump, .sa_flags = SA_RESTART };
	volatile int bad = 0, i = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &each, NULL);
	while (JUMPS < 300) {
		if (sigsetjmp(BACK, 1) == 0) {
			ARMED = 1;
			for (int n = 0; n < 100000 && ARMED; n++, i++)
				bad += !look(i);
		}
		// What an abandoned open returned is nobody's any more.
		closefrom(3);
	}
	ARMED = 0;
	setitimer(ITIMER_REAL, &never, NULL);
	printf("bad %d, jumps %d, all found in handlers %d\n", bad, JUMPS, LOOKS >= JUMPS);
	char *name = realpath("dirlink/../link", NULL);
	print_path(strrchr(name, '/')), putchar('\n');
	show_dir("trees/one"), show_file("trees/one/a/b/leaf"), show_file("fresh/39/file");
	return 0;
}
