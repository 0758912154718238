// 32-bit system calls from a 64-bit program: another table of numbers, the same view.
// fresh: 2
// hooks:
#include "common.h"

// Their pointers have 32 bits, so everything they name lies in the low 2 GiB.
static char *LOW;

static long int80(long number, long a, long b, long c, long d)
{
	long answer;
	__asm__ volatile("int $0x80" : "=a"(answer) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory", "r8", "r9", "r10", "r11");
	return (int)answer;
}

static long with_path(long number, const char *path, long b, long c)
{
	strcpy(LOW, path);
	return int80(number, (long)LOW, b, c, 0);
}

static long at(long number, const char *path, long c, long d)
{
	strcpy(LOW, path);
	return int80(number, AT_FDCWD, (long)LOW, c, d);
}

static void answer(const char *what, const char *path, long answer)
{
	printf("%s ", what), print_path(path);
	if (answer < 0)
		printf(" = %s\n", error_name(-answer));
	else
		printf(" = %ld\n", answer);
}

enum { OPEN = 5, UNLINK = 10, EXECVE = 11, CHDIR = 12, CHMOD = 15, ACCESS = 33, RENAME = 38, MKDIR = 39, RMDIR = 40, SYMLINK = 83,
       READLINK = 85, TRUNCATE = 92, STAT = 106, LSTAT = 107, STAT64 = 195, LSTAT64 = 196, OPENAT = 295, FSTATAT64 = 300, STATX = 383 };

int main(void)
{
	LOW = mmap(NULL, 3 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (LOW == MAP_FAILED)
		die("mmap");
	char *buffer = LOW + (1 << 16), *other = LOW + (2 << 16);
	const char *paths[] = { "dir/file", "fresh/0/file", "fresh/1/missing", "missing", "link", "dirlink/sub/deep/leaf", "loop", "dangling", "dir/file/x", "closed/file", "", "dir/", "trees/one/a/b/leaf" };
	for (int i = 0; i < LEN(paths); i++) {
		const char *path = paths[i];
		long fd = with_path(OPEN, path, O_RDONLY, 0);
		answer("open", path, fd < 0 ? fd : 0);
		if (fd >= 0)
			print_content(fd), close(fd);
		fd = at(OPENAT, path, O_RDONLY | 0200000 /* O_DIRECTORY */, 0);
		answer("openat directory", path, fd < 0 ? fd : 0);
		close(fd);
		answer("stat", path, with_path(STAT, path, (long)buffer, 0));
		answer("lstat", path, with_path(LSTAT, path, (long)buffer, 0));
		answer("stat64", path, with_path(STAT64, path, (long)buffer, 0));
		answer("lstat64", path, with_path(LSTAT64, path, (long)buffer, 0));
		answer("fstatat64", path, at(FSTATAT64, path, (long)buffer, 0));
		answer("access", path, with_path(ACCESS, path, R_OK, 0));
		memset(buffer, 0, 4096);
		answer("readlink", path, with_path(READLINK, path, (long)buffer, 4096));
		if (buffer[0])
			print_path(buffer), putchar('\n');
	}
	answer("bad pointer", "", int80(OPEN, 1, O_RDONLY, 0, 0));
	long fd = with_path(OPEN, "made", O_WRONLY | O_CREAT | O_EXCL, 0640);
	if (fd < 0 || write(fd, "made by int 0x80\n", 17) != 17)
		die("made");
	close(fd);
	answer("mkdir", "m", with_path(MKDIR, "m", 0755, 0));
	strcpy(other, "m/moved");
	answer("rename", "many/n01", with_path(RENAME, "many/n01", (long)other, 0));
	answer("symlink", "moved", with_path(SYMLINK, "moved", (long)strcpy(other, "m/link"), 0));
	answer("chmod", "many/n02", with_path(CHMOD, "many/n02", 0600, 0));
	answer("truncate", "many/n03", with_path(TRUNCATE, "many/n03", 3, 0));
	answer("unlink", "many/n04", with_path(UNLINK, "many/n04", 0, 0));
	answer("rmdir", "trees/empty", with_path(RMDIR, "trees/empty", 0, 0));
	answer("chdir", "dir/sub", with_path(CHDIR, "dir/sub", 0, 0));
	show_file("deep/leaf"), show_file("../../m/link"), show_file("../../many/n03"), show_file("../../made");
	show_path("../../many/n02"), show_path("../../many/n04"), show_path("../../trees/empty");
	fflush(stdout);
	return 0;
}
