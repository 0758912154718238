// System calls by their number: paths of every kind, six arguments, errors, and children.
// hooks: syscall
// fresh: 4
#include "common.h"
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

static struct stat ST;
static struct statx STX;
static char TEXT[PATH_MAX];

static long by_stat(const char *p) { return syscall(SYS_stat, p, &ST); }
static long by_lstat(const char *p) { return syscall(SYS_lstat, p, &ST); }
static long by_newfstatat(const char *p) { return syscall(SYS_newfstatat, AT_FDCWD, p, &ST, 0); }
static long by_statx(const char *p) { return syscall(SYS_statx, AT_FDCWD, p, 0, STATX_MODE, &STX); }
static long by_access(const char *p) { return syscall(SYS_access, p, R_OK); }
static long by_readlinkat(const char *p) { return syscall(SYS_readlinkat, AT_FDCWD, p, TEXT, 5); }
static long by_openat(const char *p)
{
	long fd = syscall(SYS_openat, AT_FDCWD, p, O_RDONLY | O_NONBLOCK);
	return fd < 0 ? fd : syscall(SYS_close, fd);
}

static const struct { const char *name; long (*ask)(const char *); } WAYS[] = {
	{ "stat", by_stat }, { "lstat", by_lstat }, { "newfstatat", by_newfstatat }, { "statx", by_statx },
	{ "access", by_access }, { "readlinkat", by_readlinkat }, { "openat", by_openat },
};

static void paths(void)
{
	make_paths();
	for (int way = 0; way < LEN(WAYS); way++)
		for (int i = 0; i < PATHS_COUNT; i++) {
			// What a link of /proc says is no business of the fixture.
			if (WAYS[way].ask == by_readlinkat && !is_bad(PATHS[i]) && PATHS[i][0] == '/' && !strncmp(PATHS[i], "/proc", 5))
				continue;
			printf("%s ", WAYS[way].name);
			print_path(PATHS[i]);
			number("", CALL(WAYS[way].ask(PATHS[i])));
		}
	for (int n = 0; n < 4; n++) {
		snprintf(TEXT, sizeof TEXT, "fresh/%d/file", n);
		FD(syscall(SYS_openat, AT_FDCWD, TEXT, O_RDONLY));
	}
	R(syscall(SYS_mkdir, "made", 0750)); R(syscall(SYS_mkdirat, AT_FDCWD, "made/sub", 0700)); R(syscall(SYS_mkdirat, AT_FDCWD, "made/sub", 0700));
	FD(syscall(SYS_openat, AT_FDCWD, "made/file", O_WRONLY | O_CREAT | O_EXCL, 0604)); FD(syscall(SYS_open, "made/other", O_RDWR | O_CREAT, 0640));
	R(syscall(SYS_linkat, AT_FDCWD, "made/file", AT_FDCWD, "made/linked", 0)); R(syscall(SYS_symlinkat, "file", AT_FDCWD, "made/link"));
	R(syscall(SYS_renameat2, AT_FDCWD, "made/other", AT_FDCWD, "made/link", 1)); R(syscall(SYS_renameat2, AT_FDCWD, "made/other", AT_FDCWD, "made/moved", 1));
	R(syscall(SYS_unlinkat, AT_FDCWD, "made/linked", 0)); R(syscall(SYS_unlinkat, AT_FDCWD, "made/sub", AT_REMOVEDIR)); R(syscall(SYS_chmod, "link", 0600));
	show_dir("made"), show_path("made/file"), show_path("made/link"), show_path("made/moved"), show_path("dir/file");
	struct { long flags, mode, resolve; } how = { O_RDONLY, 0, 0 };
	FD(syscall(SYS_openat2, AT_FDCWD, "dir/file", &how, sizeof how)); R(syscall(SYS_openat2, AT_FDCWD, "dir/missing", &how, sizeof how));
}

