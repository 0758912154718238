// Prints how paths look, one line for each: what they are, permissions, size, time, and
// what they hold. Changes nothing, and says the same of the same files wherever it runs.
//
// look TIMES PATH...              the whole list so many times, with a rest in between

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// Of the first line of a file, as much as is shown.
#define SHOWN 40

static uint64_t mix(uint64_t hash, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3;
	return hash;
}

static void attributes(const char *kind, const struct stat *s, int with_size)
{
	printf(" %s %o", kind, s->st_mode & 07777);
	if (with_size)
		printf(" %lld", (long long)s->st_size);
	printf(" %lld.%09ld", (long long)s->st_mtim.tv_sec, s->st_mtim.tv_nsec);
}

// The size that the descriptor tells, the bytes that were read, their hash (FNV-1a) and
// the beginning of the first line.
static void content(const char *path)
{
	static char bytes[1 << 16];
	char first[SHOWN + 1] = "";
	uint64_t hash = 0xcbf29ce484222325, all = 0;
	struct stat s;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &s) != 0) {
		printf(" errno %d", errno);
		return;
	}
	for (ssize_t got; (got = read(fd, bytes, sizeof bytes)) != 0; all += got) {
		if (got < 0) {
			printf(" errno %d", errno);
			break;
		}
		if (all == 0)
			memcpy(first, bytes, got < SHOWN ? got : SHOWN);
		hash = mix(hash, bytes, got);
	}
	close(fd);
	first[strcspn(first, "\n")] = '\0';
	attributes("open", &s, 1);
	printf(" %llu %016llx %s", (unsigned long long)all, (unsigned long long)hash, first);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names(const char *path)
{
	static char *found[1 << 16];
	size_t count = 0;
	DIR *dir = opendir(path);
	if (!dir) {
		printf(" errno %d", errno);
		return;
	}
	for (struct dirent *e; (e = readdir(dir)) && count < sizeof found / sizeof *found;)
		found[count++] = strdup(e->d_name);
	closedir(dir);
	qsort(found, count, sizeof *found, by_name);
	for (size_t i = 0; i < count; free(found[i++]))
		printf(" %s", found[i]);
}

static void look(const char *path)
{
	char target[4096];
	struct stat s;
	printf("%s", path);
	if (lstat(path, &s) != 0) {
		printf(" errno %d\n", errno);
		return;
	}
	if (S_ISLNK(s.st_mode)) {
		ssize_t length = readlink(path, target, sizeof target - 1);
		printf(" link %.*s", length < 0 ? 0 : (int)length, target);
		if (stat(path, &s) != 0)
			printf(" errno %d", errno);
	}
	if (S_ISREG(s.st_mode)) {
		attributes("file", &s, 1);
		content(path);
	} else if (S_ISDIR(s.st_mode)) {
		attributes("dir", &s, 0);
		names(path);
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	struct timespec rest = { .tv_nsec = 2000000 };
	for (int times = argc > 1 ? atoi(argv[1]) : 0; times > 0; times--) {
		for (int i = 2; i < argc; i++)
			look(argv[i]);
		if (times > 1)
			nanosleep(&rest, NULL);
	}
	return 0;
}
