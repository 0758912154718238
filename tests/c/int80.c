// 32-bit system calls from a 64-bit program: another table of numbers, the same view.
// fresh: 8
// hooks:
#include "common.h"
#include <sys/socket.h>
#include <sys/un.h>

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

// Datagrams to a socket's path, each through another directory that is not known yet. The
// structures are those of 32-bit programs.
static void datagrams(uint32_t *low)
{
	enum { SOCKETCALL = 102, SENDMMSG = 345, SENDMSG = 370, BY_SENDTO = 11, BY_SENDMSG = 16, BY_SENDMMSG = 20 };
	uint32_t *args = low, *piece = low + 16, *messages = low + 32;
	struct sockaddr_un *at = (void *)(low + 64);
	int own = socket(AF_UNIX, SOCK_DGRAM, 0), fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	at[0] = (struct sockaddr_un){ AF_UNIX, "own-socket" };
	R(bind(own, (void *)at, sizeof *at));
	piece[0] = (long)strcpy((char *)(low + 512), "word"), piece[1] = 4;
	for (int i = 0; i < 6; i++) {
		at[i].sun_family = AF_UNIX;
		sprintf(at[i].sun_path, "fresh/%d/../../own-socket", i + 2);
	}
	// msg_name, msg_namelen, msg_iov, msg_iovlen, and of an mmsghdr four words more.
	for (int i = 0; i < 2; i++)
		messages[8 * i] = (long)&at[i], messages[8 * i + 1] = sizeof *at, messages[8 * i + 2] = (long)piece, messages[8 * i + 3] = 1;
	answer("sendmmsg", "", int80(SENDMMSG, fd, (long)messages, 2, 0));
	messages[0] = (long)&at[2];
	answer("sendmsg", "", int80(SENDMSG, fd, (long)messages, 0, 0));
	args[0] = fd, args[1] = (long)messages, args[2] = 0, messages[0] = (long)&at[3];
	answer("socketcall sendmsg", "", int80(SOCKETCALL, BY_SENDMSG, (long)args, 0, 0));
	args[2] = 1, args[3] = 0, messages[0] = (long)&at[4];
	answer("socketcall sendmmsg", "", int80(SOCKETCALL, BY_SENDMMSG, (long)args, 0, 0));
	args[1] = piece[0], args[2] = 4, args[3] = 0, args[4] = (long)&at[5], args[5] = sizeof *at;
	answer("socketcall sendto", "", int80(SOCKETCALL, BY_SENDTO, (long)args, 0, 0));
	char text[8] = "";
	for (int i = 0; i < 7; i++)
		R(recv(own, text, sizeof text, MSG_DONTWAIT)), puts(text);
	for (int i = 2; i < 8; i++)
		sprintf((char *)at, "fresh/%d/file", i), show_file((char *)at);
	R(unlink("own-socket"));
	close(own), close(fd);
}

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
	datagrams((uint32_t *)buffer);
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
