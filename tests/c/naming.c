// Names made, moved and removed, with every error on the way.
// hooks: rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat remove mkdir mkdirat rmdir mkfifo mkfifoat mknod mknodat __xmknod __xmknodat
#include "common.h"

extern int __xmknod(int, const char *, mode_t, dev_t *), __xmknodat(int, int, const char *, mode_t, dev_t *);

static int CWD_FD, DIR_FD;
static char NAME[300], LONG[5000], ABSOLUTE[PATH_MAX];

static const char *absolute(const char *name)
{
	char cwd[PATH_MAX - 300];
	if (!getcwd(cwd, sizeof cwd))
		die("getcwd");
	snprintf(ABSOLUTE, sizeof ABSOLUTE, "%s/%s", cwd, name);
	return ABSOLUTE;
}

static void directories(void)
{
	R(mkdir("m", 0755)); R(mkdir("m", 0755)); R(mkdir("m/a/", 0700)); R(mkdir("m/b/.", 0755));
	R(mkdir(absolute("m/abs"), 0751)); R(mkdir("dirlink/made", 0755)); R(mkdir("dangling", 0755));
	R(mkdir("dangling2/", 0755)); R(mkdir("link", 0755)); R(mkdir("dir/file/x", 0755)); R(mkdir("missing/x", 0755));
	R(mkdir("", 0755)); R(mkdir(".", 0755)); R(mkdir("/", 0755)); R(mkdir(NAME, 0755)); R(mkdir(LONG, 0755));
	R(mkdir(BAD_POINTER, 0755)); R(mkdir("loop/x", 0755));
	R(mkdirat(DIR_FD, "at", 01777)); R(mkdirat(DIR_FD, "../m/at", 0755)); R(mkdirat(AT_FDCWD, "m/cwd", 0755));
	R(mkdirat(-1, "x", 0755)); R(mkdirat(-1, absolute("m/abs2"), 0755)); R(mkdirat(DIR_FD, "file", 0755));
	show_dir("m"), show_path("m/abs"), show_path("dir/at"), show_dir("dir"), show_path("m");
	R(rmdir("m/a")); R(rmdir("m/a")); R(rmdir("m/abs/")); R(rmdir("m/abs2/.")); R(rmdir("m")); R(rmdir("m/..")); R(rmdir("dir/file"));
	R(rmdir("dirlink")); R(rmdir("dirlink/")); R(rmdir("loop")); R(rmdir(".")); R(rmdir("")); R(rmdir("dir/sub"));
	R(rmdir("dirlink/made")); R(unlinkat(DIR_FD, "at", AT_REMOVEDIR)); R(unlinkat(DIR_FD, "sub", AT_REMOVEDIR));
	R(rmdir("many")); R(rmdir("trees/empty")); R(rmdir(BAD_POINTER)); R(rmdir("missing"));
	show_dir("trees"), show_dir("dir");
}

static void links(void)
{
	R(symlink("file", "dir/to-file")); R(symlink("file", "dir/to-file")); R(symlink("", "m/empty"));
	R(symlink("../dir", "m/to-dir")); R(symlink("x", "missing/x")); R(symlink("x", "dir/file/x")); R(symlink(LONG, "m/long"));
	R(symlink("x", NAME)); R(symlink("x", "")); R(symlink("x", "m/trailing/")); R(symlink(BAD_POINTER, "m/bad"));
	R(symlink("x", "dangling2")); R(symlink("/", absolute("m/root")));
	R(symlinkat("leaf", DIR_FD, "sub/deep/to-leaf")); R(symlinkat("x", -1, "x")); R(symlinkat("back", DIR_FD, "back"));
	show_file("dir/to-file"), show_file("m/to-dir/file"), show_file("dir/sub/deep/to-leaf"), show_path("m/root");
	R(link("dir/file", "m/linked")); R(link("dir/file", "m/linked")); R(link("link", "m/link-of-link")); R(link("dir", "m/dir"));
	R(link("missing", "m/x")); R(link("dir/file", "missing/x")); R(link("dir/file/", "m/x")); R(link("dangling", "m/dangling"));
	R(link("dir/file", absolute("m/abs-link"))); R(link("dir/file", "dir/file")); R(link("loop", "m/loop")); R(link("", "m/x"));
	R(linkat(DIR_FD, "empty", CWD_FD, "m/empty-file", 0)); R(linkat(CWD_FD, "link", AT_FDCWD, "m/followed", AT_SYMLINK_FOLLOW));
	R(linkat(DIR_FD, "empty", CWD_FD, "m/x", 0x80000)); R(linkat(-1, "x", CWD_FD, "m/x", 0));
	show_path("m/linked"), show_path("dir/file"), show_path("m/link-of-link"), show_path("m/followed"), show_path("m/dangling");
	write_file("m/linked", "changed through another name\n");
	show_file("dir/file"), show_file("m/abs-link");
}

