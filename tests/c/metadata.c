// Modes, owners, times and extended attributes, of files whose content nobody read yet.
// hooks: chmod fchmodat lchmod chown lchown fchownat utime utimes lutimes futimesat utimensat getxattr lgetxattr listxattr llistxattr
#include "common.h"
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

static int CWD_FD, DIR_FD;

static void modes(void)
{
	R(chmod("dir/file", 0600)); R(chmod("link", 0640)); R(chmod("dir/sub", 0700)); R(chmod("dir/sub/", 02755)); R(chmod("dirlink", 0711));
	R(chmod("missing", 0644)); R(chmod("dangling", 0644)); R(chmod("loop", 0644)); R(chmod("dir/file/x", 0644)); R(chmod("", 0644));
	R(chmod(BAD_POINTER, 0644)); R(chmod("plain1", 0664)); R(chmod("big", 04755)); R(chmod("dir/script.sh", 0));
	show_path("dir/file"), show_path("dir/sub"), show_path("dir"), show_path("plain2"), show_path("big"), show_path("dir/script.sh");
	R(fchmodat(DIR_FD, "empty", 0444, 0)); R(fchmodat(AT_FDCWD, "link", 0604, 0)); R(fchmodat(CWD_FD, "link", 0604, AT_SYMLINK_NOFOLLOW));
	R(fchmodat(CWD_FD, "big", 0644, AT_SYMLINK_NOFOLLOW)); R(fchmodat(-1, "x", 0644, 0)); R(fchmodat(DIR_FD, "../many/n01", 0640, 0));
	R(lchmod("many/n02", 0641)); R(lchmod("link", 0641)); R(lchmod("missing", 0641));
	int fd = open("many/n03", O_RDONLY);
	R(fchmod(fd, 0600)); R(fchmod(-1, 0600));
	close(fd);
	show_path("dir/empty"), show_path("many/n01"), show_path("many/n02"), show_path("many/n03"), show_file("many/n03");
}

static void owners(void)
{
	uid_t me = geteuid();
	gid_t group = getegid();
	R(chown("dir/file", me, group)); R(chown("link", -1, -1)); R(chown("dangling", me, group)); R(chown("missing", me, group)); R(chown("loop", -1, -1));
	R(lchown("link", me, group)); R(lchown("dangling", me, group)); R(lchown("dir/file/", me, group));
	R(fchownat(DIR_FD, "file", me, -1, 0)); R(fchownat(CWD_FD, "link", me, group, AT_SYMLINK_NOFOLLOW)); R(fchownat(-1, "x", me, group, 0));
	R(fchownat(DIR_FD, "", me, group, AT_EMPTY_PATH));
	int fd = open("many/n04", O_RDONLY);
	R(fchown(fd, me, group)); R(fchown(-1, me, group));
	close(fd);
	R(chmod("many/n05", 04755)); R(chown("many/n05", me, group));
	show_path("dir/file"), show_path("link"), show_path("many/n05");
}

static void times(void)
{
	const struct timeval fixed[2] = { { 1100000000, 1000 }, { 1100000001, 123456 } }, bad[2] = { { 1, 0 }, { 1, 2000000 } };
	const struct timespec exact[2] = { { 1200000000, 1 }, { 1200000001, 987654321 } }, kept[2] = { { 5, 5 }, { 0, UTIME_OMIT } },
	                      both[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } }, wrong[2] = { { 0, 0 }, { 0, 1999999999 } },
	                      now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } }, before[2] = { { -5, 7 }, { -1000, 500 } };
	const struct utimbuf seconds = { 1000, 1300000000 };
	R(utime("dir/file", &seconds)); R(utime("missing", &seconds)); R(utime("dirlink", &seconds)); R(utime("loop", NULL)); R(utime("many/n10", NULL));
	show_path("dir/file"), show_path("dir"), show_path("many/n10");
	R(utimes("link", fixed)); R(utimes("missing", fixed)); R(utimes("dir/file", bad)); R(utimes("many/n11", NULL)); R(utimes("dir/file/", fixed));
	R(lutimes("link", fixed)); R(lutimes("missing", fixed)); R(lutimes("dangling", fixed));
	show_path("dir/file"), show_path("link"), show_path("dangling"), show_path("many/n11");
	int fd = open("many/n12", O_RDONLY);
	R(futimes(fd, fixed)); R(futimes(-1, fixed)); show_path("many/n12");
	R(futimens(fd, exact)); R(futimens(-1, exact)); show_path("many/n12"); R(futimens(fd, kept)); show_path("many/n12");
	close(fd);
	R(futimesat(DIR_FD, "empty", fixed)); R(futimesat(-1, "x", fixed)); R(futimesat(AT_FDCWD, "many/n13", fixed)); show_path("dir/empty");
	R(utimensat(AT_FDCWD, "many/n14", exact, 0)); R(utimensat(DIR_FD, "back", exact, AT_SYMLINK_NOFOLLOW)); R(utimensat(CWD_FD, "abslink", exact, 0));
	R(utimensat(CWD_FD, "missing", both, 0)); R(utimensat(-1, "x", exact, 0)); R(utimensat(CWD_FD, "big", wrong, 0)); R(utimensat(CWD_FD, "big", now, 0));
	R(utimensat(CWD_FD, "plain1", before, 0)); R(utimensat(CWD_FD, "trees/one", exact, 0)); R(utimensat(CWD_FD, "big", exact, 0x4));
	show_path("many/n14"), show_path("dir/back"), show_path("abslink"), show_path("big"), show_path("plain2"), show_path("trees/one"), show_file("many/n14");
	// A time set, then a write: the write is later. A write, then a time set: that stays.
	R(utimensat(CWD_FD, "many/n15", exact, 0)); write_file("many/n15", "written after\n"); show_path("many/n15");
	write_file("many/n16", "written before\n"); R(utimensat(CWD_FD, "many/n16", exact, 0)); show_path("many/n16");
}

// Which name spaces of attributes a file system has differs, so these answer alike
// only for files that are not there and for descriptors that are none.
static void attributes(void)
{
	char value[64];
	R(setxattr("missing", "user.termite", "x", 1, 0)); R(lsetxattr("missing", "user.termite", "x", 1, 0)); R(fsetxattr(-1, "user.termite", "x", 1, 0));
	R(getxattr("missing", "user.termite", value, 64)); R(lgetxattr("dir/missing", "user.termite", value, 64)); R(getxattr("loop", "user.x", value, 64));
	R(listxattr("missing", value, 64)); R(llistxattr("dir/file/x", value, 64)); R(removexattr("missing", "user.x")); R(lremovexattr("missing", "user.x"));
	R(getxattr("dir/file", "user.absent", value, 64)); R(lgetxattr("dangling", "trusted.absent", value, 64) < 0);
}

int main(void)
{
	CWD_FD = open(".", O_PATH), DIR_FD = open("dir", O_RDONLY);
	modes();
	owners();
	times();
	attributes();
	return 0;
}
