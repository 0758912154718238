// Carries out a list of file operations in a directory, each of them one system call where
// it can be, and prints what each one answered: no inode numbers, no present time.
//
// calls DIRECTORY LIST            one operation a line: MILLISECONDS NAME ARGUMENT ...
//
// It sleeps for that long before the operation; the one called `rest` does nothing more.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SLOTS 2
#define WORDS 8
#define LIST 8192
// Times before this were set, and not by the clock.
#define SET_TIME 1500000000

// A call that the kernel interrupts is made again, as careful programs do.
#define CALL(expression) ({ long answer_; do { errno = 0; answer_ = (long)(expression); } while (answer_ == -1 && errno == EINTR); answer_; })

static int slots[SLOTS] = { -1, -1 };
// What an operation says besides its answer.
static char said[4096];

static int *slot(const char *word)
{
	return &slots[atoi(word) % SLOTS];
}

static long shut(const char *word)
{
	long answer = CALL(close(*slot(word)));
	*slot(word) = -1;
	return answer;
}

static int flags_of(const char *word)
{
	int flags = strchr(word, 'w') ? O_WRONLY : strchr(word, '+') ? O_RDWR : O_RDONLY;
	flags |= strchr(word, 'c') ? O_CREAT : 0;
	flags |= strchr(word, 'x') ? O_EXCL : 0;
	flags |= strchr(word, 't') ? O_TRUNC : 0;
	flags |= strchr(word, 'a') ? O_APPEND : 0;
	return flags;
}

static long do_open(char **w)
{
	if (*slot(w[1]) >= 0)
		shut(w[1]);
	*slot(w[1]) = CALL(open(w[2], flags_of(w[3]), (int)strtol(w[4], NULL, 8)));
	return *slot(w[1]) < 0 ? -1 : 0;
}

static long do_close(char **w) { return shut(w[1]); }

static long say_bytes(const char *bytes, long count)
{
	for (long i = 0; i < count; i++)
		said[i] = bytes[i] ? bytes[i] : '.';
	return count;
}

static long do_read(char **w)
{
	char bytes[64];
	return say_bytes(bytes, CALL(read(*slot(w[1]), bytes, atoi(w[2]))));
}

static long do_pread(char **w)
{
	char bytes[64];
	return say_bytes(bytes, CALL(pread(*slot(w[1]), bytes, atoi(w[2]), atoi(w[3]))));
}

static long do_write(char **w) { return CALL(write(*slot(w[1]), w[2], strlen(w[2]))); }
static long do_pwrite(char **w) { return CALL(pwrite(*slot(w[1]), w[2], strlen(w[2]), atoi(w[3]))); }
static long do_ftruncate(char **w) { return CALL(ftruncate(*slot(w[1]), atoi(w[2]))); }

static long say_stat(long answer, const struct stat *st, int with_names)
{
	if (answer != 0)
		return answer;
	int length = 0;
	if (S_ISLNK(st->st_mode))
		length += sprintf(said, "link");
	else
		length += sprintf(said, "%s %04o", S_ISDIR(st->st_mode) ? "dir" : "file", st->st_mode & 07777);
	// Link counts, sizes and times of directories are the file system's own business.
	if (S_ISREG(st->st_mode)) {
		length += sprintf(said + length, " %lldb", (long long)st->st_size);
		if (st->st_mtim.tv_sec < SET_TIME)
			length += sprintf(said + length, " at %lld", (long long)st->st_mtim.tv_sec);
	}
	if (with_names && !S_ISDIR(st->st_mode))
		sprintf(said + length, " %lun", (unsigned long)st->st_nlink);
	return 0;
}

static long do_stat(char **w)
{
	struct stat st;
	return say_stat(CALL(stat(w[1], &st)), &st, 1);
}

static long do_lstat(char **w)
{
	struct stat st;
	return say_stat(CALL(lstat(w[1], &st)), &st, 1);
}

static long do_fstat(char **w)
{
	struct stat st;
	return say_stat(CALL(fstat(*slot(w[1]), &st)), &st, 0);
}

static long do_flock(char **w)
{
	int how = *w[2] == 'x' ? LOCK_EX : *w[2] == 's' ? LOCK_SH : LOCK_UN;
	return CALL(flock(*slot(w[1]), how));
}

