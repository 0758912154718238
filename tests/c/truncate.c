// Sizes changed by path and by descriptor, and what is then in the file.
// hooks: truncate truncate64
#include "common.h"

static void tail(const char *path, off_t from)
{
	char bytes[9] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0 || pread(fd, bytes, 8, from) < 0)
		die(path);
	print_path(path);
	for (int i = 0; i < 8; i++)
		printf(" %02x", (unsigned char)bytes[i]);
	putchar('\n');
	close(fd);
}

int main(void)
{
	char path[5000];
	memset(path, 'x', sizeof path - 1), path[sizeof path - 1] = 0;
	R(truncate("big", 1000)); tail("big", 992); R(truncate("big", 5000)); tail("big", 996); show_path("big");
	R(truncate64("dir/file", 4)); show_file("dir/file"); R(truncate64("link", 6)); show_file("dir/file"); R(truncate("plain1", 3)); show_file("plain2");
	R(truncate("dir/empty", 10)); show_file("dir/empty"); R(truncate("many/n00", 0)); show_path("many/n00");
	R(truncate("missing", 0)); R(truncate("dir", 0)); R(truncate("dangling", 0)); R(truncate("dangling2", 0)); R(truncate("loop", 0)); R(truncate("dir/file/", 0));
	R(truncate("dir/file/x", 0)); R(truncate("dir/file", -1)); R(truncate(BAD_POINTER, 0)); R(truncate("", 0)); R(truncate64(path, 0)); R(truncate64("missing/x", 0));
	int reader = open("many/n01", O_RDONLY), writer = open("many/n01", O_RDWR);
	R(ftruncate(reader, 0)); R(ftruncate(writer, 5)); R(ftruncate64(writer, 8)); R(ftruncate(-1, 0)); R(ftruncate64(writer, -1));
	show_file("many/n01"), show_path("many/n01");
	R(pwrite(writer, "END", 3, 20)); show_file("many/n01");
	R(fallocate(writer, 0, 0, 100)); show_path("many/n01");
	R(posix_fallocate(writer, 0, 200)); show_path("many/n01");
	return 0;
}
