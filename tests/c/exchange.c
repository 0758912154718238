// renameat2 with its flags: names exchanged, of files, links and directories, seen and
// unseen, the client's and the job's own; and names that must not be replaced.
// hooks: renameat2 open
#include "common.h"

#define SWAP(a, b) R(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE))
#define NEW(a, b) R(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE))

int main(void)
{
	write_file("own", "own\n"), mkdir("own-dir", 0755), write_file("own-dir/x", "in own\n"), mkdir("other-dir", 0750), write_file("other-dir/y", "in other\n");
	SWAP("own", "dir/file"); show_file("own"), show_file("dir/file");
	SWAP("many/n01", "many/n02"); show_file("many/n01"), show_file("many/n02");
	SWAP("link", "plain1"); show_path("link"), show_path("plain1"), show_file("link");
	SWAP("own", "own-dir"); show_dir("own"), show_file("own-dir"); SWAP("own", "own-dir");
	SWAP("own-dir", "other-dir"); show_dir("own-dir"), show_dir("other-dir");
	SWAP("own", "missing"); SWAP("missing", "own"); SWAP("own-dir", "own-dir/inside"); SWAP("own-dir/y", "own-dir"); SWAP("own", "own"); SWAP("own/", "dir"); SWAP("loop", "dangling"); show_path("loop");
	// Directories that nobody looked into.
	SWAP("trees/one", "trees/two"); show_file("trees/one/a/b/leaf"), show_file("trees/two/a/b/leaf"), show_dir("trees/two/a");
	SWAP("trees/three/a", "own-dir"); show_dir("trees/three/a"), show_file("own-dir/b/leaf"), show_dir("own-dir");
	SWAP("trees/four", "plain2"); show_file("plain2/a/b/leaf"), show_file("trees/four");
	SWAP("trees/five/a/b", "trees/six"); show_file("trees/five/a/b/a/b/other"), show_file("trees/six/leaf");
	SWAP("trees/eight", "trees/eight/a"); SWAP("trees/eight/a", "trees/eight");
	NEW("many/n03", "many/n04"); NEW("many/n03", "many/fresh"); show_file("many/fresh"), show_path("many/n03"); NEW("trees/eight", "trees/empty"); NEW("trees/eight", "moved"); show_file("moved/a/b/leaf"); NEW("own", "dangling2"); NEW("own", "loop2/x"); NEW("dir/sub", "dir/sub/deep/x"); NEW("missing", "x"); NEW("own", "own");
	R(renameat2(AT_FDCWD, "own", AT_FDCWD, "x", RENAME_NOREPLACE | RENAME_EXCHANGE)); R(renameat2(AT_FDCWD, "own", AT_FDCWD, "x", 0x40));
	show_dir("."), show_dir("trees"), show_dir("many");
	return 0;
}
