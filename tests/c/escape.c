// Links to absolute places, magic links and FIFOs where a worker will look: nothing leads out, nothing hangs.
// hooks: symlink open stat readlink mkfifo opendir
#include "common.h"

int main(void)
{
	struct stat st, root;
	char target[PATH_MAX] = "";
	R(mkdir("e", 0755));
	// Absolute links mean the job's root, not the worker's.
	R(symlink("/", "e/root")); R(symlink("/etc", "e/etc")); R(symlink("/proc/1/root", "e/init")); R(symlink("/proc/self/root", "e/self")); R(symlink("../../../../../../../../../../../..", "e/up"));
	stat("/", &root);
	const char *roots[] = { "e/root", "e/root/..", "e/self/", "e/up", "e/up/../..", "/proc/self/root/", "/proc/self/cwd/../../../../../../../.." };
	for (int i = 0; i < LEN(roots); i++)
		printf("%s is the root: %d\n", roots[i], stat(roots[i], &st) == 0 && st.st_ino == root.st_ino && st.st_dev == root.st_dev);
	R(stat("e/etc/passwd", &st)); R(stat("e/root/etc/passwd", &st)); R(stat("e/self/etc/passwd", &st)); R(stat("e/up/etc/passwd", &st));
	FD(open("e/self/dev/null", O_RDONLY)); R(access("e/root/proc/self/status", R_OK));
	// Magic links of descriptors and the working directory.
	int file = open("dir/file", O_RDONLY), dir = open("dir", O_RDONLY);
	char by_fd[64];
	snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", file);
	FD(open(by_fd, O_RDONLY)); R(readlink(by_fd, target, sizeof target)); print_path(target), putchar('\n');
	snprintf(by_fd, sizeof by_fd, "/dev/fd/%d", file); FD(open(by_fd, O_RDONLY));
	snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d/sub/deep/leaf", dir); FD(open(by_fd, O_RDONLY));
	snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d/sub/made", dir); FD(open(by_fd, O_WRONLY | O_CREAT, 0644));
	FD(open("/proc/self/cwd/many/n33", O_RDONLY)); FD(open("/proc/thread-self/cwd/trees/one/a/b/leaf", O_RDONLY));
	show_dir("dir/sub");
	// A FIFO under every name a worker may look at while it copies, completes and harvests.
	R(rename("many", "e/many")); R(mkfifo("many", 0666)); R(unlink("dir/file")); R(mkfifo("dir/file", 0666));
	FD(open("many/x", O_RDONLY)); R(stat("dir/file", &st)); FD(open("dir/file", O_RDONLY | O_NONBLOCK)); FD(open("link", O_RDONLY | O_NONBLOCK)); R(chmod("dir/file", 0600)); R(access("dir/file", R_OK));
	DIR *none = opendir("many");
	printf("opendir of a FIFO: %s\n", none ? "ok" : error_name(errno));
	R(rename("dir/file", "dir/fifo")); R(truncate("dir/fifo", 0)); R(unlink("dir/fifo")); R(unlink("many"));
	// A directory replaced by a link out of the tree, then walked through.
	R(rename("trees/one", "e/one")); R(symlink("/etc", "trees/one")); R(stat("trees/one/passwd", &st)); R(stat("trees/one/a", &st)); R(readlink("trees/one", target, sizeof target));
	write_file("trees/two/a/new", "new\n"); R(unlink("trees/one"));
	R(symlink("/proc/self/fd/0", "e/zero")); R(lstat("e/zero", &st)); R(open("e/zero/x", O_RDONLY)); R(open("/proc/self/fd/999", O_RDONLY));
	// One was where the harvest will walk. A job that leaves one is not for a slot.
	R(mkfifo("e/planted", 0666)); R(unlink("e/planted"));
	show_dir("e"), show_dir("."), show_dir("trees");
	return 0;
}
