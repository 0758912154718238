// Directories of the client renamed before anybody looked into them, with nothing of them in
// use: what overlayfs refuses an ordinary user is done for it.
// hooks: rename renameat mkdir symlink opendir
#include "common.h"

int main(void)
{
	int trees = open("trees", O_PATH), here = open(".", O_PATH);
	show_dir(".");
	R(rename("trees/one", "renamed")); show_file("renamed/a/b/leaf"), show_path("renamed/a/b/other"), show_path("renamed/a/b/up"), show_file("renamed/a/b/up"), show_path("renamed/a/empty-dir"), show_path("renamed/top");
	show_path("trees/one"), show_file("trees/one/a/b/leaf"), show_path("renamed"), show_path("renamed/a");
	R(renameat(trees, "two", here, "dir/sub/two")); show_file("dir/sub/two/a/b/leaf");
	R(rename("dir/sub", "sub")); show_file("sub/two/a/b/leaf"), show_file("sub/deep/leaf"), show_dir("dir");
	R(rename("sub/two", "trees/one")); show_file("trees/one/a/b/leaf");
	// Over an empty one, over one that is not, over a file; below itself; to where nothing is.
	R(rename("trees/three", "trees/empty")); show_file("trees/empty/top"); R(rename("trees/four", "trees/five")); R(rename("trees/four", "big")); R(rename("big", "trees/four"));
	R(rename("trees/four", "trees/four/a/x")); R(rename("trees/four", "missing/x")); R(rename("trees/four/", "four/")); show_file("four/top"); R(rename("four/.", "x")); R(rename("four", "loop/x")); R(rename("four", "dangling"));
	// Modes and times go along, also of what is closed to its owner; links still lead where they led.
	R(chmod("trees/five/a", 0500)); R(rename("trees/five", "five")); show_path("five/a"), show_file("five/a/b/leaf"); R(chmod("five/a", 0755));
	R(rename("odd", "even")); show_dir("even"), show_file("even/\xff\xfe");
	R(rename("many", "few")); show_dir("few"), show_file("few/n59"); R(mkdir("many", 0755)); show_dir("many");
	R(rename("dir", "moved-dir")); show_path("link"), show_file("link"), show_file("abslink"), show_file("dirlink/file"); R(symlink("moved-dir", "dir")); show_file("link"), show_file("dirlink/script.sh");
	// There and back, changed on the way; removed after its move; made anew where it was.
	R(rename("trees/six", "six")); write_file("six/a/b/leaf", "changed\n"); R(unlink("six/a/b/other")); R(rename("six", "trees/six")); show_file("trees/six/a/b/leaf"), show_dir("trees/six/a/b");
	// An open descriptor would stay with the old directory, and the job go home.
	R(rename("trees/eight", "eight")); close(trees), close(here), fflush(stdout);
	R(system("mv five/a five/z && mv renamed renamed-again && cat renamed-again/a/b/leaf five/z/b/leaf && rm -r eight && mkdir trees/eight && ls -A trees/eight trees && mv trees moved-trees && find moved-trees | sort"));
	return 0;
}
