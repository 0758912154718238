// What open answers for every kind of path, and what it creates.
// hooks: open open64 openat openat64 creat creat64 __open_2 __open64_2 __openat_2 __openat64_2 __open __open64
#include "common.h"

extern int __open(const char *, int, ...), __open64(const char *, int, ...);
extern int __open_2(const char *, int), __open64_2(const char *, int);
extern int __openat_2(int, const char *, int), __openat64_2(int, const char *, int);

static int DIR_FD, CWD_FD;

static int by_open(const char *p, int f) { return open(p, f, 0640); }
static int by_open64(const char *p, int f) { return open64(p, f, 0640); }
static int by_dunder_open(const char *p, int f) { return __open(p, f, 0640); }
static int by_dunder_open64(const char *p, int f) { return __open64(p, f, 0640); }
static int by_open_2(const char *p, int f) { return __open_2(p, f); }
static int by_open64_2(const char *p, int f) { return __open64_2(p, f); }
static int by_openat(const char *p, int f) { return openat(AT_FDCWD, p, f, 0640); }
static int by_openat64(const char *p, int f) { return openat64(CWD_FD, p, f, 0640); }
static int by_openat_2(const char *p, int f) { return __openat_2(CWD_FD, p, f); }
static int by_openat64_2(const char *p, int f) { return __openat64_2(AT_FDCWD, p, f); }

static const struct { const char *name; int (*open)(const char *, int); int creates; } OPENERS[] = {
	{ "open", by_open, 1 }, { "open64", by_open64, 1 }, { "__open", by_dunder_open, 1 },
	{ "__open64", by_dunder_open64, 1 }, { "__open_2", by_open_2 }, { "__open64_2", by_open64_2 },
	{ "openat", by_openat, 1 }, { "openat64", by_openat64, 1 }, { "__openat_2", by_openat_2 },
	{ "__openat64_2", by_openat64_2 },
};

static void look(int which, int flags, const char *word)
{
	for (int i = 0; i < PATHS_COUNT; i++) {
		printf("%s %s ", OPENERS[which].name, word);
		print_path(PATHS[i]);
		descriptor("", CALL(OPENERS[which].open(PATHS[i], flags)));
	}
}

static void create(int which)
{
	char path[64];
	const struct { const char *word; int flags; } ways[] = {
		{ "creat", O_WRONLY | O_CREAT }, { "excl", O_WRONLY | O_CREAT | O_EXCL }, { "again", O_RDWR | O_CREAT | O_EXCL },
		{ "append", O_WRONLY | O_APPEND }, { "trunc", O_RDWR | O_TRUNC }, { "dir", O_WRONLY | O_DIRECTORY },
	};
	snprintf(path, sizeof path, "out/%s", OPENERS[which].name);
	for (int i = 0; i < LEN(ways); i++) {
		int fd = CALL(OPENERS[which].open(path, ways[i].flags));
		printf("%s %s: %s", OPENERS[which].name, ways[i].word, fd < 0 ? error_name(errno) : "");
		if (fd >= 0) {
			dprintf(fd, "%s\n", ways[i].word);
			print_content(fd);
			close(fd);
		} else {
			putchar('\n');
		}
		show_path(path);
	}
	snprintf(path, sizeof path, "dangling2");
	printf("%s through a dangling link", OPENERS[which].name);
	descriptor("", CALL(OPENERS[which].open(path, O_WRONLY | O_CREAT | O_EXCL)));
	descriptor(" and made", CALL(OPENERS[which].open("missing/x", O_WRONLY | O_CREAT)));
	descriptor(" and a dir", CALL(OPENERS[which].open("dir", O_WRONLY | O_CREAT)));
}

static void through_descriptors(void)
{
	int file = open("dir/file", O_RDONLY), path = open("dir", O_PATH), link = open("link", O_PATH | O_NOFOLLOW);
	FD(openat(DIR_FD, "file", O_RDONLY));
	FD(openat64(DIR_FD, "sub/deep/leaf", O_RDONLY));
	FD(openat(DIR_FD, "back/link", O_RDONLY));
	FD(openat(DIR_FD, "../many/n03", O_RDONLY));
	FD(openat(DIR_FD, "missing", O_RDONLY));
	FD(openat(DIR_FD, "", O_RDONLY));
	FD(openat(path, "file", O_RDONLY));
	FD(openat(path, "new", O_CREAT | O_WRONLY, 0600));
	FD(openat(file, "x", O_RDONLY));
	FD(openat(link, "x", O_RDONLY));
	FD(openat(-1, "dir", O_RDONLY));
	FD(openat(1000, "dir", O_RDONLY));
	FD(openat(-1, "/dev/null", O_RDONLY));
	FD(__openat_2(DIR_FD, "file", O_RDONLY));
	FD(__openat64_2(path, "file", O_RDONLY));
	close(file), close(path), close(link);
}

static void special(void)
{
	struct stat st;
	mode_t old = umask(027);
	FD(creat("out/c", 0666));
	FD(creat64("out/c64", 0777));
	FD(creat("dir/script.sh", 0666));
	FD(creat64("missing/x", 0666));
	FD(creat("dir", 0666));
	FD(creat("dangling2", 0604));
	umask(old);
	show_path("out/c"), show_path("out/c64"), show_path("dir/script.sh"), show_path("out/target2");
	int fd = CALL(open("out", O_TMPFILE | O_RDWR, 0640));
	printf("O_TMPFILE: %s\n", fd < 0 ? error_name(errno) : "ok");
	if (fd >= 0 && write(fd, "nameless\n", 9) == 9 && fstat(fd, &st) == 0)
		print_stat(&st);
	close(fd);
	// A descriptor that is open while its file is changed by another name for it.
	int reader = open("big", O_RDONLY), writer = open("big", O_RDWR);
	char bytes[5] = "";
	R(pwrite(writer, "HEAD", 4, 0));
	R(pread(reader, bytes, 4, 0));
	close(reader), close(writer);
	FD(open("big", O_RDONLY));
	FD(open("plain1", O_RDWR));
	FD(open("dir/sub/deep/leaf", O_RDWR | O_TRUNC));
	FD(open("link", O_WRONLY | O_APPEND));
}

int main(void)
{
	make_paths();
	DIR_FD = open("dir", O_RDONLY | O_DIRECTORY), CWD_FD = open(".", O_PATH);
	R(mkdir("out", 0755));
	for (int i = 0; i < LEN(OPENERS); i++) {
		look(i, O_RDONLY, "rdonly");
		look(i, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, "nofollow");
		look(i, O_RDONLY | O_DIRECTORY, "directory");
		look(i, O_PATH, "path");
		look(i, O_PATH | O_NOFOLLOW, "path nofollow");
		if (OPENERS[i].creates)
			create(i);
	}
	through_descriptors();
	special();
	return 0;
}
