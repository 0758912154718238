// A timer that fires every millisecond while paths are looked up. Where the handler asks
// for it (SA_RESTART) no call fails; where it does not, the guard alone lets some calls
// end in EINTR, which the kernel offers no way to hide, and the shim asks again.
// fresh: 60
// hooks: stat open syscall
#include "common.h"
#include <dlfcn.h>
#include <sys/time.h>

static volatile int TICKS;
static void tick(int sig) { TICKS++; }

// How often stat, which nowhere else can be, was interrupted.
static int INTERRUPTED;
// Interrupted calls go on by themselves.
static int RESTARTED;

static int again(int answer)
{
	int interrupted = answer < 0 && errno == EINTR;
	INTERRUPTED += interrupted;
	return interrupted;
}

static void look(const char *word)
{
	int found = 0, missing = 0, opened = 0, other = 0, fd, answer, first = TICKS;
	struct stat st;
	char path[64];
	INTERRUPTED = 0;
	for (int i = 0; i < 4000 || TICKS < first + 20; i++) {
		snprintf(path, sizeof path, "many/n%02d", i % 80);
		while (again(answer = stat(path, &st)));
		if (answer == 0) found += i < 4000; else if (errno == ENOENT) missing += i < 4000; else other++;
		// Of a FIFO this may end in EINTR anywhere, so programs are prepared for it.
		do fd = open(path, O_RDONLY); while (fd < 0 && errno == EINTR && !RESTARTED);
		if (fd >= 0) opened += i < 4000, close(fd); else if (errno != ENOENT) other++;
	}
	printf("%s: found %d, missing %d, opened %d, other %d\n", word, found, missing, opened, other);
}

int main(void)
{
	struct itimerval each = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = tick };
	struct stat st;
	char path[64];
	int fd, fresh = 0, other = 0, answer;
	// Only where the shim is not there to ask again.
	int guard_alone = access("/dev/.termite/shared", F_OK) == 0 && !dlsym(RTLD_DEFAULT, "termite_hook_names");
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &each, NULL);
	look("interrupted");
	printf("stat is not interrupted: %d\n", INTERRUPTED <= (guard_alone ? 1000 : 0));
	// By number, past the fast path, and what no hook sees: straight to the guard.
	INTERRUPTED = 0;
	for (int i = 0; i < 1000; i++)
		while (again(answer = syscall(SYS_newfstatat, AT_FDCWD, "dir/file", &st, 0, 0, 0)) || answer)
			other += errno != EINTR;
	printf("system calls: other %d, interrupted at all %d\n", other, INTERRUPTED > (guard_alone ? 1000 : 0));
	for (int i = 0; i < 1000; i++)
		while ((answer = kernel(SYS_newfstatat, AT_FDCWD, (long)"dir/file", (long)&st, 0)))
			other += answer != -EINTR;
	printf("unseen calls: other %d\n", other);
	// Directories never seen before, each of which has to be fetched between two ticks.
	for (int i = 0; i < 30; i++) {
		snprintf(path, sizeof path, "fresh/%d/file", i);
		while (again(fd = open(path, O_RDONLY)));
		if (fd >= 0) fresh++, close(fd); else other++;
	}
	printf("fresh %d, other %d\n", fresh, other);
	action.sa_flags = SA_RESTART, RESTARTED = 1;
	sigaction(SIGALRM, &action, NULL);
	look("restarted");
	printf("interrupted %d\n", INTERRUPTED);
	for (int i = 30; i < 60; i++) {
		snprintf(path, sizeof path, "fresh/%d/file", i);
		fd = open(path, O_RDONLY);
		if (fd >= 0) fresh++, close(fd); else other++;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("fresh %d, other %d\n", fresh, other);
	return 0;
}
