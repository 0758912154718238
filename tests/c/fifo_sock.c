// FIFOs and sockets that a job makes for itself work, and nothing of them is left.
// hooks: mkfifo open unlink
#include "common.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	strcpy(at.sun_path, path);
	return at;
}

int main(void)
{
	char bytes[32] = "";
	R(mkdir("own", 0755));
	R(mkfifo("own/fifo", 0644));
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		int out = open("own/fifo", O_WRONLY);
		_exit(write(out, "through\n", 8) == 8 ? 0 : 1);
	}
	int in = open("own/fifo", O_RDONLY);
	R(read(in, bytes, sizeof bytes));
	print_path(bytes), putchar('\n');
	close(in);
	show_end("writer", child);
	FD(open("own/fifo", O_RDONLY | O_NONBLOCK));
	FD(open("own/fifo", O_WRONLY | O_NONBLOCK));
	show_path("own/fifo");

	struct sockaddr_un at = address("own/socket"), fresh = address("trees/one/a/socket"), none = address("missing/socket"), gone = address("own/gone"), file = address("dir/file");
	int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0), mail = socket(AF_UNIX, SOCK_DGRAM, 0);
	R(bind(server, (struct sockaddr *)&none, sizeof none));
	R(bind(server, (struct sockaddr *)&file, sizeof file));
	R(bind(server, (struct sockaddr *)&at, sizeof at));
	R(listen(server, 1));
	R(connect(client, (struct sockaddr *)&gone, sizeof gone));
	R(connect(client, (struct sockaddr *)&file, sizeof file));
	R(connect(client, (struct sockaddr *)&at, sizeof at));
	int peer = accept(server, NULL, NULL);
	R(write(client, "hello", 5));
	memset(bytes, 0, sizeof bytes);
	R(read(peer, bytes, sizeof bytes));
	print_path(bytes), putchar('\n');
	R(bind(mail, (struct sockaddr *)&fresh, sizeof fresh));
	show_path("own/socket"), show_path("trees/one/a/socket");
	int sender = socket(AF_UNIX, SOCK_DGRAM, 0);
	R(sendto(sender, "letter", 6, 0, (struct sockaddr *)&fresh, sizeof fresh));
	memset(bytes, 0, sizeof bytes);
	R(recv(mail, bytes, sizeof bytes, 0));
	print_path(bytes), putchar('\n');
	R(unlink("own/fifo")); R(unlink("own/socket")); R(unlink("trees/one/a/socket"));
	show_dir("own"), show_dir("trees/one/a");
	return 0;
}
