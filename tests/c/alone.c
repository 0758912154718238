// Starts a program without the descriptors that whoever runs the tests left open: alone PROGRAM ARG...
// part of the fixture
#define _GNU_SOURCE
#include <unistd.h>

int main(int argc, char **argv)
{
	if (close_range(3, ~0U, 0) != 0)
		return 126;
	execv(argv[1], argv + 1);
	return 127;
}
