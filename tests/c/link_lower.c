// A file of the client that a job gives a second name stays one file.
// ordinary: not -- overlayfs of an ordinary user shows two inodes (it may not decode file handles)
// hooks: link stat rename
#include "common.h"

int main(void)
{
	struct stat a, b;
	R(link("big", "big-too")); R(link("dir/sub/deep/leaf", "leaf")); R(link("leaf", "dir/leaf-too"));
	stat("big", &a), stat("big-too", &b);
	printf("one file: %d\n", a.st_ino == b.st_ino);
	stat("dir/leaf-too", &a), stat("dir/sub/deep/leaf", &b);
	printf("one file: %d\n", a.st_ino == b.st_ino);
	// Renaming one name of a file over the other does nothing.
	R(rename("big", "big-too")); show_path("big"), show_path("big-too");
	R(rename("leaf", "dir/leaf-too")); show_path("leaf"), show_path("dir/leaf-too"), show_path("dir/sub/deep/leaf");
	return 0;
}
