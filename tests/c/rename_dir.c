// Directories of the client renamed, removed and made anew before anybody looked into them.
// ordinary: home -- overlayfs of an ordinary user renames no lower directory, and this one is in use
// hooks: rename renameat2 rmdir mkdir unlink open opendir
#include "common.h"
#include <ftw.h>

static int sweep(const char *path, const struct stat *st, int flag, struct FTW *at) { return remove(path); }

int main(void)
{
	// What stands below, three levels deep, goes along although nothing of it was seen.
	R(rename("trees/one", "renamed"));
	show_file("renamed/a/b/leaf"), show_file("renamed/a/b/other"), show_path("renamed/a/empty-dir"), show_path("renamed/a/b/up");
	show_file("trees/one/a/b/leaf"), show_dir("renamed/a/b"), show_dir("trees");
	// Another takes its name.
	R(rename("trees/two", "trees/one"));
	show_file("trees/one/a/b/leaf"), show_dir("trees/one");
	R(mkdir("trees/two", 0755)); show_dir("trees/two");
	write_file("trees/two/new", "new\n"); show_dir("trees/two");
	// Into another directory, and on from there.
	R(rename("trees/three", "dir/sub/three")); R(rename("dir/sub", "sub")); show_file("sub/three/a/b/leaf"), show_file("sub/deep/leaf"), show_path("dir/sub");
	// Removed with all that is in it, then made anew: the new one is empty.
	R(nftw("trees/four", sweep, 8, FTW_DEPTH | FTW_PHYS));
	R(mkdir("trees/four", 0700)); show_dir("trees/four"), show_file("trees/four/a/b/leaf"), show_path("trees/four");
	R(rmdir("trees/four")); R(mkdir("trees/four", 0755)); R(mkdir("trees/four/a", 0755)); show_dir("trees/four/a");
	// Over an empty directory, over one that is not, over a file.
	R(rename("trees/five", "trees/empty")); show_file("trees/empty/a/b/leaf");
	R(rename("trees/six", "trees/empty")); R(rename("trees/six", "dir/file")); R(rename("dir/file", "trees/six"));
	// A directory becomes a link and a link becomes a directory.
	R(rename("trees/six", "six")); R(symlink("../six", "trees/six")); show_file("trees/six/a/b/leaf");
	R(rename("six", "trees/seven")); show_file("trees/six/a/b/leaf"); show_file("trees/seven/a/b/leaf");
	// One that is open while it moves.
	int fd = open("trees/eight/a", O_RDONLY);
	R(rename("trees/eight", "eight"));
	FD(openat(fd, "b/leaf", O_RDONLY)); FD(openat(fd, "../a/b/other", O_RDONLY)); FD(openat(fd, "made", O_WRONLY | O_CREAT, 0644));
	show_dir("eight/a");
	// Exchanged.
	R(renameat2(AT_FDCWD, "eight", AT_FDCWD, "renamed", RENAME_EXCHANGE)); show_dir("eight"), show_dir("renamed");
	// There and back again, with a change in between.
	R(rename("eight", "nine")); write_file("nine/a/b/leaf", "changed on the way\n"); R(rename("nine", "eight")); show_file("eight/a/b/leaf");
	R(rename("sub/three/a", "sub/three/z")); R(unlink("sub/three/z/b/other")); show_dir("sub/three/z/b");
	show_dir("."), show_dir("trees"), show_dir("sub");
	return 0;
}
