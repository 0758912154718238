// Libraries loaded while running; ld.so looks for them by itself.
// hooks: dlopen dlmopen
#include "common.h"
#include <dlfcn.h>

static void load(const char *path, int flags, int apart)
{
	void *library = apart ? dlmopen(LM_ID_NEWLM, path, flags) : dlopen(path, flags);
	printf("%s ", apart ? "dlmopen" : "dlopen");
	print_path(path);
	if (!library) {
		printf(" = %s\n", dlerror());
		return;
	}
	int (*answer)(void) = (int (*)(void))dlsym(library, "plug_answer");
	printf(" = %d\n", answer ? answer() : 0);
	if (!apart)
		dlclose(library);
}

int main(void)
{
	char absolute[PATH_MAX];
	if (!getcwd(absolute, PATH_MAX - 32))
		die("getcwd");
	strcat(absolute, "/lib/libplug.so");
	const char *paths[] = { "lib/libplug.so", "./lib/../lib/libplug.so", absolute, "libplug.so", "libm.so.6", "libmissing.so.9", "lib/missing.so", "dir/file", "dir", "lib/link.so", "dangling", "loop", "dir/empty", "/lib/missing/x.so" };
	for (int i = 0; i < LEN(paths); i++)
		load(paths[i], RTLD_NOW, 0);
	load("lib/libplug.so", RTLD_NOLOAD | RTLD_LAZY, 0);
	load(absolute, RTLD_NOW, 1);
	load("lib/missing.so", RTLD_NOW, 1);
	void *self = dlopen(NULL, RTLD_LAZY);
	printf("itself: %d\n", self && dlsym(self, "printf") != NULL);
	// A library made by the program itself, then replaced under the same name.
	if (system("cp lib/libplug.so lib/libcopy.so") != 0)
		die("cp");
	load("lib/libcopy.so", RTLD_NOW, 0);
	return 0;
}
