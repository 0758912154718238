// A program that never looks at its standard input ends although nobody closes it.
// stdin: open
// end: status 3
// hooks:
#include "common.h"

int main(void)
{
	struct stat st;
	R(fstat(0, &st));
	printf("%s\n", type_name(st.st_mode));
	R(isatty(0));
	R(fcntl(0, F_GETFL) & O_ACCMODE);
	R(system("echo a child; cat dir/file"));
	R(close(0));
	R(open("dir/file", O_RDONLY));
	char bytes[9] = "";
	R(read(0, bytes, 8));
	print_path(bytes), putchar('\n');
	return 3;
}
