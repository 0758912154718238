#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	int last = argc > 1 ? atoi(argv[1]) : 1;
	puts("static const int squares[] = {");
	for (int i = 0; i < last; i++)
		printf("\t%d,\n", i * i);
	puts("};");
	return 0;
}
