// A job that is a static program: everything by the guard, among programs that the shim serves.
// flags: -static
// beside: static
// hooks:
#include "common.h"
#include <ftw.h>

static int NAMES;
static int visit(const char *path, const struct stat *st, int flag, struct FTW *at) { return NAMES++, 0; }

// Nobody knows the name of this one, and its interpreter was not seen yet.
static void nameless(void)
{
	int memory = syscall(SYS_memfd_create, "nameless", 0);
	dprintf(memory, "#!bin/static\n"), fchmod(memory, 0755);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		dup2(open("/dev/null", O_WRONLY), 1);
		fexecve(memory, (char *[]){ "x", NULL }, (char *[]){ NULL });
		_exit(errno);
	}
	show_end("nameless", child);
	close(memory);
}

int main(void)
{
	nameless();
	make_paths();
	for (int i = 0; i < PATHS_COUNT; i++) {
		struct stat st;
		char text[512] = "";
		const char *path = PATHS[i];
		// This libc's realpath does not check its argument.
		if (is_bad(path))
			continue;
		int known = in_fixture(path);
		print_path(path), printf(":\n");
		R(access(path, R_OK)), R(readlink(path, text, sizeof text) >= 0), FD(open(path, O_RDONLY | O_NONBLOCK));
		if (stat(path, &st) != 0)
			printf("%s\n", error_name(errno));
		else if (known)
			print_stat(&st);
		P(realpath(path, NULL));
	}
	R(nftw("trees", visit, 16, FTW_PHYS)), printf("%d names\n", NAMES);
	R(rename("trees/one", "trees/moved") == 0 || errno == EXDEV);
	fflush(stdout);
	// A dynamic shell, a static program, a dynamic one, each seeing what the other made.
	R(system("echo one > made; bin/static 0 | head -1; cat made; READ=0 bin/static 3 < made; echo two >> made; cat made"));
	show_file("made");
	R(unlink("made"));
	fflush(stdout);
	R(system("ls made; cat trees/two/a/b/leaf"));
	return 0;
}
