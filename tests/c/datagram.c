// Datagrams to the paths of unix sockets, through directories that nobody looked into
// before, and what stands there afterwards: sending looks a path up as connecting does.
// fresh: 8
// hooks:
#include "common.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un AT = { .sun_family = AF_UNIX };
static struct iovec WORD = { "word", 5 };

static struct msghdr to(struct sockaddr_un *at, const char *path)
{
	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strcpy(at->sun_path, path);
	return (struct msghdr){ .msg_name = at, .msg_namelen = sizeof *at, .msg_iov = &WORD, .msg_iovlen = 1 };
}

static void received(int fd)
{
	char text[16] = "";
	R(recv(fd, text, sizeof text, MSG_DONTWAIT)), puts(text);
}

int main(void)
{
	struct sockaddr_un other[3];
	int own = socket(AF_UNIX, SOCK_DGRAM, 0), fd = socket(AF_UNIX, SOCK_DGRAM, 0), ends[2];
	struct msghdr message = to(&AT, "own-socket");
	R(bind(own, (void *)&AT, sizeof AT));
	// Each way leads through a directory that is not known yet.
	message = to(&AT, "fresh/0/../../own-socket");
	R(sendto(fd, "sent", 5, 0, (void *)&AT, sizeof AT)), received(own); FD(open("fresh/0/file", O_RDONLY));
	message = to(&AT, "fresh/1/../../own-socket");
	R(sendmsg(fd, &message, 0)), received(own); FD(open("fresh/1/file", O_RDONLY));
	struct mmsghdr messages[3] = { { to(&other[0], "fresh/2/../../own-socket") }, { to(&other[1], "fresh/3/../../own-socket") }, { to(&other[2], "fresh/4/../../own-socket") } };
	R(sendmmsg(fd, messages, 3, 0)), received(own), received(own), received(own);
	FD(open("fresh/2/file", O_RDONLY)); FD(open("fresh/3/file", O_RDONLY)); FD(open("fresh/4/file", O_RDONLY));
	// By number.
	message = to(&AT, "fresh/5/../../own-socket");
	R(syscall(SYS_sendto, fd, "sent", 5, 0, &AT, sizeof AT)), received(own); FD(open("fresh/5/file", O_RDONLY));
	message = to(&AT, "fresh/6/file");
	R(sendto(fd, "sent", 5, 0, (void *)&AT, sizeof AT)); R(sendmsg(fd, &message, 0)); FD(open("fresh/6/file", O_RDONLY));
	message = to(&AT, "fresh/7/missing");
	R(sendmsg(fd, &message, 0)); FD(open("fresh/7/file", O_RDONLY));
	// What needs no path.
	R(socketpair(AF_UNIX, SOCK_STREAM, 0, ends)); R(send(ends[0], "sent", 5, 0)), received(ends[1]);
	message = (struct msghdr){ .msg_iov = &WORD, .msg_iovlen = 1 };
	R(sendmsg(ends[0], &message, 0)), received(ends[1]); R(sendmsg(fd, &message, 0)); R(sendto(fd, "x", 1, 0, (void *)BAD_POINTER, sizeof AT)); R(sendmsg(fd, (void *)BAD_POINTER, 0));
	// An abstract name is none of the file tree.
	AT = (struct sockaddr_un){ AF_UNIX, "\0nobody" };
	R(sendto(fd, "x", 1, 0, (void *)&AT, sizeof AT));
	R(unlink("own-socket"));
	return 0;
}