// Each of these fails, or does something else, if one argument is not what was given.
static void six_arguments(void)
{
	char bytes[64] = "";
	int fd = syscall(SYS_openat, AT_FDCWD, "big", O_RDONLY), ends[2], out = open("copied", O_RDWR | O_CREAT, 0644);
	long page = sysconf(_SC_PAGESIZE);
	char *mapped = (char *)syscall(SYS_mmap, NULL, page, PROT_READ, MAP_PRIVATE, fd, page);
	R(syscall(SYS_pread64, fd, bytes, sizeof bytes, page)), printf("mmap at an offset: %d\n", memcmp(mapped, bytes, sizeof bytes));
	R(syscall(SYS_mmap, NULL, page, PROT_READ, MAP_PRIVATE, fd, 1L)); R(syscall(SYS_mmap, NULL, page, PROT_READ, MAP_PRIVATE, -1, 0L)); R(syscall(SYS_munmap, mapped, page));
	loff_t from = 100, to = 7;
	// Within one file: from the client's to the job's own is from one file system to another where FUSE serves.
	R(pwrite(out, bytes, sizeof bytes, from)); R(syscall(SYS_copy_file_range, out, &from, out, &to, 50L, 0)); R(syscall(SYS_copy_file_range, out, &from, out, &to, 50L, 1)); printf("%ld %ld\n", (long)from, (long)to);
	unsigned word = 5;
	R(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, NULL, &word, 5)); R(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE, 1, NULL, &word, 6));
	struct iovec near = { bytes, 4 }, far = { "far", 4 };
	R(syscall(SYS_process_vm_readv, getpid(), &near, 1L, &far, 1L, 0L)), puts(bytes); R(syscall(SYS_process_vm_readv, getpid(), &near, 1L, &far, 1L, 1L));
	struct timespec soon = { 0, 1000 };
	sigset_t none;
	sigemptyset(&none);
	struct { const sigset_t *set; size_t size; } mask = { &none, 8 }, bad = { &none, 7 };
	R(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &soon, &mask)); R(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &soon, &bad));
	R(syscall(SYS_socketpair, AF_UNIX, SOCK_DGRAM, 0, ends)); R(syscall(SYS_sendto, ends[0], "sent", 5, 0, NULL, 0)); R(syscall(SYS_recvfrom, ends[1], bytes, sizeof bytes, 0, NULL, NULL)), puts(bytes);
	struct sockaddr_un nobody = { AF_UNIX, "missing/socket" };
	R(syscall(SYS_sendto, ends[0], "sent", 5, 0, &nobody, sizeof nobody));
	close(fd), close(out), close(ends[0]), close(ends[1]);
	show_path("copied");
}

static void results(void)
{
	R(syscall(SYS_getpid) == getpid()); R(syscall(SYS_gettid) == gettid()); R(syscall(9999)); R(syscall(-1)); R(syscall(SYS_close, -1)); R(syscall(SYS_lseek, 0, 0L, 99));
	// The kernel's own -20 to 19, shifted so that it is no error.
	R(syscall(SYS_getpriority, 0, 0)); R(syscall(SYS_umask, 022)); R(syscall(SYS_umask, 022));
	// An address that is a negative number of 32 bits, and of 64 bits no error.
	char *high = (char *)syscall(SYS_mmap, (void *)0xfffff000, 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0L);
	printf("%p\n", high);
}

static void children(void)
{
	fflush(stdout);
	long child = syscall(SYS_fork);
	if (child == 0)
		_exit(syscall(SYS_access, "dir/file", R_OK) ? 1 : 7);
	show_end("fork", child);
	child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0L);
	if (child == 0)
		syscall(SYS_exit_group, 8);
	show_end("clone", child);
	child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0L);
	if (child == 0) {
		char *argv[] = { "child", "9", NULL }, *env[] = { "A=1", "READ=0", NULL };
		syscall(SYS_execve, "bin/child", argv, env);
		_exit(99);
	}
	show_end("execve", child);
}

int main(void)
{
	umask(022);
	paths();
	six_arguments();
	results();
	children();
	return 0;
}
