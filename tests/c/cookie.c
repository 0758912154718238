// After every hook, calls that no hook sees still arrive at the guard: the next system
// call with the register as the hook left it, glibc calling itself, and int 0x80. Each
// looks into a directory that nobody touched before, whose file is there only when the
// guard was asked.
// fresh: 700
// hooks: open open64 openat openat64 creat creat64 __open_2 __open64_2 __openat_2 __openat64_2 stat stat64 lstat lstat64 fstatat fstatat64 __xstat __xstat64 __lxstat __lxstat64 __fxstatat __fxstatat64 statx access faccessat eaccess euidaccess readlink readlinkat __readlink_chk __readlinkat_chk realpath __realpath_chk canonicalize_file_name opendir fopen fopen64 rename chdir mkstemp execve posix_spawn popen system dlopen __open __open64 _IO_fopen _IO_popen statfs statfs64 __statfs getxattr lgetxattr listxattr llistxattr syscall
#include "common.h"
#include <dlfcn.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <spawn.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

extern int __open(const char *, int, ...), __open64(const char *, int, ...), __open_2(const char *, int), __open64_2(const char *, int);
extern int __openat_2(int, const char *, int), __openat64_2(int, const char *, int);
extern int __xstat(int, const char *, struct stat *), __xstat64(int, const char *, struct stat64 *), __lxstat(int, const char *, struct stat *);
extern int __lxstat64(int, const char *, struct stat64 *), __fxstat(int, int, struct stat *), __fxstat64(int, int, struct stat64 *);
extern int __fxstatat(int, int, const char *, struct stat *, int), __fxstatat64(int, int, const char *, struct stat64 *, int);
extern int __xmknod(int, const char *, mode_t, dev_t *), __xmknodat(int, int, const char *, mode_t, dev_t *);
extern ssize_t __readlink_chk(const char *, char *, size_t, size_t), __readlinkat_chk(int, const char *, char *, size_t, size_t);
extern char *__realpath_chk(const char *, char *, size_t), *__getcwd_chk(char *, size_t, size_t), *__getwd_chk(char *, size_t);
extern int __statfs(const char *, struct statfs *);
extern FILE *_IO_fopen(const char *, const char *), *_IO_popen(const char *, const char *);

static int NEXT, FAILED, DONE, HOME;
static char RAW[3][PATH_MAX], PATTERN[PATH_MAX], HERE[PATH_MAX - 64], *LOW;
static unsigned long R9;
static struct stat ST;

// Names the directories of the next look, so that nothing comes between hook and look.
static void aim(void)
{
	for (int i = 0; i < 3; i++)
		sprintf(RAW[i], "%s/fresh/%d/file", HERE, NEXT++);
	sprintf(PATTERN, "%s/fresh/%d/*", HERE, NEXT - 2);
	strcpy(LOW, RAW[2]);
}

static void look(const char *hook)
{
	long raw, low;
	glob_t found;
	register unsigned long sixth __asm__("r9") = R9;
	register long flags __asm__("r10") = 0;
	__asm__ volatile("syscall" : "=a"(raw) : "a"(SYS_newfstatat), "D"((long)AT_FDCWD), "S"(RAW[0]), "d"(&ST), "r"(flags), "r"(sixth) : "rcx", "r11", "memory");
	int globbed = glob(PATTERN, 0, NULL, &found);
	globfree(&found);
	__asm__ volatile("int $0x80" : "=a"(low) : "a"(195L), "b"((long)LOW), "c"((long)LOW + 4096) : "memory", "r8", "r9", "r10", "r11");
	if (raw || globbed || (int)low) {
		printf("after %s: system call %ld, glob %d, int 0x80 %d\n", hook, raw, globbed, (int)low);
		FAILED++;
	}
	DONE++;
}

// The hook is called on a path that is known by then, so that it takes its fast path.
#define AFTER(call) do { \
	aim(); \
	call; \
	__asm__ volatile("mov %%r9, %0" : "=m"(R9)); \
	look(#call); \
	fchdir(HOME); \
} while (0)