static void moves(void)
{
	write_file("m/one", "one\n"), write_file("m/two", "two\n");
	R(rename("m/one", "m/uno")); R(rename("m/one", "m/x")); R(rename("m/uno", "m/two")); show_file("m/two");
	R(rename("m/two", "m/two")); R(rename("m/two", "m/two/")); R(rename("m/two", "m/cwd")); R(rename("m/cwd", "m/two"));
	R(rename("m/two", "missing/x")); R(rename("m/two", NAME)); R(rename("m/two", "")); R(rename("", "m/x")); R(rename("m/two", LONG));
	R(rename("dir/file", "m/file-moved")); R(rename("m/file-moved", absolute("dir/file"))); show_file("link");
	R(rename("link", "m/link-moved")); show_path("m/link-moved"); R(rename("dangling", "m/dangling-moved")); R(rename("loop", "m/loop-moved"));
	R(rename("m/linked", "m/abs-link")); show_path("m/linked"); show_path("m/abs-link");
	R(rename("m", "m/inside")); R(rename("m/at", "m/at2/")); R(rename("m/at2/", "m/at3")); R(rename("m/cwd", "m/at3")); R(rename("m/at3", "m"));
	R(rename("dirlink/", "m/x")); R(rename(".", "m/x")); R(rename("m/..", "m/x")); R(rename("m/at3/.", "m/x")); R(rename(BAD_POINTER, "m/x"));
	R(renameat(DIR_FD, "empty", CWD_FD, "m/empty-moved")); R(renameat(AT_FDCWD, "m/empty-moved", DIR_FD, "empty2")); R(renameat(-1, "x", CWD_FD, "x"));
	R(renameat(DIR_FD, "file/x", CWD_FD, "m/x"));
	R(renameat2(AT_FDCWD, "m/two", DIR_FD, "file", RENAME_NOREPLACE)); R(renameat2(AT_FDCWD, "m/two", AT_FDCWD, "m/zwei", RENAME_NOREPLACE));
	R(renameat2(CWD_FD, "m/zwei", CWD_FD, "dir/empty2", RENAME_EXCHANGE)); R(renameat2(CWD_FD, "m/zwei", CWD_FD, "m/x", RENAME_EXCHANGE));
	R(renameat2(CWD_FD, "m/zwei", CWD_FD, "m/x", 0x1000)); R(renameat2(CWD_FD, "m/zwei", CWD_FD, "m/x", RENAME_EXCHANGE | RENAME_NOREPLACE));
	show_file("dir/empty2"), show_file("m/zwei"), show_dir("m"), show_dir("dir");
}

static void removals(void)
{
	R(unlink("m/zwei")); R(unlink("m/zwei")); R(unlink("m")); R(unlink("m/")); R(unlink("link")); R(unlink("abslink")); R(unlink("dir/file/"));
	R(unlink("dir/file/x")); R(unlink("missing/x")); R(unlink("dangling2/")); R(unlink("dangling2")); R(unlink("loop2")); R(unlink(""));
	R(unlink(NAME)); R(unlink(LONG)); R(unlink(BAD_POINTER)); R(unlink("plain1")); show_path("plain2"); R(unlink(absolute("big")));
	R(unlinkat(DIR_FD, "script.sh", 0)); R(unlinkat(DIR_FD, "script.sh", 0)); R(unlinkat(AT_FDCWD, "private", 0)); R(unlinkat(-1, "x", 0));
	R(unlinkat(DIR_FD, "sub", 0)); R(unlinkat(DIR_FD, "sub", 0x4000)); R(unlinkat(CWD_FD, "dirlink", AT_REMOVEDIR));
	R(remove("noread")); R(remove("noread")); R(remove("m/at3")); R(remove("m")); R(remove("dir")); R(remove("dirlink")); R(remove(""));
	write_file("m/again", "1\n"); R(unlink("m/again")); write_file("m/again", "2\n"); show_file("m/again"); R(unlink("m/again")); R(mkdir("m/again", 0755));
	R(rmdir("m/again")); R(symlink("nothing", "m/again")); show_path("m/again");
}

static void nodes(void)
{
	dev_t none = 0;
	R(mkfifo("m/fifo", 0640)); R(mkfifo("m/fifo", 0640)); R(mkfifo("missing/x", 0640)); R(mkfifoat(DIR_FD, "fifo", 0600)); R(mkfifoat(-1, "x", 0600));
	R(mknod("m/node", S_IFREG | 0604, 0)); R(mknod("m/node", S_IFREG | 0604, 0)); R(mknodat(DIR_FD, "node", S_IFIFO | 0604, 0));
	R(__xmknod(0, "m/xnode", S_IFREG | 0644, &none)); R(__xmknodat(0, DIR_FD, "xnode", S_IFSOCK | 0644, &none)); R(__xmknod(5, "m/x", S_IFREG, &none));
	R(mknod("m/x", S_IFDIR | 0755, 0)); R(mknod("dangling-node/", S_IFREG, 0));
	show_path("m/fifo"), show_path("dir/fifo"), show_path("m/node"), show_path("dir/node"), show_path("m/xnode"), show_path("dir/xnode");
	// FIFOs and sockets of a job are its own; they do not reach the client.
	R(unlink("m/fifo")); R(unlink("dir/fifo")); R(unlink("dir/node")); R(unlink("dir/xnode"));
}

int main(void)
{
	memset(NAME, 'n', 256), memset(LONG, 'x', 4999);
	umask(022);
	CWD_FD = open(".", O_PATH), DIR_FD = open("dir", O_RDONLY);
	directories();
	links();
	moves();
	removals();
	nodes();
	show_dir("."), show_dir("dir"), show_dir("m");
	return 0;
}
