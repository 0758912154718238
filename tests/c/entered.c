// Paths that end in a slash or a dot enter what they name, and paths go on behind what is
// missing. What comes to stand there later may lead where nobody has looked yet.
// fresh: 12
// hooks: stat access open readlink realpath
#include "common.h"

static void look(const char *path)
{
	struct stat st;
	// The second time everything on the way is known.
	for (int times = 0; times < 2; times++) {
		printf("%s: ", path);
		if (R(stat(path, &st)) == 0)
			print_stat(&st);
		R(access(path, R_OK));
		char target[64];
		R(readlink(path, target, sizeof target));
		FD(open(path, O_RDONLY));
		P(realpath(path, NULL));
	}
}

int main(void)
{
	const char *names[] = { "dir", "dirlink", "dir/file", "link", "missing", "missing/sub", "fresh/0", "dir/file/x" };
	char path[64];
	for (int i = 0; i < LEN(names); i++)
		for (int end = 0; end < 3; end++)
			snprintf(path, sizeof path, "%s%s", names[i], (const char *[]){ "/", "/.", "//" }[end]), look(path);
	// A directory in the place of what was missing, and in that of a file.
	look("missing/../fresh/1/file"), look("missing/./../fresh/2/."), look("dir/missing/../../fresh/3/file");
	R(mkdir("missing", 0755)), R(mkdir("dir/missing", 0755));
	look("missing/../fresh/1/file"), look("missing/./../fresh/2/."), look("dir/missing/../../fresh/3/file");
	look("missing/"), look("missing/."), look("fresh/2/file");
	look("dir/empty/../../fresh/4/file");
	R(unlink("dir/empty")), R(mkdir("dir/empty", 0755));
	look("dir/empty/../../fresh/4/file"), look("dir/empty/.");
	// A link in the place of what was missing and of an entered directory.
	look("towards/."), look("towards/file");
	R(symlink("fresh/5", "towards")), look("towards/."), look("towards/file");
	R(unlink("towards")), R(symlink("fresh/6", "towards")), look("towards/."), look("towards/file");
	R(rename("fresh/7", "seventh")), look("fresh/7/."), look("seventh/."), look("seventh/file");
	R(mkdir("fresh/7", 0700)), look("fresh/7/."), look("fresh/7/file");
	R(rmdir("fresh/7")), look("fresh/7/"), look("fresh/7/../8/file");
	return 0;
}