static void looking(void)
{
	struct stat64 st64;
	struct statx stx;
	struct statfs fs;
	struct statfs64 fs64;
	char text[PATH_MAX];
	int dir = open("dir", O_RDONLY), fd = open("dir/file", O_RDONLY);
	for (int warm = 0; warm < 2; warm++) {
		AFTER(close(open("dir/file", O_RDONLY))); AFTER(open("dir/missing", O_RDONLY)); AFTER(open64("dir/missing", O_RDONLY)); AFTER(openat(dir, "missing", O_RDONLY));
		AFTER(openat64(AT_FDCWD, "dir/missing", O_RDONLY)); AFTER(__open("dir/missing", O_RDONLY)); AFTER(__open64("dir/missing", O_RDONLY)); AFTER(__open_2("dir/missing", O_RDONLY));
		AFTER(__open64_2("dir/missing", O_RDONLY)); AFTER(__openat_2(dir, "missing", O_RDONLY)); AFTER(__openat64_2(dir, "missing", O_RDONLY));
		AFTER(open("dir/sub/deep/leaf", O_RDONLY)); AFTER(open("many/n59", O_RDONLY)); AFTER(open("big", O_RDONLY)); AFTER(open("link", O_RDONLY));
		AFTER(stat("dir/file", &ST)); AFTER(stat64("dir/file", &st64)); AFTER(lstat("link", &ST)); AFTER(lstat64("link", &st64)); AFTER(fstatat(dir, "file", &ST, 0));
		AFTER(fstatat64(AT_FDCWD, "dir/file", &st64, 0)); AFTER(__xstat(1, "dir/file", &ST)); AFTER(__xstat64(1, "dir/file", &st64)); AFTER(__lxstat(1, "link", &ST));
		AFTER(__lxstat64(1, "link", &st64)); AFTER(__fxstatat(1, dir, "file", &ST, 0)); AFTER(__fxstatat64(1, AT_FDCWD, "dir/file", &st64, 0)); AFTER(fstat(fd, &ST)); AFTER(fstat64(fd, &st64));
		AFTER(__fxstat(1, fd, &ST)); AFTER(__fxstat64(1, fd, &st64)); AFTER(statx(AT_FDCWD, "dir/file", 0, STATX_ALL, &stx)); AFTER(stat("missing", &ST)); AFTER(lstat("loop/x", &ST));
		AFTER(access("dir/file", R_OK)); AFTER(faccessat(dir, "file", R_OK, 0)); AFTER(eaccess("dir/file", R_OK)); AFTER(euidaccess("dir/missing", R_OK)); AFTER(access("dir/missing", F_OK));
		AFTER(readlink("link", text, 99)); AFTER(readlinkat(dir, "back", text, 99)); AFTER(__readlink_chk("link", text, 99, 99)); AFTER(__readlinkat_chk(dir, "back", text, 99, 99)); AFTER(readlink("dir/file", text, 99));
		AFTER(realpath("chain", text)); AFTER(__realpath_chk("link", text, PATH_MAX)); AFTER(free(canonicalize_file_name("dirlink"))); AFTER(realpath("missing/x", text));
		AFTER(closedir(opendir("dir"))); AFTER(opendir("missing")); AFTER(fclose(fopen("dir/file", "r"))); AFTER(fclose(fopen64("dir/file", "r"))); AFTER(fclose(_IO_fopen("dir/file", "r")));
		AFTER(fclose(freopen("dir/file", "r", fopen("big", "r")))); AFTER(fclose(freopen64("dir/file", "r", fopen("big", "r")))); AFTER(getcwd(text, sizeof text)); AFTER(getwd(text)); AFTER(free(get_current_dir_name()));
		AFTER(statfs("dir/file", &fs)); AFTER(statfs64("link", &fs64)); AFTER(__statfs("dir/missing", &fs)); AFTER(getxattr("link", "user.x", text, 64)); AFTER(lgetxattr("link", "user.x", text, 64));
		AFTER(listxattr("dir/file", text, 64)); AFTER(llistxattr("dir/missing", text, 64)); AFTER(syscall(SYS_newfstatat, AT_FDCWD, "dir/file", &ST, 0)); AFTER(syscall(SYS_getpid));
		AFTER(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &(struct timespec){ 0, 0 }, NULL)); AFTER(syscall(SYS_openat, -1, "missing", O_RDONLY));
	}
	close(dir), close(fd);
}

