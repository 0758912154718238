// Shared by the programs of tests/c: results printed in a stable form (no inode
// numbers, no times that vary, no pids), the list of paths that the looking families
// go through, and the hand-over of a slot's hit counters at exit. Knows no family.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LEN(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define BAD_POINTER ((char *)1)
// Past the end of what a process can map.
#define HIGH_POINTER ((char *)-1)

// No call sets this errno: a successful system call must leave it in place.
#define UNTOUCHED 4095
#define CALL(expression) (errno = UNTOUCHED, (expression))

// Prints and checks one call that answers -1 with errno, or a number.
#define R(expression) number(#expression, CALL(expression))
// The same for a call that answers a pointer; libc may use errno on its way.
#define P(expression) pointer(#expression, CALL((const void *)(expression)))
// The same for a call that answers a descriptor, which is shown and closed.
#define FD(expression) descriptor(#expression, CALL(expression))

static int is_bad(const char *path) { return path == NULL || path == BAD_POINTER || path == HIGH_POINTER; }

static void print_path(const char *path)
{
	if (is_bad(path)) {
		printf("<bad pointer>");
		return;
	}
	size_t length = strlen(path);
	if (length > 300) {
		printf("<long path>");
		return;
	}
	putchar('"');
	for (; *path; path++) {
		unsigned char byte = *path;
		if (byte < ' ' || byte > '~' || byte == '"' || byte == '\\')
			printf("\\x%02x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

static const char *error_name(int error)
{
	return strerrorname_np(error) ? strerrorname_np(error) : "?";
}

static void ending(long answer, int error)
{
	if (answer == -1)
		printf("%s\n", error_name(error));
	else if (error != UNTOUCHED)
		printf("%ld, errno touched\n", answer);
	else
		printf("%ld\n", answer);
}

static long number(const char *what, long answer)
{
	int error = errno;
	printf("%s = ", what);
	ending(answer, error);
	return answer;
}

static const void *pointer(const char *what, const void *answer)
{
	int error = errno;
	printf("%s = %s\n", what, answer ? "ok" : error_name(error));
	return answer;
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "file";
	case S_IFDIR: return "dir";
	case S_IFLNK: return "symlink";
	case S_IFIFO: return "fifo";
	case S_IFSOCK: return "socket";
	case S_IFCHR: return "char";
	case S_IFBLK: return "block";
	default: return "?";
	}
}

// Everything that must be the same in a view. The size and link count of a directory
// are the file system's own business; times are shown when a test or the fixture set them.
static void print_stat(const struct stat *st)
{
	printf("%s %04o %s", type_name(st->st_mode), st->st_mode & 07777, st->st_uid == geteuid() ? "mine" : "other");
	if (!S_ISDIR(st->st_mode))
		printf(" size %lld links %lu", (long long)st->st_size, (unsigned long)st->st_nlink);
	if (st->st_mtim.tv_sec < 1500000000)
		printf(" mtime %lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	else
		printf(" mtime recent");
	putchar('\n');
}

static void show_path(const char *path)
{
	struct stat st;
	print_path(path);
	printf(": ");
	if (lstat(path, &st) != 0)
		printf("%s\n", error_name(errno));
	else
		print_stat(&st);
}

// The kind of an open descriptor and the first bytes behind it.
static void print_content(int fd)
{
	struct stat st;
	char bytes[17] = "";
	if (fstat(fd, &st) != 0) {
		printf("fstat %s\n", error_name(errno));
		return;
	}
	printf("%s", type_name(st.st_mode));
	if (S_ISREG(st.st_mode)) {
		ssize_t got = pread(fd, bytes, sizeof bytes - 1, 0);
		printf(" size %lld ", (long long)st.st_size);
		if (got < 0)
			printf("%s", error_name(errno));
		else
			print_path(bytes);
	}
	printf(" flags %o %s\n", fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_PATH),
	       fcntl(fd, F_GETFD) & FD_CLOEXEC ? "cloexec" : "inherited");
}

static int descriptor(const char *what, int fd)
{
	int error = errno;
	printf("%s = ", what);
	if (fd < 0) {
		printf("%s\n", error_name(error));
		return -1;
	}
	if (error != UNTOUCHED)
		printf("errno touched ");
	print_content(fd);
	close(fd);
	return 0;
}

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(99);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) != 0)
		die(path);
}

