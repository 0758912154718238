// A directory with thousands of the client's files, and one with as many of the job's own.
// listed: 10000
// listed-long: 100000
// hooks: open stat opendir unlink rename
#include "common.h"

#ifdef LONG_FORM
enum { COUNT = 100000 };
#else
enum { COUNT = 10000 };
#endif

static int names_in(const char *path)
{
	int count = 0;
	DIR *dir = opendir(path);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

int main(void)
{
	struct stat st;
	char path[64], to[64];
	int found = 0, missing = 0, bad = 0;
	// One name and no other, before anybody listed them.
	show_path("listed/name-77"), show_path("listed/name"), show_path("listed/name-x");
	for (int i = 0; i < COUNT + 1000; i += 7) {
		snprintf(path, sizeof path, "listed/name-%d", i);
		if (stat(path, &st) == 0) found++; else missing += errno == ENOENT;
	}
	printf("found %d missing %d\n", found, missing);
	printf("listed %d\n", names_in("listed"));
	R(mkdir("own", 0755));
	for (int i = 0; i < COUNT; i++) {
		snprintf(path, sizeof path, "own/%d", i);
		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		bad += fd < 0 || write(fd, path, strlen(path)) < 0;
		close(fd);
	}
	printf("own %d bad %d\n", names_in("own"), bad);
	for (int i = 0; i < COUNT; i++) {
		snprintf(path, sizeof path, "own/%d", i), snprintf(to, sizeof to, "own/renamed-%d", i);
		// A tenth stays, half of that under another name.
		bad += i % 10 == 0 ? 0 : i % 20 == 1 ? rename(path, to) != 0 : unlink(path) != 0;
	}
	printf("own %d bad %d\n", names_in("own"), bad);
	for (int i = 0; i < COUNT; i += 100) {
		snprintf(path, sizeof path, "listed/name-%d", i);
		bad += unlink(path) != 0;
	}
	printf("listed %d bad %d\n", names_in("listed"), bad);
	show_file("own/10"), show_file("own/renamed-1"), show_path("own/2"), show_path("listed/name-100"), show_path("listed/name-101");
	return 0;
}
