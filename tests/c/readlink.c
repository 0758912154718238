// What links say, asked in every way for every kind of path.
// hooks: readlink readlinkat __readlink_chk __readlinkat_chk
#include "common.h"

extern ssize_t __readlink_chk(const char *, char *, size_t, size_t);
extern ssize_t __readlinkat_chk(int, const char *, char *, size_t, size_t);

static int CWD_FD;
static ssize_t by_readlink(const char *p, char *b, size_t n) { return readlink(p, b, n); }
static ssize_t by_readlinkat(const char *p, char *b, size_t n) { return readlinkat(AT_FDCWD, p, b, n); }
static ssize_t by_readlink_chk(const char *p, char *b, size_t n) { return __readlink_chk(p, b, n, n); }
static ssize_t by_readlinkat_chk(const char *p, char *b, size_t n) { return __readlinkat_chk(CWD_FD, p, b, n, n); }

static const struct { const char *name; ssize_t (*readlink)(const char *, char *, size_t); } WAYS[] = {
	{ "readlink", by_readlink }, { "readlinkat", by_readlinkat }, { "__readlink_chk", by_readlink_chk },
	{ "__readlinkat_chk", by_readlinkat_chk },
};

int main(void)
{
	make_paths();
	CWD_FD = open(".", O_PATH);
	for (int way = 0; way < LEN(WAYS); way++)
		for (int i = 0; i < PATHS_COUNT; i++) {
			char target[4096] = "";
			if (!is_bad(PATHS[i]) && !strcmp(PATHS[i], "/proc/self"))
				continue;
			long got = CALL(WAYS[way].readlink(PATHS[i], target, sizeof target - 1));
			printf("%s ", WAYS[way].name);
			print_path(PATHS[i]);
			number("", got);
			if (got > 0)
				print_path(target), putchar('\n');
		}
	char small[4] = "...";
	int link = open("link", O_PATH | O_NOFOLLOW), dir = open("dir", O_RDONLY);
	R(readlink("link", small, 3));
	print_path(small), putchar('\n');
	R(readlink("link", small, 0));
	R(readlink("link", BAD_POINTER, 10));
	R(readlinkat(link, "", small, 3));
	R(readlinkat(dir, "back", small, 3));
	R(readlinkat(dir, "file", small, 3));
	R(readlinkat(-1, "x", small, 3));
	R(readlinkat(dir, "missing", small, 3));
	R(readlinkat(dir, "../dirlink", small, 3));
	char exe[PATH_MAX] = "";
	R(readlink("/proc/self/cwd", exe, sizeof exe - 1));
	print_path(exe), putchar('\n');
	return 0;
}
