#ifndef PART_H
#define PART_H
#include <stddef.h>
struct item { const char *name; unsigned long weight; };
size_t heaviest(const struct item *items, size_t count);
#endif
