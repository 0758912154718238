// Hard links and symbolic links: counted, followed, broken, looped, and left as a structure.
// hooks: link symlink unlink rename lstat open
#include "common.h"

static void forty_links(void)
{
	char name[32], target[32];
	write_file("chain-0", "end of the chain\n");
	for (int i = 1; i <= 42; i++) {
		snprintf(name, sizeof name, "chain-%d", i), snprintf(target, sizeof target, "chain-%d", i - 1);
		if (symlink(target, name) != 0)
			die("symlink");
	}
	show_file("chain-40");
	show_file("chain-41");
	show_file("chain-42");
	for (int i = 1; i <= 42; i++)
		snprintf(name, sizeof name, "chain-%d", i), unlink(name);
}

int main(void)
{
	struct stat a;
	// Links made by the job, to its own file and to one of the client.
	write_file("own", "own\n");
	R(link("own", "own-too")); R(link("own-too", "dir/own-three")); R(link("big", "big-too")); R(link("many/n20", "dir/sub/n20"));
	show_path("own"), show_path("dir/own-three"), show_path("big"), show_path("big-too"), show_path("many/n20");
	int fd = open("big-too", O_WRONLY);
	R(pwrite(fd, "BEGIN", 5, 0));
	close(fd);
	FD(open("big", O_RDONLY));
	R(unlink("own")); show_path("own-too");
	R(link("many/n21", "linked-then-unlinked")); R(unlink("many/n21")); show_file("linked-then-unlinked");
	// Symbolic links: replaced, through directories that move, onto themselves.
	R(symlink("dir/sub", "here")); show_file("here/deep/leaf"); R(unlink("here")); R(symlink("trees/one", "here")); show_file("here/a/b/leaf"); show_file("here/deep/leaf");
	R(rename("here", "there")); show_dir("there"); show_dir("here");
	R(symlink("self", "self")); FD(open("self", O_RDONLY)); FD(open("self/x", O_RDONLY)); R(lstat("self", &a));
	R(symlink("../dangling-up", "dir/up")); show_file("dir/up"); write_file("dir/up", "made through a link\n"); show_file("dangling-up");
	R(rename("dir/sub", "dir/old-sub")); R(symlink("../trees/one", "dir/sub")); show_file("dir/sub/a/b/leaf"); show_file("dir/sub/deep/leaf"); show_file("dir/old-sub/deep/leaf");
	R(unlink("dirlink")); R(mkdir("dirlink", 0755)); show_file("dirlink/file"); write_file("dirlink/new", "x\n"); show_dir("dirlink"), show_path("dir/new");
	forty_links();
	show_dir("."), show_dir("dir");
	return 0;
}
