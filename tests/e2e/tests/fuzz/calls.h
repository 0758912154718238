// One function for each file operation of the fuzz test: it makes the call and says what
// there is to say about the outcome. Knows nothing of the list and of who takes turns.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS 4
// Where the descriptors that operations open lie.
#define FIRST 100

// A call that the kernel interrupts is made again, as careful programs do.
#define CALL(expression) ({ long answer_; do { errno = 0; answer_ = (long)(expression); } while (answer_ == -1 && errno == EINTR); answer_; })

static const char *root, *list;
static char said[1 << 16];
static size_t length;

static void say(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int made = vsnprintf(said + length, sizeof said - length, format, args);
	va_end(args);
	length += made < 0 ? 0 : (size_t)made;
	if (length >= sizeof said)
		length = sizeof said - 1;
}

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	_exit(99);
}

// Where the text begins with the root directory, it is left out.
static const char *below(const char *text)
{
	size_t all = strlen(root);
	return strncmp(text, root, all) == 0 ? text + all : text;
}

struct place {
	int dir;
	const char *path;
	char text[PATH_MAX];
};

static struct place *at(struct place *place, const char *word)
{
	place->dir = AT_FDCWD;
	place->path = word;
	if (word[0] == '@') {
		snprintf(place->text, sizeof place->text, "%s%s", root, word + 1);
		place->path = place->text;
	} else if (word[0] >= '0' && word[0] < '0' + SLOTS && word[1] == ':') {
		place->dir = FIRST + word[0] - '0';
		place->path = word + 2;
	}
	return place;
}

static int slot(const char *word)
{
	return FIRST + atoi(word) % SLOTS;
}

static long keep(const char *word, long fd)
{
	int error = errno;
	if (fd >= 0 && (dup2(fd, slot(word)) < 0 || close(fd) != 0))
		die("dup2");
	errno = error;
	return fd < 0 ? fd : 0;
}

