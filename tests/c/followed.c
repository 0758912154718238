// Links from a directory that is known to files in directories that nobody looked into
// yet: whoever follows one first must find the file, and so must all who come later.
// fresh: 34
// hooks: open openat stat fstatat __xstat statx access faccessat realpath fopen canonicalize_file_name statfs statfs64 __statfs getxattr lgetxattr listxattr llistxattr syscall
#include "common.h"
#include <sys/statfs.h>
#include <sys/xattr.h>

extern int __statfs(const char *, struct statfs *);
extern int __xstat(int, const char *, struct stat *);

int main(void)
{
	struct stat st;
	struct statx x;
	struct statfs fs;
	char value[64];
	char *known[] = { "plain1", "to-fresh/0", "to-fresh/missing", "to-fresh/1" };
	// So that the directory of the links is known, however often that takes.
	for (int i = 0; i < 12; i++)
		lstat(known[i % LEN(known)], &st), access("to-fresh/none", F_OK);
	FD(open("to-fresh/2", O_RDONLY)); FD(open("to-fresh/2", O_RDONLY)); FD(open("fresh/2/file", O_RDONLY));
	FD(open("to-fresh/3", O_PATH)); FD(open("fresh/3/file", O_RDONLY));
	FD(open("to-fresh/4", O_PATH | O_NOFOLLOW)); FD(open("to-fresh/4", O_RDONLY | O_NOFOLLOW)); FD(open("fresh/4/file", O_RDONLY));
	FD(openat(AT_FDCWD, "to-fresh/5", O_RDONLY)); FD(open("fresh/5/file", O_RDONLY));
	R(stat("to-fresh/6", &st)), print_stat(&st); R(stat("to-fresh/6", &st)), print_stat(&st); FD(open("fresh/6/file", O_RDONLY));
	R(fstatat(AT_FDCWD, "to-fresh/7", &st, 0)), print_stat(&st); FD(open("fresh/7/file", O_RDONLY));
	R(fstatat(AT_FDCWD, "to-fresh/8", &st, AT_SYMLINK_NOFOLLOW)), print_stat(&st); FD(open("fresh/8/file", O_RDONLY));
	R(__xstat(1, "to-fresh/9", &st)), print_stat(&st); FD(open("fresh/9/file", O_RDONLY));
	R(statx(AT_FDCWD, "to-fresh/10", 0, STATX_SIZE, &x)); printf("%o %lld\n", x.stx_mode, (long long)x.stx_size); FD(open("fresh/10/file", O_RDONLY));
	R(access("to-fresh/11", R_OK)); R(access("to-fresh/11", X_OK)); FD(open("fresh/11/file", O_RDONLY));
	R(faccessat(AT_FDCWD, "to-fresh/12", F_OK, AT_EACCESS)); FD(open("fresh/12/file", O_RDONLY));
	R(faccessat(AT_FDCWD, "to-fresh/13", F_OK, AT_SYMLINK_NOFOLLOW)); FD(open("fresh/13/file", O_RDONLY));
	P(realpath("to-fresh/14", NULL)); FD(open("fresh/14/file", O_RDONLY));
	P(canonicalize_file_name("to-fresh/15")); FD(open("fresh/15/file", O_RDONLY));
	FILE *stream = fopen("to-fresh/16", "r");
	char line[64] = "";
	printf("fopen %s", stream ? fgets(line, sizeof line, stream) : error_name(errno));
	FD(open("to-fresh/17/x", O_RDONLY)); FD(open("to-fresh/17/", O_RDONLY)); FD(open("fresh/17/file", O_RDONLY));
	FD(open("to-fresh/18", O_DIRECTORY)); FD(open("fresh/18/file", O_RDONLY));
	FD(open("to-fresh/19", O_DIRECTORY | O_PATH)); FD(open("fresh/19/file", O_RDONLY));
	// A link that comes to lead elsewhere, and one whose target comes to be.
	R(symlink("../fresh/20/file", "to-fresh/own")); FD(open("to-fresh/own", O_RDONLY)); R(unlink("to-fresh/own"));
	R(symlink("../fresh/21/file", "to-fresh/own")); FD(open("to-fresh/own", O_RDONLY)); FD(open("fresh/21/file", O_RDONLY));
	R(symlink("../fresh/22/new", "to-fresh/new")); FD(open("to-fresh/new", O_RDONLY)); write_file("fresh/22/new", "made\n"); FD(open("to-fresh/new", O_RDONLY));
	FD(open("fresh/22/file", O_RDONLY)); R(rename("to-fresh/23", "moved")); FD(open("moved", O_RDONLY)); FD(open("fresh/23/file", O_RDONLY));
	R(statfs("to-fresh/24", &fs)); FD(open("fresh/24/file", O_RDONLY)); R(statfs64("to-fresh/25", (void *)&fs)); FD(open("fresh/25/file", O_RDONLY));
	R(__statfs("to-fresh/26", &fs)); R(__statfs("to-fresh/26", &fs)); FD(open("fresh/26/file", O_RDONLY));
	R(getxattr("to-fresh/27", "user.x", value, 64)); R(getxattr("to-fresh/27", "user.x", value, 64)); FD(open("fresh/27/file", O_RDONLY));
	R(lgetxattr("to-fresh/28", "trusted.x", value, 64) < 0); FD(open("fresh/28/file", O_RDONLY));
	R(listxattr("to-fresh/29", value, 64) == 0); R(listxattr("to-fresh/29/x", value, 64)); FD(open("fresh/29/file", O_RDONLY));
	R(llistxattr("to-fresh/30", value, 64) == 0); R(llistxattr("to-fresh/30/", value, 64)); FD(open("fresh/30/file", O_RDONLY));
	R(syscall(SYS_newfstatat, AT_FDCWD, "to-fresh/31", &st, 0)), print_stat(&st); FD(open("fresh/31/file", O_RDONLY));
	FD(syscall(SYS_openat, AT_FDCWD, "to-fresh/32", O_RDONLY)); FD(open("fresh/32/file", O_RDONLY));
	R(syscall(SYS_faccessat, AT_FDCWD, "to-fresh/33", R_OK)); FD(open("fresh/33/file", O_RDONLY));
	return 0;
}
