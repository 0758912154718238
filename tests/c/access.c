// Whether files may be used, asked in every way for every kind of path.
// hooks: access faccessat eaccess euidaccess
#include "common.h"

static int CWD_FD, DIR_FD;
static int by_access(const char *p, int m) { return access(p, m); }
static int by_faccessat(const char *p, int m) { return faccessat(AT_FDCWD, p, m, 0); }
static int by_faccessat_fd(const char *p, int m) { return faccessat(CWD_FD, p, m, AT_EACCESS); }
static int by_faccessat_nofollow(const char *p, int m) { return faccessat(CWD_FD, p, m, AT_SYMLINK_NOFOLLOW); }
static int by_eaccess(const char *p, int m) { return eaccess(p, m); }
static int by_euidaccess(const char *p, int m) { return euidaccess(p, m); }

static const struct { const char *name; int (*access)(const char *, int); } WAYS[] = {
	{ "access", by_access }, { "faccessat", by_faccessat }, { "faccessat fd", by_faccessat_fd },
	{ "faccessat nofollow", by_faccessat_nofollow }, { "eaccess", by_eaccess }, { "euidaccess", by_euidaccess },
};

int main(void)
{
	make_paths();
	CWD_FD = open(".", O_PATH), DIR_FD = open("dir", O_RDONLY);
	const int modes[] = { F_OK, R_OK, X_OK, R_OK | X_OK };
	for (int way = 0; way < LEN(WAYS); way++)
		for (int i = 0; i < PATHS_COUNT; i++)
			for (int m = 0; m < LEN(modes); m++) {
				printf("%s %d ", WAYS[way].name, modes[m]);
				print_path(PATHS[i]);
				number("", CALL(WAYS[way].access(PATHS[i], modes[m])));
			}
	// Whether a place may be written is asked of the fixture alone: a worker's own
	// directories are its own business.
	for (int way = 0; way < LEN(WAYS); way++)
		for (int i = 0; i < LEN(LOOKED_AT); i++) {
			printf("%s write ", WAYS[way].name);
			print_path(LOOKED_AT[i]);
			number("", CALL(WAYS[way].access(LOOKED_AT[i], W_OK)));
		}
	R(access("dir", 64));
	R(faccessat(DIR_FD, "file", R_OK, 0));
	R(faccessat(DIR_FD, "../link", R_OK, 0));
	R(faccessat(DIR_FD, "file/x", R_OK, 0));
	R(faccessat(-1, "dir", F_OK, 0));
	R(faccessat(0, "dir", F_OK, 0));
	R(faccessat(DIR_FD, "file", F_OK, 0x8000));
	R(faccessat(DIR_FD, "", F_OK, AT_EMPTY_PATH));
	return 0;
}
