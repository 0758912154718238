#include "part.h"

static int heavier(const struct item *a, const struct item *b)
{
	return a->weight > b->weight;
}

size_t heaviest(const struct item *items, size_t count)
{
	size_t best = 0;
	for (size_t i = 1; i < count; i++)
		if (heavier(items + i, items + best))
			best = i;
	return best;
}
