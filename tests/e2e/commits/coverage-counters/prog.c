#include <stdio.h>

int main(void)
{
	puts("counted");
	return 0;
}
