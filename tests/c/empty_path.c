// AT_EMPTY_PATH on paths that are not empty, in directories that nobody has looked into,
// with the path where libraries lie, so that the call looks like libc's own fstat.
// fresh: 8
// hooks: fstatat fstatat64 __fxstatat syscall fstat
#include "common.h"
#include <sys/mman.h>
#include <sys/syscall.h>

extern int __fxstatat(int, int, const char *, struct stat *, int);

static char *path;
static struct stat st;

static const char *spell(const char *text)
{
	memset(&st, 0, sizeof st);
	return strcpy(path, text);
}

static void show(const char *what, long answer)
{
	int error = errno;
	printf("%s of ", what), print_path(path);
	printf(" = %ld %s size %ld\n", answer, answer ? error_name(error) : "", S_ISDIR(st.st_mode) ? -1 : (long)st.st_size);
}

int main(void)
{
	path = mmap(NULL, PATH_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (path == MAP_FAILED)
		die("mmap");
	show("fstatat", CALL(fstatat(AT_FDCWD, spell("fresh/0/file"), &st, AT_EMPTY_PATH)));
	show("fstatat64", CALL(fstatat64(AT_FDCWD, spell("fresh/1/file"), (struct stat64 *)&st, AT_EMPTY_PATH)));
	show("__fxstatat", CALL(__fxstatat(1, AT_FDCWD, spell("fresh/2/file"), &st, AT_EMPTY_PATH)));
	show("syscall", CALL(syscall(SYS_newfstatat, AT_FDCWD, spell("fresh/3/file"), &st, AT_EMPTY_PATH)));
	show("syscall", CALL(syscall(SYS_newfstatat, AT_FDCWD, spell("fresh/3/none"), &st, AT_EMPTY_PATH)));
	int dir = CALL(open("fresh/4", O_PATH | O_DIRECTORY));
	show("fstatat", CALL(fstatat(dir, spell("file"), &st, AT_EMPTY_PATH)));
	show("syscall", CALL(syscall(SYS_newfstatat, dir, spell("../5/file"), &st, AT_EMPTY_PATH)));
	show("fstatat", CALL(fstatat(AT_FDCWD, spell("fresh/6/file"), &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)));
	show("fstatat", CALL(fstatat(AT_FDCWD, spell("fresh/7"), &st, AT_EMPTY_PATH | AT_NO_AUTOMOUNT)));
	close(dir);

	int file = CALL(open("plain1", O_RDONLY));
	show("fstatat", CALL(fstatat(file, spell(""), &st, AT_EMPTY_PATH)));
	show("syscall", CALL(syscall(SYS_newfstatat, file, spell(""), &st, AT_EMPTY_PATH)));
	show("fstatat", CALL(fstatat(file, spell(""), &st, 0)));
	show("fstat", CALL(fstat(file, &st)));
	show("fstatat", CALL(fstatat(-1, spell(""), &st, AT_EMPTY_PATH)));
	show("syscall", CALL(syscall(SYS_newfstatat, AT_FDCWD, path, NULL, AT_EMPTY_PATH)));
	close(file);
	return 0;
}
