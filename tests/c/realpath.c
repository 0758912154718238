// Canonical names, asked in every way for every kind of path.
// hooks: realpath __realpath_chk canonicalize_file_name
#include "common.h"

extern char *__realpath_chk(const char *, char *, size_t);

static char *by_realpath(const char *p) { return realpath(p, NULL); }
static char *by_realpath_into(const char *p) { return realpath(p, malloc(PATH_MAX)); }
static char *by_realpath_chk(const char *p) { return __realpath_chk(p, malloc(PATH_MAX), PATH_MAX); }
static char *by_canonicalize(const char *p) { return canonicalize_file_name(p); }

static const struct { const char *name; char *(*realpath)(const char *); } WAYS[] = {
	{ "realpath", by_realpath }, { "realpath into", by_realpath_into }, { "__realpath_chk", by_realpath_chk },
	{ "canonicalize_file_name", by_canonicalize },
};

int main(void)
{
	make_paths();
	for (int way = 0; way < LEN(WAYS); way++)
		for (int i = 0; i < PATHS_COUNT; i++) {
			// glibc reads the path itself: a bad pointer is a crash, not an answer.
			if (is_bad(PATHS[i]) || !strcmp(PATHS[i], "/proc/self"))
				continue;
			char *name = CALL(WAYS[way].realpath(PATHS[i]));
			int error = errno;
			printf("%s ", WAYS[way].name);
			print_path(PATHS[i]);
			printf(" = ");
			if (name)
				print_path(name), putchar('\n');
			else
				printf("%s\n", error_name(error));
			free(name);
		}
	P(realpath(NULL, NULL));
	// What stands in the buffer after a failure is the path that could not be resolved.
	char buffer[PATH_MAX] = "before";
	P(realpath("dir/sub/missing", buffer));
	print_path(buffer), putchar('\n');
	static const char *const far[] = {
		"missing/x", "dir/no/such/x", "dir/../no/./such/x", "dir/no/../x", "dir//no//x", "todangle/x", "todangle",
	};
	if (symlink("dir/gone", "todangle"))
		die("todangle");
	for (int i = 0; i < LEN(far); i++)
		// The second time everything on the way is known.
		for (int times = 0; times < 2; times++) {
			strcpy(buffer, "before");
			P(realpath(far[i], buffer));
			print_path(buffer), putchar('\n');
		}
	if (chdir("dir/sub") != 0)
		die("chdir");
	char *name = realpath("../back/chain", NULL);
	print_path(name ? name : ""), putchar('\n');
	// A directory that the process itself made, renamed and removed.
	if (mkdir("made", 0755) || symlink("made", "tomade") || rename("made", "named"))
		die("made");
	P(realpath("tomade", NULL));
	P(realpath("named", NULL));
	if (rmdir("named") || mkdir("made", 0755))
		die("named");
	P(realpath("tomade", NULL));
	P(realpath("named", NULL));
	return 0;
}
