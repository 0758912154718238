#include "part.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct item items[] = { { "pebble", 3 }, { "boulder", 90000 }, { "stone", 500 } };
	size_t best = heaviest(items, sizeof items / sizeof *items);
	printf("%s %.3f %d\n", items[best].name, sqrt((double)items[best].weight), argc);
	return argc > 1 ? atoi(argv[1]) : 0;
}
