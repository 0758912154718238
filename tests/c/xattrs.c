// Extended attributes of the name space that is the user's, within a job: set, read, listed
// and removed, by path and by descriptor, of the client's files before anybody read them.
// hooks: open rename
#include "common.h"
#include <sys/xattr.h>

static void list(const char *path)
{
	char names[1024];
	char *found[16];
	int count = 0;
	ssize_t size = llistxattr(path, names, sizeof names);
	print_path(path), printf(" %s:", size < 0 ? error_name(errno) : "has");
	for (ssize_t at = 0; at < size && count < 16; at += strlen(names + at) + 1)
		if (!strncmp(names + at, "user.", 5))
			found[count++] = names + at;
	qsort(found, count, sizeof *found, by_name);
	for (int i = 0; i < count; i++)
		putchar(' '), print_path(found[i]);
	putchar('\n');
}

static void value(const char *path, const char *name)
{
	char bytes[256] = "";
	ssize_t size = getxattr(path, name, bytes, sizeof bytes);
	print_path(path), printf(" %s %zd ", name, size < 0 ? -1 : size);
	if (size < 0)
		printf("%s\n", error_name(errno));
	else
		print_path(bytes), putchar('\n');
}

int main(void)
{
	char bytes[64];
	write_file("own", "own\n");
	const char *paths[] = { "own", "many/n01", "trees/one", "bin/child", "link" };
	for (int i = 0; i < LEN(paths); i++) {
		const char *path = paths[i];
		list(path), value(path, "user.one");
		R(setxattr(path, "user.one", "first", 5, 0)); R(setxattr(path, "user.one", "again", 5, XATTR_CREATE)); R(setxattr(path, "user.two", "second", 6, XATTR_REPLACE)); R(setxattr(path, "user.two", "second", 6, XATTR_CREATE)); R(setxattr(path, "user.empty", "", 0, 0));
		value(path, "user.one"), value(path, "user.two"), value(path, "user.empty"), list(path);
		R(getxattr(path, "user.two", bytes, 2)); R(getxattr(path, "user.two", NULL, 0)); R(removexattr(path, "user.one")); R(removexattr(path, "user.one")); list(path);
	}
	show_file("many/n01"), show_path("many/n01"), list("dir/file"), value("link", "user.two");
	R(lsetxattr("dangling", "user.x", "x", 1, 0)); R(setxattr("own", "user.", "x", 1, 0)); R(setxattr("own", "unknown.x", "x", 1, 0)); R(setxattr("own", "", "x", 1, 0)); R(setxattr("own", "user.x", BAD_POINTER, 5, 0)); R(setxattr("own", BAD_POINTER, "x", 1, 0));
	int fd = open("many/n02", O_RDONLY), writer = open("many/n03", O_RDWR);
	R(fsetxattr(fd, "user.fd", "by descriptor", 13, 0)); value("many/n02", "user.fd"); R(fgetxattr(writer, "user.fd", bytes, sizeof bytes)); R(fsetxattr(writer, "user.fd", "x", 1, 0)); R(fremovexattr(writer, "user.fd")); R(flistxattr(writer, bytes, sizeof bytes) >= 0); show_file("many/n02"), show_file("many/n03");
	R(rename("many/n02", "moved")); value("moved", "user.fd"); R(rename("trees/one/top", "trees/one/top2")); list("trees/one");
	R(chmod("bin/child", 0711)); value("bin/child", "user.two");
	close(fd), close(writer);
	return 0;
}
