#include "pebbles.h"
#include <stdio.h>
int main(int argc, char **argv)
{
	printf("%s: %.2f\n", "pebbles", weigh(count(argc > 1 ? argv[1] : "ooo")));
	return 0;
}
