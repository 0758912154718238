// Directories removed and made anew, under a process that stands in them, closed against
// writing, with other masks; and links that lead in circles.
// hooks: mkdir rmdir chdir open unlink rename chmod mkfifo mknod
#include "common.h"

static void standing(void)
{
	char text[PATH_MAX];
	struct stat st;
	int home = open(".", O_RDONLY);
	// Made by the job.
	R(mkdir("here", 0755)); R(chdir("here")); R(rmdir("../here"));
	P(getcwd(text, sizeof text)); R(stat(".", &st)); R(stat("..", &st)); R(stat("../dir/file", &st)); FD(open("x", O_WRONLY | O_CREAT, 0644)); R(mkdir("x", 0755)); FD(open(".", O_RDONLY)); P(realpath(".", NULL)); P(opendir("."));
	R(access("missing", F_OK)); R(readlink("missing", text, sizeof text)); R(rename("x", "y")); R(chmod(".", 0700)); R(symlink("x", "y"));
	fflush(stdout);
	R(system("/bin/pwd 2>/dev/null || echo nowhere; cat ../dir/file 2>/dev/null || echo gone; exit 3"));
	R(fchdir(home)); R(mkdir("here", 0755)); write_file("here/new", "new\n"); show_dir("here"); R(chdir("here")); show_file("new"); R(fchdir(home));
	// The client's, moved and then removed.
	R(chdir("trees/two/a/b")); show_file("leaf"); R(fchdir(home)); R(chdir("trees/three/a")); R(fchdir(home));
	int inside = open("trees/empty", O_RDONLY);
	R(rmdir("trees/empty")); FD(openat(inside, "x", O_WRONLY | O_CREAT, 0644)); FD(openat(inside, ".", O_RDONLY)); R(fstatat(inside, "..", &st, 0)); R(fchdir(inside)); P(getcwd(text, sizeof text)); R(fchdir(home));
	R(mkdir("trees/empty", 0711)); FD(openat(inside, "x", O_WRONLY | O_CREAT, 0644)); write_file("trees/empty/x", "x\n"); FD(openat(inside, "x", O_RDONLY)); show_path("trees/empty"), show_dir("trees/empty");
	close(inside), close(home);
}

static void again(void)
{
	R(system("rm -r trees/four && mkdir trees/four && ls -A trees/four && echo new > trees/four/top && cat trees/four/top && rm -r trees/four && echo a file > trees/four && cat trees/four && rm trees/four && ln -s five trees/four && cat trees/four/a/b/leaf && rm trees/four && mkdir -p trees/four/a/b && ls -AR trees/four"));
	for (int i = 0; i < 30; i++) {
		char text[32];
		snprintf(text, sizeof text, "%d\n", i);
		if (mkdir("cycle", 0755) || (write_file("cycle/file", text), i % 3 == 0) && unlink("cycle/file") || i % 3 && (rename("cycle/file", "cycle-file") || unlink("cycle-file")) || rmdir("cycle"))
			printf("cycle %d: %s\n", i, error_name(errno));
	}
	show_path("cycle");
	R(unlink("many/n01")); R(mkdir("many/n01", 0755)); write_file("many/n01/x", "x\n"); show_dir("many/n01"); R(unlink("many/n01/x")); R(rmdir("many/n01")); write_file("many/n01", "again\n"); show_file("many/n01");
}

static void masked(void)
{
	int masks[] = { 0, 022, 027, 077, 0777, 0111 };
	char path[32];
	for (int i = 0; i < LEN(masks); i++) {
		umask(masks[i]);
		snprintf(path, sizeof path, "mask-dir-%d", i), R(mkdir(path, 01777)), show_path(path), R(chmod(path, 0755));
		snprintf(path, sizeof path, "mask-file-%d", i), close(open(path, O_WRONLY | O_CREAT, 0666)), show_path(path), R(chmod(path, 0644));
		snprintf(path, sizeof path, "mask-node-%d", i), R(mknod(path, S_IFREG | 0666, 0)), show_path(path), R(chmod(path, 0644));
		snprintf(path, sizeof path, "mask-fifo-%d", i), R(mkfifo(path, 0666)), show_path(path), R(unlink(path));
	}
	umask(027);
	fflush(stdout);
	R(system("umask; echo x > by-shell; stat -c %a by-shell; (umask 0; mkdir open-dir; stat -c %a open-dir)"));
	umask(022);
}

static void read_only(void)
{
	int root = geteuid() == 0;
	R(mkdir("shut", 0755)); write_file("shut/file", "x\n"); R(chmod("shut", 0555)); R(chmod("trees/five/a", 0555)); R(chmod("trees/six/a/b/leaf", 0444));
	// Root may, so only what it would change is tried by the others.
	if (!root) {
		FD(open("shut/new", O_WRONLY | O_CREAT, 0644)); R(unlink("shut/file")); R(mkdir("shut/new", 0755)); R(rename("shut/file", "file")); R(rename("plain1", "shut/plain1")); R(symlink("x", "shut/x")); R(link("plain1", "shut/x"));
		FD(open("trees/five/a/new", O_WRONLY | O_CREAT, 0644)); R(rename("trees/five/a/b", "b")); R(rmdir("trees/five/a/empty-dir")); FD(open("trees/six/a/b/leaf", O_WRONLY)); FD(open("trees/six/a/b/leaf", O_RDONLY | O_TRUNC)); R(access("trees/six/a/b/leaf", W_OK)); R(access("trees/five/a", W_OK)); R(truncate("trees/six/a/b/leaf", 0));
		R(chmod("shut", 0000)); show_path("shut/file"); FD(open("shut/file", O_RDONLY)); R(chdir("shut")); show_dir("shut"); R(chmod("shut", 0111)); show_file("shut/file"); show_dir("shut"); R(chmod("shut", 0444)); show_path("shut/file");
	}
	FD(open("shut/file", O_WRONLY)); show_file("trees/five/a/b/leaf"), show_file("trees/six/a/b/leaf");
	R(chmod("shut", 0755)); R(unlink("shut/file")); R(rmdir("shut"));
}

static void circles(void)
{
	struct stat st;
	R(symlink("c2", "c1")); R(symlink("c3", "c2")); R(symlink("c1", "c3")); R(symlink("c1/x", "c4")); R(symlink(".", "dot")); R(symlink("dot/dot/dot/dir", "dots")); R(symlink("../trees/../dir/back/trees", "trees/round"));
	const char *paths[] = { "c1", "c1/", "c4", "c1/../dir/file", "dot/dot/dot/dir/file", "dots/file", "dots/back/dots/back/dots/file", "trees/round/round/round/one/top", "dot/c2/x" };
	for (int i = 0; i < LEN(paths); i++) {
		print_path(paths[i]), putchar('\n');
		R(stat(paths[i], &st)); R(lstat(paths[i], &st)); FD(open(paths[i], O_RDONLY)); FD(open(paths[i], O_WRONLY | O_CREAT, 0644)); FD(open(paths[i], O_RDONLY | O_NOFOLLOW)); P(realpath(paths[i], NULL)); R(rename(paths[i], "missing/x")); R(mkdir(paths[i], 0755)); R(access(paths[i], F_OK)); P(opendir(paths[i]));
	}
}

int main(void)
{
	umask(022);
	standing(), fflush(stdout), again(), masked(), read_only(), circles();
	show_dir("."), show_dir("trees");
	return 0;
}