static void show_file(const char *path)
{
	static char text[1 << 16];
	int fd = open(path, O_RDONLY);
	print_path(path);
	if (fd < 0) {
		printf(": %s\n", error_name(errno));
		return;
	}
	ssize_t got = read(fd, text, sizeof text - 1);
	close(fd);
	text[got < 0 ? 0 : got] = 0;
	printf(": %zd bytes ", got);
	print_path(text);
	putchar('\n');
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

// The names in a directory, sorted, with their types.
static void show_dir(const char *path)
{
	char *names[4096];
	int count = 0;
	DIR *dir = opendir(path);
	print_path(path);
	if (!dir) {
		printf(": %s\n", error_name(errno));
		return;
	}
	for (struct dirent *entry; (entry = readdir(dir)) && count < LEN(names);)
		names[count++] = strdup(entry->d_name);
	closedir(dir);
	qsort(names, count, sizeof *names, by_name);
	printf(": %d names:", count);
	for (int i = 0; i < count; i++) {
		putchar(' ');
		print_path(names[i]);
		free(names[i]);
	}
	putchar('\n');
}

// Waits for a child and prints how it ended.
static void show_end(const char *what, pid_t child)
{
	int status;
	fflush(stdout);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	if (WIFEXITED(status))
		printf("%s: exit %d\n", what, WEXITSTATUS(status));
	else
		printf("%s: signal %d\n", what, WTERMSIG(status));
}

static const char *const LOOKED_AT[] = {
	"dir", "dir/", "dir/.", "dir/..", ".", "..", "./", "dir/file", "dir/file/", "dir/file/.", "dir//file",
	"dir/./file", "dir/sub/../file", "dir/missing/../file", "dir/empty", "dir/sub/deep/leaf",
	"link", "link/", "dirlink", "dirlink/", "dirlink/.", "dirlink/file", "dirlink/../dir/file", "dir/back/dir/file",
	"chain", "abslink", "absdir/sub/deep/leaf", "loop", "loop/", "loop/x", "dangling", "dangling/", "dangling/x",
	"dangling2", "missing", "missing/", "missing/x", "dir/missing", "dir/missing/", "dir/file/x", "private",
	"noread", "closed", "closed/file", "closed/missing", "plain1", "plain2", "big", "", "many/n07", "many/n99",
	"dir/script.sh", "bin/child", "odd/\xff\xfe", "odd/a b\nc", "odd/missing\xff",
};
static const char *const OUTSIDE[] = { "/", "//", "/..", "/dev/null", "/dev/missing", "/proc/self", "/proc/missing", "/missing-root/x" };

#define PATHS_MAX 256
static char *PATHS[PATHS_MAX];
static int PATHS_COUNT;

static void add_path(const char *path)
{
	PATHS[PATHS_COUNT++] = (char *)path;
}

// Every path of LOOKED_AT as it stands and absolute, those outside of the fixture, and
// the ones that are too long or no pointer at all.
static void make_paths(void)
{
	char cwd[PATH_MAX];
	if (!getcwd(cwd, sizeof cwd))
		die("getcwd");
	for (int i = 0; i < LEN(LOOKED_AT); i++)
		add_path(LOOKED_AT[i]);
	for (int i = 0; i < LEN(LOOKED_AT); i++) {
		char *path;
		if (asprintf(&path, "%s/%s", cwd, LOOKED_AT[i]) < 0)
			die("asprintf");
		add_path(path);
	}
	for (int i = 0; i < LEN(OUTSIDE); i++)
		add_path(OUTSIDE[i]);
	char *name = malloc(257), *path = malloc(5001), *fits = malloc(4096);
	memset(name, 'n', 256), name[256] = 0;
	memset(path, '/', 5000), path[5000] = 0;
	memset(fits, '/', 4095), memcpy(fits + 4095 - 8, "dir/file", 8), fits[0] = '.', fits[4095] = 0;
	add_path(name), add_path(path), add_path(fits), add_path(BAD_POINTER), add_path(HIGH_POINTER);
}

// Whether a path leads to what the fixture made, so that all of its attributes are known.
static int in_fixture(const char *path)
{
	struct stat at, root;
	return !is_bad(path) && strncmp(path, "/dev", 4) && strncmp(path, "/proc", 5) && path[0] &&
	       strcmp(path, "..") && strcmp(path, "/") && strcmp(path, "//") && strcmp(path, "/..") &&
	       !(strlen(path) > 3 && !strcmp(path + strlen(path) - 3, "/..") && stat(path, &at) == 0 &&
	         stat("..", &root) == 0 && at.st_ino == root.st_ino);
}

// A system call that no hook sees, by its number: its result as the kernel gives it.
static long kernel(long number, long a, long b, long c, long d)
{
	long answer;
	register long fourth __asm__("r10") = d, fifth __asm__("r8") = 0, sixth __asm__("r9") = 0;
	__asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth) : "rcx", "r11", "memory");
	return answer;
}

#ifdef HITS_OFFSET
// Copies the slot's hit counters to where TERMITE_TEST_HITS says, and counts no hook by
// doing so.
__attribute__((destructor)) static void keep_hits(void)
{
	const char *to = getenv("TERMITE_TEST_HITS");
	if (!to)
		return;
	int from = kernel(SYS_openat, AT_FDCWD, (long)"/dev/.termite/shared", O_RDONLY | O_CLOEXEC, 0);
	if (from < 0)
		return;
	char *shared = mmap(NULL, SHARED_SIZE, PROT_READ, MAP_SHARED, from, 0);
	int out = kernel(SYS_openat, AT_FDCWD, (long)to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (shared != MAP_FAILED && out >= 0)
		kernel(SYS_write, out, (long)shared + HITS_OFFSET, HITS_SIZE, 0);
	kernel(SYS_close, from, 0, 0, 0);
	kernel(SYS_close, out, 0, 0, 0);
}
#endif
