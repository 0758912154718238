// Programs that put a seccomp filter of their own over themselves: it answers errno, sends
// signals, kills, is inherited; one with a listener is told EBUSY in a slot, which has one.
// fresh: 4
// hooks: open stat
#include "common.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static volatile int TRAPPED;
static void trap(int sig, siginfo_t *info, void *context) { TRAPPED = info->si_syscall; }

// One rule: this call ends so.
static int filter(int number, unsigned action, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { LEN(code), code };
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static void look(const char *fresh)
{
	struct stat st;
	show_file(fresh), show_file("missing");
	R(stat("dir/file", &st));
	FD(open("dir/file", O_RDONLY));
}

static void errnos(void)
{
	R(filter(SYS_mkdir, SECCOMP_RET_ERRNO | ENOTNAM, 0)); R(mkdir("a", 0755)); look("fresh/0/file");
	R(filter(SYS_openat, SECCOMP_RET_ERRNO | EXDEV, SECCOMP_FILTER_FLAG_TSYNC));
	// Of a name that is not there the shim says so before any call that opens.
	FD(open("dir/file", O_RDONLY)); FD(syscall(SYS_openat, AT_FDCWD, "missing", O_RDONLY, 0, 0, 0));
}

static void traps(void)
{
	struct sigaction action = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };
	sigaction(SIGSYS, &action, NULL);
	R(filter(SYS_rmdir, SECCOMP_RET_TRAP, 0)); (void)rmdir("dir/sub"), printf("trapped %d\n", TRAPPED == SYS_rmdir); look("fresh/1/file");
	show_path("dir/sub");
}

static void kills(void)
{
	R(filter(SYS_unlink, SECCOMP_RET_KILL_PROCESS, 0)); look("fresh/2/file"); fflush(stdout);
	unlink("dir/file");
}

static void inherited(void)
{
	R(filter(SYS_uname, SECCOMP_RET_ERRNO | EL2HLT, SECCOMP_FILTER_FLAG_LOG)); fflush(stdout);
	R(system("cat fresh/3/file trees/two/a/b/leaf; uname 2>/dev/null; echo $?; bin/child 3 | head -1"));
}

static void listener(void)
{
	int in_slot = access("/dev/.termite", F_OK) == 0, flags[] = { 0, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW };
	for (int i = 0; i < LEN(flags); i++) {
		errno = UNTOUCHED;
		int fd = filter(SYS_acct, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags[i]);
		// Who has one cannot have another, and a guard is one.
		int is_refused = fd < 0 && errno == EBUSY;
		int expected = i > 0 ? is_refused : fd >= 0 || (in_slot && is_refused);
		printf("listener as it should be: %d\n", expected);
	}
	look("dir/file");
}

int main(void)
{
	void (*const cases[])(void) = { errnos, traps, kills, inherited, listener };
	for (int i = 0; i < LEN(cases); i++) {
		printf("case %d\n", i);
		fflush(stdout);
		pid_t child = fork();
		if (child == 0)
			cases[i](), fflush(stdout), _exit(0);
		show_end("case", child);
	}
	R(syscall(SYS_seccomp, 99, 0, 0)); R(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0x8000, NULL));
	R(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0);
	return 0;
}
