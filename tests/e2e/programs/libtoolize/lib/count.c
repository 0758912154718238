#include "pebbles.h"
unsigned count(const char *text)
{
	unsigned found = 0;
	for (; *text; text++)
		found += *text == 'o';
	return found;
}
