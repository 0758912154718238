// Programs that clear, edit or replace LD_PRELOAD: they get what they asked for, and in a
// slot they are served like their parent all the same.
// needs: /usr/lib/x86_64-linux-gnu/libjemalloc.so.2 /usr/lib/x86_64-linux-gnu/libmimalloc.so.2
// fresh: 12
// hooks: execve
#include "common.h"
#include <dlfcn.h>

static int served(void) { return dlsym(RTLD_DEFAULT, "termite_hook_names") != NULL; }

// The program as its own child: what it was given, and whether files are where they were.
static int inner(char **argv)
{
	char path[64];
	snprintf(path, sizeof path, "fresh/%s/file", argv[2]);
	int in_slot = access("/dev/.termite", F_OK) == 0;
	printf("jemalloc %d mimalloc %d plug %d served like its parent %d\n", dlsym(RTLD_DEFAULT, "malloc_stats_print") != NULL,
	       dlsym(RTLD_DEFAULT, "mi_malloc") != NULL, dlsym(RTLD_DEFAULT, "plug") != NULL, !in_slot || served() == atoi(argv[3]));
	free(malloc(100000)), free(realloc(malloc(10), 1000));
	show_file(path), show_path("missing"), show_dir("trees/one");
	P(realpath("dirlink/../link", NULL));
	return 0;
}

static char SELF[PATH_MAX];
static int NUMBER;

static void run(const char *what, char **env)
{
	char number[8];
	snprintf(number, sizeof number, "%d", NUMBER++);
	printf("%s\n", what);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		execve(SELF, (char *[]){ SELF, "inner", number, served() ? "1" : "0", NULL }, env);
		_exit(99);
	}
	show_end(what, child);
}

int main(int argc, char **argv)
{
	if (argc > 3)
		return inner(argv);
	SELF[readlink("/proc/self/exe", SELF, sizeof SELF - 1)] = 0;
	run("no environment", NULL);
	run("empty environment", (char *[]){ NULL });
	run("empty LD_PRELOAD", (char *[]){ "LD_PRELOAD=", NULL });
	run("jemalloc", (char *[]){ "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", NULL });
	run("mimalloc", (char *[]){ "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libmimalloc.so.2", NULL });
	run("a library of ours", (char *[]){ "LD_PRELOAD=lib/libplug.so", NULL });
	run("two, one through a link", (char *[]){ "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2 lib/link.so", NULL });
	run("by a name", (char *[]){ "LD_PRELOAD=libplug.so", "LD_LIBRARY_PATH=lib", NULL });
	run("bound at once", (char *[]){ "LD_BIND_NOW=1", "LD_LIBRARY_PATH=lib:missing", NULL });
	// As programs and shells do it.
	char command[PATH_MAX + 200];
	snprintf(command, sizeof command, "unset LD_PRELOAD; exec %s inner 9 %d", SELF, served());
	fflush(stdout);
	R(system(command));
	snprintf(command, sizeof command, "env -i %s inner 10 %d; env -u LD_PRELOAD %s inner 11 %d", SELF, served(), SELF, served());
	R(system(command));
	R(unsetenv("LD_PRELOAD"));
	R(system("cat trees/two/a/b/leaf; env -i /bin/sh -c 'cat trees/three/a/b/leaf; echo $LD_PRELOAD'; sh -c 'exec -c env' 2>/dev/null; bash -c 'exec -c /bin/cat trees/four/a/b/leaf'"));
	return 0;
}
