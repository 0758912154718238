// Temporary files and directories: names of the right form, fresh each time, with the right modes.
// hooks: mkstemp mkstemp64 mkostemp mkostemp64 mkstemps mkstemps64 mkostemps mkostemps64 mkdtemp tmpfile tmpfile64
#include "common.h"
#include <ctype.h>

static int NUMBER;

// Shows what was made and gives it a name that is always the same.
static void made(const char *what, char *name, const char *prefix, size_t suffix, int fd, int error)
{
	char fixed[64];
	printf("%s: ", what);
	if (fd < 0) {
		// What is left in the template after a failure is random too, but not its length.
		printf("%s, %zu bytes, template as it was %d\n", error_name(error), strlen(name), strstr(name, "XXXXXX") != NULL);
		return;
	}
	size_t from = strlen(prefix);
	int random = strncmp(name, prefix, from) == 0 && strlen(name) == from + 6 + suffix;
	for (size_t i = from; random && i < from + 6; i++)
		random = isalnum((unsigned char)name[i]);
	printf("%s, suffix %s, ", random ? "random name" : name, name + strlen(name) - suffix);
	if (write(fd, what, strlen(what)) < 0)
		die("write");
	print_content(fd);
	struct stat st;
	fstat(fd, &st), print_stat(&st);
	close(fd);
	snprintf(fixed, sizeof fixed, "temp/%02d", NUMBER++);
	if (rename(name, fixed) != 0)
		die("rename");
}

#define MAKE(call, template, prefix, suffix) do { \
	char name[512] = template; \
	int fd = CALL(call), error = errno; \
	made(#call, name, prefix, suffix, fd, error); \
} while (0)

int main(void)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	umask(022);
	R(mkdir("temp", 0755));
	MAKE(mkstemp(name), "temp/aXXXXXX", "temp/a", 0);
	MAKE(mkstemp64(name), "temp/XXXXXX", "temp/", 0);
	MAKE(mkostemp(name, O_APPEND), "temp/oXXXXXX", "temp/o", 0);
	MAKE(mkostemp64(name, O_CLOEXEC), "dirlink/oXXXXXX", "dirlink/o", 0);
	MAKE(mkstemps(name, 2), "temp/ccXXXXXX.s", "temp/cc", 2);
	MAKE(mkstemps64(name, 4), "temp/ccXXXXXX.res", "temp/cc", 4);
	MAKE(mkostemps(name, 2, O_CLOEXEC), "dir/sub/XXXXXX.o", "dir/sub/", 2);
	MAKE(mkostemps64(name, 1, O_APPEND), "temp/XXXXXXx", "temp/", 1);
	MAKE(mkstemp(name), "temp/short-XXXXX", "temp/", 0);
	MAKE(mkstemp(name), "missing/XXXXXX", "missing/", 0);
	MAKE(mkstemp64(name), "dir/file/XXXXXX", "dir/file/", 0);
	MAKE(mkstemp(name), "", "", 0);
	MAKE(mkostemps(name, 300, 0), "temp/XXXXXX.c", "temp/", 2);
	MAKE(mkostemp(name, O_CLOEXEC), "loop/XXXXXX", "loop/", 0);
	MAKE(open(mktemp(name), O_RDWR | O_CREAT | O_EXCL, 0600), "temp/mXXXXXX", "temp/m", 0);
	char dir[] = "temp/dXXXXXX", nowhere[] = "missing/dXXXXXX", wrong[] = "temp/d";
	P(mkdtemp(dir)); R(rename(dir, "temp/dir")); show_path("temp/dir");
	P(mkdtemp(nowhere)); P(mkdtemp(wrong));
	// Two hundred at once are all different.
	for (int i = 0; i < 200; i++) {
		char name[] = "many/tXXXXXX";
		int fd = mkstemp(name);
		if (fd < 0)
			die("mkstemp");
		close(fd);
	}
	DIR *many = opendir("many");
	int count = 0;
	for (struct dirent *entry; (entry = readdir(many));) {
		char path[300];
		snprintf(path, sizeof path, "many/%s", entry->d_name);
		count += entry->d_name[0] == 't' && unlink(path) == 0;
	}
	closedir(many);
	printf("%d different names\n", count);
	FILE *file = tmpfile(), *file64 = tmpfile64();
	if (!file || !file64)
		die("tmpfile");
	fputs("nameless", file), fputs("nameless too", file64);
	fflush(file), fflush(file64);
	struct stat st;
	fstat(fileno(file), &st), print_stat(&st);
	fstat(fileno(file64), &st), print_stat(&st);
	fclose(file), fclose(file64);
	setenv("TMPDIR", "temp", 1);
	char *name = tempnam("dir", "pre"), buffer[L_tmpnam];
	printf("tempnam %.5s\n", name);
	FD(open(name, O_RDWR | O_CREAT | O_EXCL, 0600)); R(unlink(name));
	printf("tmpnam %.5s %.5s\n", tmpnam(buffer), tmpnam_r(buffer));
	return 0;
}