static void say_stat(const struct stat *st)
{
	static const char kinds[] = "?pc?d?b?-?l?s???";
	say(" %c%04o %u:%u", kinds[(st->st_mode & S_IFMT) >> 12], st->st_mode & 07777, st->st_uid, st->st_gid);
	// Link counts and sizes of directories are the file system's own business.
	if (!S_ISDIR(st->st_mode))
		say(" %lldb %lul", (long long)st->st_size, (unsigned long)st->st_nlink);
	if (st->st_mtim.tv_sec < 1500000000)
		say(" at %lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static void say_bytes(const char *bytes, ssize_t count)
{
	uint64_t hash = 14695981039346656037u;
	for (ssize_t i = 0; i < count; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 1099511628211u;
	if (count > 0)
		say(" %016llx", (unsigned long long)hash);
}

static char *pattern(int seed, size_t count)
{
	static char bytes[1 << 17];
	for (size_t i = 0; i < count; i++)
		bytes[i] = 'a' + (seed + i / 7) % 26;
	return bytes;
}

static int flags_of(const char *word)
{
	int flags = strchr(word, 'w') ? O_WRONLY : strchr(word, '+') ? O_RDWR : strchr(word, 'p') ? O_PATH : O_RDONLY;
	flags |= strchr(word, 'c') ? O_CREAT : 0;
	flags |= strchr(word, 'x') ? O_EXCL : 0;
	flags |= strchr(word, 't') ? O_TRUNC : 0;
	flags |= strchr(word, 'a') ? O_APPEND : 0;
	flags |= strchr(word, 'n') ? O_NOFOLLOW : 0;
	flags |= strchr(word, 'd') ? O_DIRECTORY : 0;
	return flags | O_NONBLOCK;
}

static long do_open(char **w)
{
	struct place p;
	int flags = flags_of(w[3]), mode = strtol(w[4], NULL, 8);
	at(&p, w[2]);
	long fd = p.dir == AT_FDCWD ? CALL(open(p.path, flags, mode)) : CALL(openat(p.dir, p.path, flags, mode));
	long answer = keep(w[1], fd);
	struct stat st;
	if (answer == 0 && fstat(slot(w[1]), &st) == 0)
		say_stat(&st);
	return answer;
}

static long do_close(char **w)
{
	return CALL(close(slot(w[1])));
}

static long do_read(char **w)
{
	static char bytes[1 << 17];
	long got = CALL(read(slot(w[1]), bytes, atoi(w[2]) % sizeof bytes));
	int error = errno;
	say_bytes(bytes, got);
	errno = error;
	return got;
}

static long do_pread(char **w)
{
	static char bytes[1 << 17];
	long got = CALL(pread(slot(w[1]), bytes, sizeof bytes, atoi(w[2])));
	int error = errno;
	say_bytes(bytes, got);
	errno = error;
	return got;
}

static long do_write(char **w)
{
	size_t count = atoi(w[2]);
	return CALL(write(slot(w[1]), pattern(count, count), count));
}

static long do_pwrite(char **w)
{
	size_t count = atoi(w[2]);
	return CALL(pwrite(slot(w[1]), pattern(count, count), count, atoi(w[3])));
}

static long do_lseek(char **w)
{
	static const int how[] = { SEEK_SET, SEEK_CUR, SEEK_END };
	return CALL(lseek(slot(w[1]), atoi(w[2]), how[atoi(w[3]) % 3]));
}

static long do_ftruncate(char **w)
{
	return CALL(ftruncate(slot(w[1]), atoi(w[2])));
}

static long do_fallocate(char **w)
{
	return CALL(fallocate(slot(w[1]), 0, atoi(w[2]), atoi(w[3])));
}

static long do_truncate(char **w)
{
	struct place p;
	return CALL(truncate(at(&p, w[1])->path, atoi(w[2])));
}

// Through a shared mapping, which no system call tells anybody about.
static long do_map(char **w)
{
	struct stat st;
	long page = sysconf(_SC_PAGESIZE);
	if (fstat(slot(w[1]), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		errno = ENODATA;
		return -1;
	}
	long offset = atoi(w[2]) % st.st_size, start = offset / page * page;
	char *map = (char *)CALL(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, slot(w[1]), start));
	if (map == MAP_FAILED)
		return -1;
	say(" was %02x", (unsigned char)map[offset - start]);
	map[offset - start] = w[3][0];
	return CALL(munmap(map, page));
}

static long do_stat(char **w)
{
	struct place p;
	struct stat st;
	at(&p, w[1]);
	long answer = p.dir == AT_FDCWD ? CALL(stat(p.path, &st)) : CALL(fstatat(p.dir, p.path, &st, 0));
	if (answer == 0)
		say_stat(&st);
	return answer;
}

static long do_lstat(char **w)
{
	struct place p;
	struct stat st;
	at(&p, w[1]);
	long answer = p.dir == AT_FDCWD ? CALL(lstat(p.path, &st)) : CALL(fstatat(p.dir, p.path, &st, AT_SYMLINK_NOFOLLOW));
	if (answer == 0)
		say_stat(&st);
	return answer;
}

static long do_fstat(char **w)
{
	struct stat st;
	long answer = CALL(fstat(slot(w[1]), &st));
	if (answer == 0)
		say_stat(&st);
	return answer;
}

static long do_access(char **w)
{
	struct place p;
	at(&p, w[1]);
	int mode = atoi(w[2]) & 7;
	return p.dir == AT_FDCWD ? CALL(access(p.path, mode)) : CALL(faccessat(p.dir, p.path, mode, 0));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

// The names in order, since each file system has an order of its own.
static long list_stream(DIR *dir)
{
	static const char kinds[] = "?pc?d?b?-?l?s???";
	char **names = NULL;
	int count = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		names = realloc(names, (count + 1) * sizeof *names);
		if (asprintf(&names[count++], "%s%c", entry->d_name, kinds[entry->d_type & 15]) < 0)
			die("asprintf");
	}
	closedir(dir);
	qsort(names, count, sizeof *names, by_name);
	for (int i = 0; i < count; i++) {
		if (i < 40)
			say(" %s", names[i]);
		free(names[i]);
	}
	free(names);
	return count;
}

static long do_list(char **w)
{
	struct place p;
	at(&p, w[1]);
	DIR *dir = NULL;
	if (p.dir == AT_FDCWD) {
		while (!(dir = opendir(p.path)) && errno == EINTR)
			;
	} else {
		long fd = CALL(openat(p.dir, p.path, O_RDONLY | O_DIRECTORY));
		dir = fd < 0 ? NULL : fdopendir(fd);
	}
	return dir ? list_stream(dir) : -1;
}

static long do_readlink(char **w)
{
	struct place p;
	char text[PATH_MAX + 1];
	at(&p, w[1]);
	long got = p.dir == AT_FDCWD ? CALL(readlink(p.path, text, PATH_MAX)) : CALL(readlinkat(p.dir, p.path, text, PATH_MAX));
	if (got >= 0) {
		text[got] = 0;
		say(" %s", below(text));
		return 0;
	}
	return got;
}

static long do_realpath(char **w)
{
	struct place p;
	char text[PATH_MAX];
	char *found;
	while (!(found = realpath(at(&p, w[1])->path, text)) && errno == EINTR)
		;
	if (found)
		say(" %s", below(found));
	return found ? 0 : -1;
}

static long do_rename(char **w)
{
	struct place p, q;
	at(&p, w[1]), at(&q, w[2]);
	int plain = p.dir == AT_FDCWD && q.dir == AT_FDCWD;
	return plain ? CALL(rename(p.path, q.path)) : CALL(renameat(p.dir, p.path, q.dir, q.path));
}

static long do_exchange(char **w)
{
	struct place p, q;
	at(&p, w[1]), at(&q, w[2]);
	return CALL(renameat2(p.dir, p.path, q.dir, q.path, RENAME_EXCHANGE));
}

static long do_noreplace(char **w)
{
	struct place p, q;
	at(&p, w[1]), at(&q, w[2]);
	return CALL(renameat2(p.dir, p.path, q.dir, q.path, RENAME_NOREPLACE));
}

static long do_link(char **w)
{
	struct place p, q;
	at(&p, w[1]), at(&q, w[2]);
	int plain = p.dir == AT_FDCWD && q.dir == AT_FDCWD;
	return plain ? CALL(link(p.path, q.path)) : CALL(linkat(p.dir, p.path, q.dir, q.path, 0));
}

static long do_linkfollow(char **w)
{
	struct place p, q;
	at(&p, w[1]), at(&q, w[2]);
	return CALL(linkat(p.dir, p.path, q.dir, q.path, AT_SYMLINK_FOLLOW));
}

static long do_linkopen(char **w)
{
	struct place q;
	char text[40];
	snprintf(text, sizeof text, "/proc/self/fd/%d", slot(w[1]));
	at(&q, w[2]);
	return CALL(linkat(AT_FDCWD, text, q.dir, q.path, AT_SYMLINK_FOLLOW));
}

static long do_tmpfile(char **w)
{
	struct place p;
	at(&p, w[2]);
	return keep(w[1], CALL(openat(p.dir, p.path, O_TMPFILE | O_RDWR, strtol(w[3], NULL, 8))));
}

static long do_symlink(char **w)
{
	struct place p, q;
	at(&p, w[1]), at(&q, w[2]);
	return q.dir == AT_FDCWD ? CALL(symlink(p.path, q.path)) : CALL(symlinkat(p.path, q.dir, q.path));
}

static long do_unlink(char **w)
{
	struct place p;
	at(&p, w[1]);
	return p.dir == AT_FDCWD ? CALL(unlink(p.path)) : CALL(unlinkat(p.dir, p.path, 0));
}

static long do_rmdir(char **w)
{
	struct place p;
	at(&p, w[1]);
	return p.dir == AT_FDCWD ? CALL(rmdir(p.path)) : CALL(unlinkat(p.dir, p.path, AT_REMOVEDIR));
}

static long do_mkdir(char **w)
{
	struct place p;
	int mode = strtol(w[2], NULL, 8);
	at(&p, w[1]);
	return p.dir == AT_FDCWD ? CALL(mkdir(p.path, mode)) : CALL(mkdirat(p.dir, p.path, mode));
}

static long do_chmod(char **w)
{
	struct place p;
	int mode = strtol(w[2], NULL, 8);
	at(&p, w[1]);
	return p.dir == AT_FDCWD ? CALL(chmod(p.path, mode)) : CALL(fchmodat(p.dir, p.path, mode, 0));
}

static long do_fchmod(char **w)
{
	return CALL(fchmod(slot(w[1]), strtol(w[2], NULL, 8)));
}

static long do_chown(char **w)
{
	struct place p;
	at(&p, w[1]);
	return CALL(fchownat(p.dir, p.path, atoi(w[2]), atoi(w[3]), AT_SYMLINK_NOFOLLOW));
}

static struct timespec *times_of(const char *word, struct timespec times[2])
{
	times[0].tv_sec = 1200000000;
	times[0].tv_nsec = 5;
	times[1].tv_sec = 1200000000 + atoi(word);
	times[1].tv_nsec = strchr(word, 'n') ? UTIME_NOW : strchr(word, 'o') ? UTIME_OMIT : 7 * atoi(word);
	return times;
}

static long do_utimens(char **w)
{
	struct place p;
	struct timespec times[2];
	at(&p, w[1]);
	return CALL(utimensat(p.dir, p.path, times_of(w[2], times), strchr(w[2], 'l') ? AT_SYMLINK_NOFOLLOW : 0));
}

static long do_futimens(char **w)
{
	struct timespec times[2];
	return CALL(futimens(slot(w[1]), times_of(w[2], times)));
}

static long do_copy(char **w)
{
	struct place p, q;
	char bytes[5000];
	at(&p, w[1]), at(&q, w[2]);
	long from = CALL(openat(p.dir, p.path, O_RDONLY | O_NONBLOCK));
	if (from < 0)
		return say(" from"), -1;
	long to = CALL(openat(q.dir, q.path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, 0666)), got = to;
	int error = errno;
	while (to >= 0 && (got = CALL(read(from, bytes, sizeof bytes))) > 0)
		if (CALL(write(to, bytes, got)) != got)
			die("write");
	error = to >= 0 ? errno : error;
	close(from);
	if (to >= 0)
		close(to);
	errno = error;
	return got;
}

static long do_range(char **w)
{
	return CALL(copy_file_range(slot(w[1]), NULL, slot(w[2]), NULL, atoi(w[3]), 0));
}

static long do_sendfile(char **w)
{
	off_t offset = 0;
	return CALL(sendfile(slot(w[2]), slot(w[1]), &offset, atoi(w[3])));
}

// The whole of a file by a stream, as most programs read.
static long do_stream(char **w)
{
	struct place p;
	static char bytes[1 << 17];
	FILE *file;
	while (!(file = fopen(at(&p, w[1])->path, "re")) && errno == EINTR)
		;
	if (!file)
		return -1;
	errno = 0;
	long got = fread(bytes, 1, sizeof bytes, file);
	int error = ferror(file) ? errno : 0;
	fclose(file);
	say_bytes(bytes, got);
	errno = error;
	return error ? -1 : got;
}

static void say_cwd(void)
{
	char text[PATH_MAX];
	if (!getcwd(text, sizeof text))
		say(" cwd errno %s", strerrorname_np(errno));
	else
		say(" %s", below(text));
}

// Never above the directory that holds the root, where other cases have theirs.
static long stay(long answer)
{
	int error = errno;
	char text[PATH_MAX], top[PATH_MAX];
	snprintf(top, sizeof top, "%s", root);
	*strrchr(top, '/') = 0;
	if (getcwd(text, sizeof text) && strncmp(text, top, strlen(top)) != 0 && chdir(root) != 0)
		say(" stays above");
	say_cwd();
	errno = error;
	return answer;
}

static long do_chdir(char **w)
{
	struct place p;
	return stay(CALL(chdir(at(&p, w[1])->path)));
}

static long do_fchdir(char **w)
{
	return stay(CALL(fchdir(slot(w[1]))));
}

static long do_umask(char **w)
{
	return umask(strtol(w[1], NULL, 8));
}
