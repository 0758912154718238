// Paths below directories that do not exist, asked for again and again, before and after
// the directories, or symlinks in their place, are made; also by another process.
// fresh: 6
// hooks: open stat lstat statx access readlink realpath __realpath_chk fopen opendir
#include "common.h"
#include <sys/wait.h>

extern char *__realpath_chk(const char *, char *, size_t);

static void ask(const char *path)
{
	static char into[PATH_MAX], target[64];
	struct stat st;
	struct statx x;
	printf("-- "), print_path(path), putchar('\n');
	for (int again = 0; again < 2; again++) {
		FD(open(path, O_RDONLY)); FD(open(path, O_PATH | O_NOFOLLOW)); FD(open(path, O_RDONLY | O_DIRECTORY));
		R(stat(path, &st)); R(lstat(path, &st)); R(statx(AT_FDCWD, path, 0, STATX_SIZE, &x));
		R(access(path, F_OK)); R(readlink(path, target, sizeof target));
		FILE *stream = CALL(fopen(path, "r"));
		printf("fopen %s\n", stream ? "opened" : error_name(errno));
		DIR *dir = CALL(opendir(path));
		printf("opendir %s\n", dir ? "opened" : error_name(errno));
		if (stream)
			fclose(stream);
		if (dir)
			closedir(dir);
		P(realpath(path, NULL));
		strcpy(into, "before");
		P(realpath(path, into)), print_path(into), putchar('\n');
		strcpy(into, "before");
		P(__realpath_chk(path, into, PATH_MAX)), print_path(into), putchar('\n');
	}
}

static void in_child(const char *dir)
{
	pid_t child = fork();
	int status;
	if (child == 0)
		_exit(mkdir(dir, 0755) ? errno : 0);
	waitpid(child, &status, 0);
	printf("child made %s: %d\n", dir, WEXITSTATUS(status));
}

int main(void)
{
	static char absolute[PATH_MAX], long_name[300], long_path[PATH_MAX + 64];
	struct stat st;
	// So that the directories above are known.
	for (int i = 0; i < 8; i++)
		stat("plain1", &st), stat("dir/file", &st), stat("fresh/0/file", &st), stat("dir/sub/deep/leaf", &st);
	ask("gap/a/b/c"), ask("dir/gap/x"), ask("dir/sub/deep/gap/../leaf"), ask("dir//gap//x"), ask("gap/a/../../plain1");
	ask("dir/file/x/y"), ask("dangling/x"), ask("dangling2/x"), ask("loop/x"), ask("dirlink/gap/x"), ask("closed/gap/x");
	ask("fresh/1/gap/x"), ask("to-fresh/gap/x"), ask("dir/./gap/x"), ask("dir/../gap/x"), ask("gap/"), ask("gap/x/.");
	if (!getcwd(absolute, 1024))
		die("getcwd");
	ask(strcat(absolute, "/gap/a/b"));
	memset(long_name, 'n', 280), memcpy(long_name, "gap/", 4);
	ask(long_name);
	memset(long_path, 'p', PATH_MAX + 8), memcpy(long_path, "gap/", 4);
	for (int at = 200; at < PATH_MAX; at += 200)
		long_path[at] = '/';
	ask(long_path);
	long_path[PATH_MAX - 1] = '\0', ask(long_path);

	R(mkdir("gap", 0755)); ask("gap/a/b/c");
	in_child("gap/a"); ask("gap/a/b/c");
	R(mkdir("gap/a/b", 0755)); write_file("gap/a/b/c", "made\n"); ask("gap/a/b/c");
	R(rename("gap/a", "gap/z")); ask("gap/a/b/c"), ask("gap/z/b/c");
	R(symlink("z", "gap/a")); ask("gap/a/b/c");
	R(unlink("gap/a")); ask("gap/a/b/c");
	// One that leads to where nobody has looked yet.
	R(symlink("../fresh/2", "dir/gap")); ask("dir/gap/file");
	R(rename("fresh/3", "dir/moved")); ask("fresh/3/file"), ask("dir/moved/file");
	ask("../gap/x");
	return 0;
}
