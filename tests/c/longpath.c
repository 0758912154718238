// Names of 255 bytes, paths at and beyond PATH_MAX, bytes that are no text.
// hooks: mkdir open openat stat chdir rename realpath
#include "common.h"

int main(void)
{
	char name[257], path[8192] = "", cwd[8192];
	struct stat st;
	int home = open(".", O_RDONLY), depth = 0;
	memset(name, 'l', 255), name[255] = 0;
	write_file(name, "255 bytes of name\n");
	show_path(name);
	FD(open(name, O_RDONLY));
	name[255] = 'l', name[256] = 0;
	FD(open(name, O_RDONLY | O_CREAT, 0644));
	R(stat(name, &st));
	name[100] = 0;
	// Down until the path from the root no longer fits, then work there by relative names.
	R(mkdir("deep", 0755)); R(chdir("deep"));
	for (; depth < 60; depth++)
		if (mkdir(name, 0755) != 0 || chdir(name) != 0)
			break;
	printf("%d levels\n", depth);
	printf("getcwd into PATH_MAX: %s\n", getcwd(cwd, PATH_MAX) ? "ok" : error_name(errno));
	printf("getcwd into more: %s\n", getcwd(cwd, sizeof cwd) ? "ok" : error_name(errno));
	P(realpath(".", NULL));
	write_file("bottom", "at the bottom\n");
	show_file("bottom");
	R(rename("bottom", "moved"));
	R(stat("moved", &st));
	int there = open(".", O_RDONLY);
	R(fchdir(home));
	FD(openat(there, "moved", O_RDONLY));
	// What stays is short enough for whoever looks at it by its path.
	R(unlinkat(there, "moved", 0)); R(fchdir(there));
	for (; depth > 20; depth--)
		if (chdir("..") != 0 || rmdir(name) != 0)
			die("up");
	write_file("bottom", "at the bottom that stays\n");
	R(fchdir(home));
	// Paths of exactly 4095 and 4096 bytes.
	while (strlen(path) < 4080)
		strcat(path, "dir/sub/../../");
	path[4074] = 0;
	for (size_t at = strlen(path); at > 0 && path[at - 1] != '/'; at--)
		path[at - 1] = 0;
	while (strlen(path) + 8 < 4095)
		strcat(path, "/");
	size_t length = strlen(path);
	strcpy(path + length, "dir/file");
	printf("length %zu\n", strlen(path));
	R(stat(path, &st)); FD(open(path, O_RDONLY)); R(access(path, R_OK));
	memmove(path + 1, path, strlen(path) + 1), path[0] = '.', path[1] = '/';
	printf("length %zu\n", strlen(path));
	R(stat(path, &st)); FD(open(path, O_RDONLY)); R(access(path, R_OK));
	// Any byte but / and NUL is a name.
	char odd[300] = "odd-new/";
	R(mkdir("odd-new", 0755));
	for (int byte = 1; byte < 256; byte++)
		if (byte != '/') {
			odd[8] = byte, odd[9] = byte == '.' ? 'x' : byte, odd[10] = 0;
			write_file(odd, "odd\n");
		}
	show_dir("odd-new");
	show_file("odd/\xff\xfe"), show_file("odd/a b\nc"), show_file("odd/\xc3\xa9"), show_path("odd/-rf");
	return 0;
}
