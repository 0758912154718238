// Appending: to what is there, from several processes, after a seek, through a link.
// hooks: open fopen openat
#include "common.h"

int main(void)
{
	int fd = open("dir/file", O_WRONLY | O_APPEND);
	R(write(fd, "one\n", 4)); R(lseek(fd, 0, SEEK_SET)); R(write(fd, "two\n", 4)); R(pwrite(fd, "three\n", 6, 0));
	close(fd);
	show_file("dir/file");
	FILE *stream = fopen("link", "a+");
	fputs("four\n", stream), rewind(stream);
	char line[64] = "";
	printf("first line %s", fgets(line, sizeof line, stream));
	fclose(stream);
	show_file("dir/file");
	fflush(stdout);
	// Lines of several writers stay whole and none is lost.
	for (int child = 0; child < 4; child++)
		if (fork() == 0) {
			int out = open("log", O_WRONLY | O_APPEND | O_CREAT, 0644), text = openat(AT_FDCWD, "many/n30", O_WRONLY | O_APPEND);
			for (int i = 0; i < 250; i++)
				if (write(out, "a line of the log\n", 18) != 18 || write(text, "more\n", 5) != 5)
					_exit(1);
			_exit(0);
		}
	for (int status; wait(&status) > 0;)
		if (status)
			printf("a writer failed\n");
	stream = fopen("log", "r");
	int lines = 0, whole = 0;
	while (fgets(line, sizeof line, stream))
		lines++, whole += !strcmp(line, "a line of the log\n");
	fclose(stream);
	printf("%d lines, %d whole\n", lines, whole);
	show_path("log"), show_path("many/n30");
	// A sparse file, written far behind its end.
	fd = open("sparse", O_RDWR | O_CREAT, 0644);
	R(pwrite(fd, "far", 3, 1 << 20)); R(lseek(fd, 0, SEEK_END));
	close(fd);
	show_path("sparse");
	return 0;
}
