// Prints what a shared library exports as termite_hook_names, one name a line: names.c LIBRARY
// part of the fixture
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	void *library = dlopen(argv[1], RTLD_NOW);
	const char *names = library ? dlsym(library, "termite_hook_names") : NULL;
	const ElfW(Sym) *symbol;
	Dl_info info;
	if (!names || !dladdr1(names, &info, (void **)&symbol, RTLD_DL_SYMENT)) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	for (const char *name = names; name < names + symbol->st_size && *name; name += strlen(name) + 1)
		puts(name);
	return 0;
}