static void changing(void)
{
	const struct timeval times[2] = { { 1, 1 }, { 2, 2 } };
	const struct timespec exact[2] = { { 1, 1 }, { 2, 2 } };
	char text[64], m1[] = "c/XXXXXX", m2[] = "c/XXXXXX", m3[] = "c/XXXXXX", m4[] = "c/XXXXXX", m5[] = "c/XXXXXX.c", m6[] = "c/XXXXXX.c", m7[] = "c/XXXXXX.c", m8[] = "c/XXXXXX.c", m9[] = "c/XXXXXX", m0[] = "c/XXXXXX";
	dev_t none = 0;
	AFTER(mkdir("c", 0755)); AFTER(mkdirat(AT_FDCWD, "c/d", 0755)); AFTER(close(creat("c/f", 0644))); AFTER(close(creat64("c/f64", 0644))); AFTER(rename("c/f", "c/g")); AFTER(renameat(AT_FDCWD, "c/g", AT_FDCWD, "c/h"));
	AFTER(renameat2(AT_FDCWD, "c/h", AT_FDCWD, "c/f", 0)); AFTER(link("c/f", "c/l")); AFTER(linkat(AT_FDCWD, "c/f", AT_FDCWD, "c/l2", 0)); AFTER(symlink("f", "c/s")); AFTER(symlinkat("f", AT_FDCWD, "c/s2"));
	AFTER(unlink("c/l")); AFTER(unlinkat(AT_FDCWD, "c/l2", 0)); AFTER(remove("c/s2")); AFTER(rmdir("c/d")); AFTER(mkfifo("c/p", 0644)); AFTER(mkfifoat(AT_FDCWD, "c/p2", 0644)); AFTER(mknod("c/n", S_IFREG | 0644, 0));
	AFTER(mknodat(AT_FDCWD, "c/n2", S_IFREG | 0644, 0)); AFTER(__xmknod(0, "c/n3", S_IFREG | 0644, &none)); AFTER(__xmknodat(0, AT_FDCWD, "c/n4", S_IFREG | 0644, &none));
	AFTER(chmod("c/f", 0600)); AFTER(fchmodat(AT_FDCWD, "c/f", 0644, 0)); AFTER(lchmod("c/f", 0600)); AFTER(chown("c/f", -1, -1)); AFTER(lchown("c/f", -1, -1)); AFTER(fchownat(AT_FDCWD, "c/f", -1, -1, 0));
	AFTER(utime("c/f", NULL)); AFTER(utimes("c/f", times)); AFTER(lutimes("c/f", times)); AFTER(futimesat(AT_FDCWD, "c/f", times)); AFTER(utimensat(AT_FDCWD, "c/f", exact, 0)); AFTER(truncate("c/f", 3)); AFTER(truncate64("c/f", 4));
	int fd = open("c/f", O_RDWR);
	AFTER(fchmod(fd, 0644)); AFTER(fchown(fd, -1, -1)); AFTER(futimes(fd, times)); AFTER(futimens(fd, exact)); AFTER(ftruncate(fd, 5)); AFTER(ftruncate64(fd, 6));
	AFTER(getxattr("c/f", "user.x", text, 64)); AFTER(lgetxattr("c/f", "user.x", text, 64)); AFTER(listxattr("c/f", text, 64)); AFTER(setxattr("c/none", "user.x", "y", 1, 0)); AFTER(removexattr("c/f", "user.x"));
	AFTER(close(mkstemp(m1))); AFTER(close(mkstemp64(m2))); AFTER(close(mkostemp(m3, 0))); AFTER(close(mkostemp64(m4, 0))); AFTER(close(mkstemps(m5, 2))); AFTER(close(mkstemps64(m6, 2))); AFTER(close(mkostemps(m7, 2, 0))); AFTER(close(mkostemps64(m8, 2, 0)));
	AFTER(mkdtemp(m9)); AFTER(mktemp(m0)); AFTER(fclose(tmpfile())); AFTER(fclose(tmpfile64())); AFTER(chdir("dir")); AFTER(fchdir(HOME));
	close(fd), rmdir(m9);
	char *made[] = { m1, m2, m3, m4, m5, m6, m7, m8, "c/p", "c/p2" };
	for (int i = 0; i < LEN(made); i++)
		unlink(made[i]);
}

