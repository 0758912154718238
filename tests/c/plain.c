// Directories that are asked again and again whether they are symlinks, and then become
// some, go, come back, or are shut: by this process, by another, by name or descriptor.
// hooks: readlink readlinkat realpath fchmod rename
#include "common.h"

static char home[PATH_MAX];

static void ask(const char *path)
{
	char whole[2 * PATH_MAX], target[64];
	snprintf(whole, sizeof whole, "%s/%s", home, path);
	for (int i = 0; i < 3; i++) {
		memset(target, 0, sizeof target), R(readlink(whole, target, sizeof target - 1)), puts(target);
		memset(target, 0, sizeof target), R(readlinkat(AT_FDCWD, path, target, sizeof target - 1)), puts(target);
	}
	P(realpath(path, NULL));
}

static void ask_all(void)
{
	const char *paths[] = { "dir", "dirlink", "trees", "trees/one", "trees/one/a", "trees/one/a/b", "trees/one/a/b/leaf", "trees/two", "trees/two/a/b", "trees/three/a", "trees/four/a/b", "trees/five/a/b", "trees/six/a" };
	for (int i = 0; i < LEN(paths); i++)
		ask(paths[i]);
	fflush(stdout);
}

static void by_another(const char *command)
{
	fflush(stdout);
	R(system(command));
	ask_all();
}

int main(void)
{
	struct stat st;
	if (!getcwd(home, sizeof home))
		return 1;
	// So that all of it is known before anything changes.
	show_dir("trees"), show_dir("trees/one"), show_dir("trees/one/a"), show_dir("trees/one/a/b"), show_dir("trees/two/a"), show_dir("trees/four/a");
	ask_all(), ask_all();
	fflush(stdout);
	if (!fork())
		ask_all(), _exit(0);
	wait(NULL);
	// Shut, and searched by whoever may.
	int six = open("trees/six", O_RDONLY | O_DIRECTORY);
	R(fchmod(six, 0600)); ask_all(); R(fstat(six, &st)), print_stat(&st); R(fchmod(six, 0755)); ask_all();
	R(chmod("trees/five/a", 0600)); ask_all(); R(chmod("trees/five/a", 0755)); ask_all();
	close(six);
	// Another thing by the same name.
	R(rename("trees/four/a/b", "trees/four/b")); R(symlink("../b", "trees/four/a/b")); ask_all();
	R(syscall(SYS_renameat2, AT_FDCWD, "dirlink", AT_FDCWD, "trees/three/a", 2 /* RENAME_EXCHANGE */)); ask_all();
	R(rename("trees/two", "trees/2")); ask_all(); R(symlink("2", "trees/two")); ask_all(); R(unlink("trees/two")); R(mkdir("trees/two", 0755)); ask_all();
	by_another("rm -r trees/one/a/b && ln -s leaf trees/one/a/b");
	by_another("rm -r trees/one && ln trees/four/a/b trees/one 2>/dev/null; test -h trees/one || ln -s two trees/one");
	by_another("rm trees/one && mkdir -p trees/one/a/b && chmod 600 trees/one");
	by_another("chmod 755 trees/one; mv trees t && ln -s t trees");
	return 0;
}
