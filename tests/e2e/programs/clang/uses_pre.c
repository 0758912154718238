#include "pre.h"
int main(void)
{
	struct stat st;
	return printf("%d\n", stat(".", &st)) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