static int visit(const char *path, const struct stat *st, int flag) { return 0; }

static void starting(void)
{
	char *argv[] = { "child", "0", NULL }, *env[] = { NULL }, line[64], *roots[] = { "dir", NULL };
	struct dirent **names;
	struct statfs fs;
	struct statvfs vfs;
	glob_t found;
	pid_t child;
	AFTER(execve("missing", argv, env)); AFTER(execv("missing", argv)); AFTER(execvp("missing", argv)); AFTER(execvpe("missing", argv, env)); AFTER(execl("missing", "x", (char *)NULL)); AFTER(execle("missing", "x", (char *)NULL, env));
	AFTER(execlp("missing", "x", (char *)NULL)); AFTER(fexecve(-1, argv, env)); AFTER(execveat(AT_FDCWD, "missing", argv, env, 0)); AFTER(posix_spawn(&child, "missing", NULL, NULL, argv, env)); AFTER(posix_spawnp(&child, "missing", NULL, NULL, argv, env));
	AFTER(posix_spawn(&child, "/bin/true", NULL, NULL, argv, env)); AFTER(system("exit 0")); AFTER(pclose(popen("exit 0", "r"))); AFTER(pclose(_IO_popen("exit 0", "r"))); AFTER(dlopen("lib/missing.so", RTLD_NOW)); AFTER(dlopen("lib/libplug.so", RTLD_NOW));
	AFTER(dlmopen(LM_ID_NEWLM, "lib/missing.so", RTLD_NOW)); AFTER(scandir("dir", &names, NULL, alphasort)); AFTER(scandirat(AT_FDCWD, "dir", &names, NULL, alphasort)); AFTER(ftw("dir", visit, 4)); AFTER(nftw("dir", (void *)visit, 4, FTW_PHYS));
	AFTER(glob("dir/*", 0, NULL, &found)); AFTER(fts_close(fts_open(roots, FTS_PHYSICAL, NULL))); AFTER(statfs("dir", &fs)); AFTER(statvfs("dir", &vfs)); AFTER(pathconf("dir", _PC_NAME_MAX));
	while (wait(NULL) > 0)
		;
	// In a child after fork and after vfork alike.
	fflush(stdout);
	aim();
	child = fork();
	if (child == 0) {
		close(open("dir/file", O_RDONLY));
		__asm__ volatile("mov %%r9, %0" : "=m"(R9));
		look("open in a child");
		_exit(FAILED != 0);
	}
	show_end("fork", child);
}

int main(void)
{
	LOW = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (LOW == MAP_FAILED)
		die("mmap");
	HOME = open(".", O_RDONLY);
	if (HOME < 0 || !getcwd(HERE, sizeof HERE))
		die("getcwd");
	setenv("PATH", "/usr/bin:/bin", 1);
	looking();
	changing();
	starting();
	printf("%d calls looked after, %d failed\n", DONE, FAILED);
	return FAILED != 0;
}
