// Programs with the set-user-id and set-group-id bits run in a slot with plain rights; the
// bits themselves are kept as files keep them.
// hooks: chmod chown execv open
#include "common.h"

static int IN_SLOT;

// What a program that changes its ids would have, here and on the client.
static void run(const char *path)
{
	struct stat st;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		execv(path, (char *[]){ (char *)path, "-c", "exit $(($(id -u) * 2 % 251))", NULL });
		_exit(99);
	}
	int status;
	waitpid(child, &status, 0);
	uid_t expected = stat(path, &st) == 0 && st.st_mode & S_ISUID && !IN_SLOT ? st.st_uid : geteuid();
	printf("%s ran with the right it should: %d\n", path, WIFEXITED(status) && WEXITSTATUS(status) == expected * 2 % 251);
}

int main(void)
{
	IN_SLOT = access("/dev/.termite", F_OK) == 0;
	umask(0);
	R(system("cp /bin/dash own-shell && cp /bin/dash others-shell"));
	show_path("own-shell");
	R(chmod("own-shell", 04755)); show_path("own-shell"); run("own-shell");
	R(chmod("own-shell", 06755)); show_path("own-shell"); run("own-shell");
	R(chmod("own-shell", 02711)); show_path("own-shell"); run("own-shell");
	if (geteuid() == 0) {
		// A shell gives up an identity that is not its caller's, unless it is told not to: dash does not.
		R(chown("others-shell", 1000, 1000)); R(chmod("others-shell", 0755)); run("others-shell");
		R(chown("others-shell", 0, 0));
	}
	// Writing takes the bits away, for whoever is not privileged; so does giving the file away.
	// A job of root's that writes to such a file is not for a slot.
	R(chmod("own-shell", 06755));
	if (geteuid() != 0) {
		int fd = open("own-shell", O_WRONLY | O_APPEND);
		R(write(fd, "x", 1)), close(fd);
		show_path("own-shell");
	}
	R(chown("own-shell", geteuid(), getegid())); show_path("own-shell");
	R(unlink("own-shell")); R(unlink("others-shell"));
	// Directories and files made below a set-group-id directory.
	R(mkdir("group", 02775)); R(chmod("group", 02775)); R(mkdir("group/below", 0755)); show_path("group/below");
	write_file("group/file", "x\n"); show_path("group/file");
	R(mkdir("sticky", 01777)); show_path("sticky"); R(chmod("sticky", 01777)); show_path("sticky");
	return 0;
}