static long do_record(char **w)
{
	struct flock whole = { .l_type = *w[2] == 'w' ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET };
	return CALL(fcntl(*slot(w[1]), F_SETLKW, &whole));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

// A commit's name, which a command on the client may see beside its target (docs/commit.md, "What it
// does not promise"). That views hide it is tested in client/src/tree.
static int is_passing(const char *name)
{
	return strncmp(name, ".termite-commit-", 16) == 0;
}

static long do_list(char **w)
{
	char *names[64];
	int count = 0, length = 0;
	DIR *dir = (DIR *)CALL(open(w[1], O_RDONLY | O_DIRECTORY));
	if ((long)dir < 0)
		return -1;
	dir = fdopendir((int)(long)dir);
	if (!dir)
		return -1;
	for (struct dirent *entry; count < 64 && (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && !is_passing(entry->d_name))
			names[count++] = strdup(entry->d_name);
	closedir(dir);
	qsort(names, count, sizeof *names, by_name);
	for (int i = 0; i < count; i++)
		length += sprintf(said + length, "%s%s", i ? " " : "", names[i]);
	return count;
}

static long do_readlink(char **w)
{
	return CALL(readlink(w[1], said, sizeof said - 1)) < 0 ? -1 : 0;
}

static long do_rename(char **w) { return CALL(rename(w[1], w[2])); }
static long do_exchange(char **w) { return CALL(renameat2(AT_FDCWD, w[1], AT_FDCWD, w[2], RENAME_EXCHANGE)); }
static long do_noreplace(char **w) { return CALL(renameat2(AT_FDCWD, w[1], AT_FDCWD, w[2], RENAME_NOREPLACE)); }
static long do_link(char **w) { return CALL(link(w[1], w[2])); }
static long do_symlink(char **w) { return CALL(symlink(w[1], w[2])); }
static long do_unlink(char **w) { return CALL(unlink(w[1])); }
static long do_rmdir(char **w) { return CALL(rmdir(w[1])); }
static long do_mkdir(char **w) { return CALL(mkdir(w[1], strtol(w[2], NULL, 8))); }
static long do_chmod(char **w) { return CALL(chmod(w[1], strtol(w[2], NULL, 8))); }
static long do_truncate(char **w) { return CALL(truncate(w[1], atoi(w[2]))); }
static long do_setxattr(char **w) { return CALL(setxattr(w[1], "user.k", w[2], strlen(w[2]), 0)); }

static long do_utimens(char **w)
{
	struct timespec times[2] = { { .tv_sec = atoi(w[2]) }, { .tv_sec = atoi(w[2]) } };
	return CALL(utimensat(AT_FDCWD, w[1], times, 0));
}

static const struct operation {
	const char *name;
	long (*run)(char **words);
} OPERATIONS[] = {
	{ "open", do_open }, { "close", do_close }, { "read", do_read }, { "pread", do_pread }, { "write", do_write },
	{ "pwrite", do_pwrite }, { "ftruncate", do_ftruncate }, { "stat", do_stat }, { "lstat", do_lstat },
	{ "fstat", do_fstat }, { "flock", do_flock }, { "record", do_record }, { "list", do_list },
	{ "readlink", do_readlink }, { "rename", do_rename }, { "exchange", do_exchange }, { "noreplace", do_noreplace },
	{ "link", do_link }, { "symlink", do_symlink }, { "unlink", do_unlink }, { "rmdir", do_rmdir },
	{ "mkdir", do_mkdir }, { "chmod", do_chmod }, { "truncate", do_truncate }, { "setxattr", do_setxattr },
	{ "utimens", do_utimens },
};

static void run(char *line)
{
	char *words[WORDS];
	int count = 0;
	for (char *word = strtok(line, " "); word && count < WORDS - 1; word = strtok(NULL, " "))
		words[count++] = word;
	for (int i = count; i < WORDS; i++)
		words[i] = "";
	usleep(1000 * atoi(words[0]));
	if (strcmp(words[1], "rest") == 0)
		return;
	for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++) {
		if (strcmp(words[1], OPERATIONS[i].name) != 0)
			continue;
		memset(said, 0, sizeof said);
		long answer = OPERATIONS[i].run(words + 1);
		if (answer == -1)
			printf("%s\n", strerrorname_np(errno));
		else
			printf("%ld%s%s\n", answer, *said ? " " : "", said);
		return;
	}
	printf("no such operation\n");
}

int main(int argc, char **argv)
{
	static char list[LIST];
	int fd = argc == 3 ? open(argv[2], O_RDONLY) : -1;
	long length = fd < 0 ? -1 : read(fd, list, sizeof list - 1);
	if (length < 0 || close(fd) != 0 || chdir(argv[1]) != 0) {
		perror("calls");
		return 2;
	}
	umask(022);
	// A lock that is never released must not stop the test.
	alarm(40);
	for (char *line = list, *next; *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = 0;
		run(line);
	}
	return 0;
}
