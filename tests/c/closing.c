// Every descriptor closed in every way, every number taken, as many as there may be; and
// paths are looked up as before.
// hooks: open stat access readlink realpath opendir
#include "common.h"
#include <linux/close_range.h>
#include <sys/resource.h>

static int sink;

static void look(const char *what)
{
	struct stat st;
	char text[64];
	int fd = open("dir/file", O_RDONLY), good = fd >= 0 && read(fd, text, 8) == 8;
	char *name = realpath("dirlink/../link", NULL);
	DIR *dir = opendir("many");
	good = good && name && dir && readdir(dir) && stat("trees/one/a/b/leaf", &st) == 0 && access("missing", F_OK) < 0 && readlink("link", text, sizeof text) == 8;
	printf("%s: lowest %d good %d\n", what, fd, good);
	closedir(dir), free(name), close(fd);
}

static void in_child(const char *what, void (*act)(void))
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		act(), look(what), fflush(stdout), _exit(0);
	show_end(what, child);
}

static void by_closefrom(void) { closefrom(3); }
static void by_range(void) { R(close_range(3, ~0U, 0)); }
static void by_range_unshared(void) { R(close_range(3, ~0U, CLOSE_RANGE_UNSHARE)); }
static void at_exec(void) { R(close_range(3, ~0U, CLOSE_RANGE_CLOEXEC)); fflush(stdout); R(system("bin/child 0 | tail -2 | head -1")); }
static void in_the_middle(void) { R(close_range(10, 20, 0)); R(close_range(30, 20, 0)); R(close_range(3, 4, 0x100)); }
static void one_by_one(void) { for (int fd = 3; fd < 70000; fd++) close(fd); }

static void through_proc(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(dir))
			count += close(atoi(entry->d_name)) == 0;
	closedir(dir);
	printf("%d closed\n", count);
}

static void every_number(void)
{
	int bad = 0;
	for (int fd = 3; fd < 1024; fd++)
		bad += dup2(2, fd) != fd;
	printf("all taken, bad %d\n", bad);
	struct stat st;
	FD(open("dir/file", O_RDONLY)); P(opendir("dir")); P(realpath("link", NULL)); R(stat("link", &st)); R(access("dir/file", R_OK)); P(fopen("dir/file", "r"));
	fflush(stdout);
	for (int fd = 5; fd < 1024; fd++)
		dup3(2, fd, O_CLOEXEC);
	close(1000), close(1001), close(1002), close(3), close(4);
}

static void without_any(void)
{
	// Not even the first three: what is opened next gets their numbers.
	int out = fcntl(1, F_DUPFD, 100);
	close(0), close(1), close(2);
	int fd = open("dir/file", O_RDONLY), other = open("many", O_RDONLY | O_DIRECTORY);
	dup2(out, 50);
	dprintf(50, "numbers %d %d\n", fd, other);
	dup2(50, 1), close(out);
}

static void lowered(void)
{
	struct rlimit few = { 16, 1024 };
	R(setrlimit(RLIMIT_NOFILE, &few));
	int last = -1, fd;
	while ((fd = open("dir/file", O_RDONLY)) >= 0)
		last = fd;
	printf("last %d %s\n", last, error_name(errno));
	struct stat st;
	R(stat("trees/two/a/b/leaf", &st)); R(access("trees/two/a/b/other", X_OK)); P(realpath("dirlink/sub", NULL)); P(opendir("trees/two")); FD(open("trees/five/top", O_RDONLY));
	closefrom(3);
}

int main(void)
{
	// Whoever runs the tests may have another limit than a job.
	struct rlimit usual = { 1024, 1024 };
	setrlimit(RLIMIT_NOFILE, &usual);
	for (int fd = 3; fd < 40; fd++)
		dup2(2, fd);
	in_child("closefrom", by_closefrom), in_child("close_range", by_range), in_child("close_range unshared", by_range_unshared), in_child("close_range at exec", at_exec);
	in_child("in the middle", in_the_middle), in_child("one by one", one_by_one), in_child("through /proc", through_proc), in_child("every number", every_number);
	in_child("without any", without_any), in_child("lowered", lowered);
	fflush(stdout);
	R(system("exec 3<dir/file 9<&3 4<>made 5>&1; cat <&9; echo to four >&4; echo to five >&5; exec 3<&- 9<&-; cat made; (exec 200<link; cat <&200) 2>&1"));
	return 0;
}
