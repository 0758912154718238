// What each way to look at attributes answers for every kind of path.
// hooks: stat stat64 lstat lstat64 fstatat fstatat64 __xstat __xstat64 __lxstat __lxstat64 __fxstatat __fxstatat64 fstat fstat64 __fxstat __fxstat64 statx
#include "common.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>

extern int __xstat(int, const char *, struct stat *), __xstat64(int, const char *, struct stat64 *);
extern int __lxstat(int, const char *, struct stat *), __lxstat64(int, const char *, struct stat64 *);
extern int __fxstat(int, int, struct stat *), __fxstat64(int, int, struct stat64 *);
extern int __fxstatat(int, int, const char *, struct stat *, int), __fxstatat64(int, int, const char *, struct stat64 *, int);

static int CWD_FD, DIR_FD;
typedef struct stat St;
typedef struct stat64 St64;

static int by_stat(const char *p, St *s) { return stat(p, s); }
static int by_stat64(const char *p, St *s) { return stat64(p, (St64 *)s); }
static int by_lstat(const char *p, St *s) { return lstat(p, s); }
static int by_lstat64(const char *p, St *s) { return lstat64(p, (St64 *)s); }
static int by_fstatat(const char *p, St *s) { return fstatat(AT_FDCWD, p, s, 0); }
static int by_fstatat64(const char *p, St *s) { return fstatat64(CWD_FD, p, (St64 *)s, AT_SYMLINK_NOFOLLOW); }
static int by_fstatat_empty(const char *p, St *s) { return fstatat(DIR_FD, p, s, AT_EMPTY_PATH); }
static int by_fstatat_automount(const char *p, St *s) { return fstatat(CWD_FD, p, s, AT_NO_AUTOMOUNT); }
static int by_xstat(const char *p, St *s) { return __xstat(1, p, s); }
static int by_xstat64(const char *p, St *s) { return __xstat64(1, p, (St64 *)s); }
static int by_lxstat(const char *p, St *s) { return __lxstat(1, p, s); }
static int by_lxstat64(const char *p, St *s) { return __lxstat64(1, p, (St64 *)s); }
static int by_fxstatat(const char *p, St *s) { return __fxstatat(1, CWD_FD, p, s, 0); }
static int by_fxstatat64(const char *p, St *s) { return __fxstatat64(1, AT_FDCWD, p, (St64 *)s, AT_SYMLINK_NOFOLLOW); }

static int from_statx(int fd, const char *p, int flags, St *s)
{
	struct statx x;
	int answer = statx(fd, p, flags, STATX_BASIC_STATS, &x);
	if (answer == 0) {
		s->st_mode = x.stx_mode, s->st_uid = x.stx_uid, s->st_size = x.stx_size, s->st_nlink = x.stx_nlink;
		s->st_mtim.tv_sec = x.stx_mtime.tv_sec, s->st_mtim.tv_nsec = x.stx_mtime.tv_nsec, s->st_ino = x.stx_ino;
	}
	return answer;
}
static int by_statx(const char *p, St *s) { return from_statx(AT_FDCWD, p, 0, s); }
static int by_statx_nofollow(const char *p, St *s) { return from_statx(CWD_FD, p, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, s); }
static int by_statx_empty(const char *p, St *s) { return from_statx(DIR_FD, p, AT_EMPTY_PATH, s); }

static const struct { const char *name; int (*stat)(const char *, St *); } WAYS[] = {
	{ "stat", by_stat }, { "stat64", by_stat64 }, { "lstat", by_lstat }, { "lstat64", by_lstat64 },
	{ "fstatat", by_fstatat }, { "fstatat64", by_fstatat64 }, { "fstatat empty", by_fstatat_empty },
	{ "fstatat automount", by_fstatat_automount }, { "__xstat", by_xstat }, { "__xstat64", by_xstat64 },
	{ "__lxstat", by_lxstat }, { "__lxstat64", by_lxstat64 }, { "__fxstatat", by_fxstatat },
	{ "__fxstatat64", by_fxstatat64 }, { "statx", by_statx }, { "statx nofollow", by_statx_nofollow },
	{ "statx empty", by_statx_empty },
};

static void look(int which)
{
	for (int i = 0; i < PATHS_COUNT; i++) {
		St st;
		int answer = CALL(WAYS[which].stat(PATHS[i], &st)), error = errno;
		printf("%s ", WAYS[which].name);
		print_path(PATHS[i]);
		printf(" = ");
		if (answer != 0)
			printf("%s\n", error_name(error));
		else if (error != UNTOUCHED)
			printf("errno touched\n");
		else if (in_fixture(PATHS[i]))
			print_stat(&st);
		else
			printf("%s\n", type_name(st.st_mode));
	}
}

static void through_descriptors(void)
{
	St st;
	St64 st64;
	int file = open("dir/file", O_RDONLY), path = open("link", O_PATH | O_NOFOLLOW);
	if (R(fstat(file, &st)) == 0) print_stat(&st);
	if (R(fstat64(path, &st64)) == 0) print_stat((St *)&st64);
	if (R(__fxstat(1, file, &st)) == 0) print_stat(&st);
	if (R(__fxstat64(1, DIR_FD, &st64)) == 0) print_stat((St *)&st64);
	R(fstat(-1, &st));
	R(__fxstat(9, file, &st));
	R(__xstat(9, "dir/file", &st));
	R(fstatat(file, "x", &st, 0));
	R(fstatat(-1, "dir", &st, 0));
	R(fstatat(CWD_FD, "dir", &st, 0x40000000));
	R(fstatat(DIR_FD, "file", &st, 0));
	R(fstatat(DIR_FD, "../link", &st, AT_SYMLINK_NOFOLLOW));
	R(fstatat(file, "", &st, AT_EMPTY_PATH));
	R(stat("dir/file", (St *)BAD_POINTER));
	R(statx(AT_FDCWD, "dir/file", 0, STATX_ALL, (struct statx *)BAD_POINTER));
	close(file), close(path);
}

static void file_systems(void)
{
	struct statfs fs;
	struct statfs64 fs64;
	struct statvfs vfs;
	struct statvfs64 vfs64;
	R(statfs("dir", &fs));
	R(statfs64("link", &fs64));
	R(statfs("missing", &fs));
	R(statvfs("dir/sub", &vfs));
	R(statvfs64("dirlink", &vfs64));
	R(statvfs("loop", &vfs));
	R(pathconf("dir", _PC_NAME_MAX));
	R(pathconf("missing", _PC_LINK_MAX));
}

// Names of one file have one inode, different files have different ones, and a look by
// name agrees with a look by descriptor.
static void identity(void)
{
	St a, b, c, d;
	write_file("own", "own\n");
	if (link("own", "own-too") != 0)
		die("link");
	int fd = open("own-too", O_RDONLY);
	if (stat("own", &a) || stat("own-too", &b) || stat("big", &c) || fstat(fd, &d))
		die("identity");
	printf("links %d, others %d, descriptor %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev,
	       a.st_ino == c.st_ino && a.st_dev == c.st_dev, b.st_ino == d.st_ino && b.st_dev == d.st_dev);
	close(fd);
}

int main(void)
{
	make_paths();
	CWD_FD = open(".", O_RDONLY), DIR_FD = open("dir", O_PATH);
	for (int i = 0; i < LEN(WAYS); i++)
		look(i);
	through_descriptors();
	file_systems();
	identity();
	return 0;
}
