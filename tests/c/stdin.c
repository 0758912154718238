// Standard input of a file is read only as far as it is wanted, so that the next reader goes on there. Who
// seeks in it goes home; head(1) does not for a number of bytes.
// stdin: file
// hooks:
#include "common.h"

int main(void)
{
	char bytes[64] = "";
	struct stat st;
	R(fstat(0, &st));
	R(read(0, bytes, 10));
	print_path(bytes), putchar('\n');
	int twin = dup(0);
	memset(bytes, 0, sizeof bytes);
	R(read(twin, bytes, 7));
	print_path(bytes), putchar('\n');
	fflush(stdout);
	return system("head -c 4; echo");
}
