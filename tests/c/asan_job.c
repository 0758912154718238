// A job that is itself a program with AddressSanitizer, and starts others that are none.
// not in: driver off -- whoever preloads a library into it by hand is refused without us too
// flags: -fsanitize=address
// hooks:
#include "common.h"

int main(void)
{
	show_file("dir/file"), show_path("missing"), show_dir("trees/one/a");
	write_file("made", "by a program with a sanitizer\n");
	fflush(stdout);
	R(system("cat trees/two/a/b/leaf; bin/child 3 | head -1"));
	int fd = open("trees/three/a/b/leaf", O_RDONLY);
	show_path("trees/three/a/b/leaf");
	close(fd);
	return 0;
}
