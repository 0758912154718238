// The working directory: changed by path and descriptor, told in every way, moved and removed.
// ordinary: home -- overlayfs of an ordinary user renames no lower directory, and this one is in use
// hooks: chdir fchdir
#include "common.h"

extern char *__getcwd_chk(char *, size_t, size_t), *__getwd_chk(char *, size_t);

static void where(void)
{
	char buffer[PATH_MAX];
	char *name = CALL(getcwd(buffer, sizeof buffer));
	printf("cwd ");
	print_path(name ? name : error_name(errno));
	putchar('\n');
}

int main(void)
{
	char home[PATH_MAX], buffer[PATH_MAX];
	make_paths();
	int back = open(".", O_RDONLY | O_DIRECTORY);
	if (!getcwd(home, sizeof home))
		die("getcwd");
	for (int i = 0; i < PATHS_COUNT; i++) {
		printf("chdir ");
		print_path(PATHS[i]);
		if (number("", CALL(chdir(PATHS[i]))) == 0 && strcmp(PATHS[i], "/proc/self"))
			where(), show_path("file"), show_path("../link"), show_path("sub/deep/leaf");
		R(fchdir(back));
	}
	R(fchdir(-1));
	int file = open("dir/file", O_RDONLY);
	R(fchdir(file));
	R(chdir("dir/sub"));
	FD(open("deep/leaf", O_RDONLY));
	FD(open("../file", O_RDONLY));
	show_dir("."), show_dir("..");
	P(getcwd(buffer, 3));
	P(getcwd(NULL, 0));
	P(getwd(buffer));
	P(__getcwd_chk(buffer, sizeof buffer, sizeof buffer));
	print_path(buffer), putchar('\n');
	P(__getwd_chk(buffer, sizeof buffer));
	P(get_current_dir_name());
	setenv("PWD", "/", 1);
	char *name = get_current_dir_name();
	print_path(name), putchar('\n');
	// A directory keeps being the working directory while it is renamed and removed.
	R(chdir(home));
	R(mkdir("w", 0755));
	R(chdir("w"));
	R(rename("../w", "../v"));
	where();
	write_file("made-here", "x\n");
	R(rename(home, home));
	R(unlink("made-here"));
	R(rmdir("../v"));
	where();
	FD(open("x", O_WRONLY | O_CREAT, 0644));
	FD(open(".", O_RDONLY));
	R(chdir(".."));
	R(fchdir(back));
	where();
	// A lower directory that is renamed under the working directory.
	R(chdir("trees/one/a"));
	R(rename("../../one", "../../uno"));
	where();
	show_file("b/leaf");
	show_file("../../uno/a/b/leaf");
	show_file("../../one/a/b/leaf");
	return 0;
}
