// File systems and extended attributes looked at, in every way for every kind of path.
// What they are is the view's own business, so only whether there is an answer counts.
// hooks: statfs statfs64 __statfs getxattr lgetxattr listxattr llistxattr
#include "common.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

extern int __statfs(const char *, struct statfs *);

static struct statfs FS;
static struct statvfs VFS;
static char TEXT[1024];

static long by_statfs(const char *p) { return statfs(p, &FS); }
static long by_statfs64(const char *p) { return statfs64(p, (struct statfs64 *)&FS); }
static long by___statfs(const char *p) { return __statfs(p, &FS); }
static long by_statvfs(const char *p) { return statvfs(p, &VFS); }
static long by_pathconf(const char *p) { return pathconf(p, _PC_NAME_MAX); }
static long by_getxattr(const char *p) { return getxattr(p, "user.none", TEXT, sizeof TEXT); }
static long by_lgetxattr(const char *p) { return lgetxattr(p, "user.none", TEXT, sizeof TEXT); }
// A file system may list what is its own.
static long by_listxattr(const char *p) { return listxattr(p, TEXT, sizeof TEXT) < 0 ? -1 : 0; }
static long by_llistxattr(const char *p) { return llistxattr(p, TEXT, sizeof TEXT) < 0 ? -1 : 0; }

static const struct { const char *name; long (*ask)(const char *); } WAYS[] = {
	{ "statfs", by_statfs }, { "statfs64", by_statfs64 }, { "__statfs", by___statfs }, { "statvfs", by_statvfs }, { "pathconf", by_pathconf },
	{ "getxattr", by_getxattr }, { "lgetxattr", by_lgetxattr }, { "listxattr", by_listxattr }, { "llistxattr", by_llistxattr },
};

// Not every file system has attributes, on links or at all.
static int is_none(int error) { return error == ENODATA || error == EOPNOTSUPP || error == EPERM; }

int main(void)
{
	make_paths();
	for (int twice = 0; twice < 2; twice++)
		for (int way = 0; way < LEN(WAYS); way++)
			for (int i = 0; i < PATHS_COUNT; i++) {
				// glibc looks at the first byte itself.
				if (WAYS[way].ask == by_pathconf && is_bad(PATHS[i]))
					continue;
				printf("%s ", WAYS[way].name);
				print_path(PATHS[i]);
				long answer = CALL(WAYS[way].ask(PATHS[i]));
				printf(" = %s\n", answer >= 0 ? "an answer" : is_none(errno) ? "no such attribute" : error_name(errno));
			}
	R(statfs("dir/file", (struct statfs *)BAD_POINTER)); R(statfs64("link", (struct statfs64 *)BAD_POINTER)); R(__statfs("dir", (struct statfs *)BAD_POINTER));
	R(getxattr("dir/file", BAD_POINTER, TEXT, 9)); R(lgetxattr("dir/file", "", TEXT, 9)); R(getxattr("dir/file", "none", TEXT, 9));
	memset(TEXT, 'n', 256);
	const char *missing[] = { "dir/missing", "missing/x", "dir/file/x", "dir/file", "link" };
	for (int i = 0; i < LEN(missing); i++) {
		R(getxattr(missing[i], BAD_POINTER, TEXT, 9)); R(lgetxattr(missing[i], "", TEXT, 9)); R(getxattr(missing[i], TEXT, NULL, 0));
		R(listxattr(missing[i], BAD_POINTER, 9) > 0); R(statfs(missing[i], (void *)BAD_POINTER));
	}
	memset(&FS, 0, sizeof FS);
	R(statfs("dir/missing", &FS)), printf("%ld\n", (long)FS.f_namelen);
	R(statfs("dir/file", &FS)), printf("%ld\n", (long)FS.f_namelen);
	return 0;
}
