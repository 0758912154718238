// Names in directories: listed, scanned and walked, for every kind of path.
// hooks: opendir
#include "common.h"
#include <ftw.h>
#include <fts.h>
#include <glob.h>

static void listed(void)
{
	for (int i = 0; i < PATHS_COUNT; i++) {
		// glibc looks at the first byte itself.
		if (is_bad(PATHS[i]))
			continue;
		DIR *dir = CALL(opendir(PATHS[i]));
		int error = errno, names = 0, dots = 0;
		printf("opendir ");
		print_path(PATHS[i]);
		if (!dir) {
			printf(" = %s\n", error_name(error));
			continue;
		}
		struct dirent *entry;
		while ((entry = readdir(dir)))
			names++, dots += entry->d_name[0] == '.';
		if (in_fixture(PATHS[i]))
			printf(" = %d names, %d dots\n", names, dots);
		else
			printf(" = some\n");
		closedir(dir);
	}
}

static int is_file(const struct dirent *entry) { return entry->d_type == DT_REG; }
static int is_file64(const struct dirent64 *entry) { return entry->d_type == DT_REG; }

static void print_names(int count, struct dirent **names)
{
	for (int i = 0; i < count; i++) {
		print_path(names[i]->d_name);
		printf(" %d%c", names[i]->d_type, i + 1 < count ? ' ' : '\n');
		free(names[i]);
	}
}

static void scanned(void)
{
	struct dirent **names;
	struct dirent64 **names64;
	int fd = open("dir", O_RDONLY), count;
	P((void *)(long)((count = scandir("dir", &names, NULL, alphasort)) >= 0)), print_names(count, names);
	P((void *)(long)((count = scandir64("dir", &names64, is_file64, alphasort64)) >= 0)), print_names(count, (struct dirent **)names64);
	P((void *)(long)((count = scandirat(fd, "sub", &names, NULL, alphasort)) >= 0)), print_names(count, names);
	P((void *)(long)((count = scandirat(AT_FDCWD, "many", &names, is_file, versionsort)) >= 0)), print_names(count, names);
	P((void *)(long)((count = scandirat64(AT_FDCWD, "dirlink", &names64, NULL, alphasort64)) >= 0)), print_names(count, (struct dirent **)names64);
	R(scandir("missing", &names, NULL, alphasort));
	R(scandir("dir/file", &names, NULL, alphasort));
	R(scandirat(fd, "missing", &names, NULL, alphasort));
	close(fd);
}

static int visits, visited_files;
static int visit(const char *path, const struct stat *st, int flag)
{
	visits++;
	visited_files += flag == FTW_F;
	return 0;
}
static int visit_deep(const char *path, const struct stat *st, int flag, struct FTW *at) { return visit(path, st, flag); }

static void walked(void)
{
	R(ftw("dir", visit, 8));
	R(ftw64("trees", (void *)visit, 8));
	R(nftw("trees", visit_deep, 8, FTW_PHYS | FTW_DEPTH));
	R(nftw64("dir", (void *)visit_deep, 8, FTW_PHYS | FTW_CHDIR));
	R(nftw("missing", visit_deep, 8, FTW_PHYS));
	printf("%d visits, %d files\n", visits, visited_files);
	const char *patterns[] = { "dir/*", "many/n0[1-3]", "trees/*/*", "dirlink/s*", "missing/*", "*/sub/d?ep", "{plain,lin}*", "dir/file" };
	for (int i = 0; i < LEN(patterns); i++) {
		glob_t found;
		glob64_t found64;
		int answer = glob(patterns[i], GLOB_MARK | GLOB_BRACE, NULL, &found), answer64 = glob64(patterns[i], 0, NULL, &found64);
		printf("glob %s = %d:", patterns[i], answer);
		for (size_t n = 0; n < found.gl_pathc; n++)
			printf(" %s", found.gl_pathv[n]);
		printf(", glob64 %d of %zu\n", answer64, answer64 ? 0 : found64.gl_pathc);
		globfree(&found), globfree64(&found64);
	}
}

static int fts_by_name(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static void traversed(void)
{
	char *roots[] = { "trees", "dirlink", NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL, fts_by_name);
	for (FTSENT *entry; (entry = fts_read(fts));)
		printf("fts %d %s\n", entry->fts_info, entry->fts_path);
	fts_close(fts);
	FTS64 *fts64 = fts64_open(roots, FTS_LOGICAL | FTS_NOCHDIR, (void *)fts_by_name);
	int entries = 0;
	while (fts64_read(fts64))
		entries++;
	fts64_close(fts64);
	printf("fts64 %d\n", entries);
}

// One open directory: telling, seeking, rewinding after a change.
static void positions(void)
{
	DIR *dir = opendir("many");
	int fd = dup(dirfd(dir)), before = 0, after = 0;
	char first[256], second[256];
	strcpy(first, readdir(dir)->d_name);
	long at = telldir(dir);
	strcpy(second, readdir(dir)->d_name);
	seekdir(dir, at);
	printf("seekdir %d\n", strcmp(second, readdir(dir)->d_name));
	rewinddir(dir);
	while (readdir(dir)) before++;
	write_file("many/added", "x");
	if (unlink("many/n05") || unlink("many/n06"))
		die("unlink");
	rewinddir(dir);
	while (readdir(dir)) after++;
	printf("%d then %d\n", before, after);
	closedir(dir);
	dir = fdopendir(fd);
	rewinddir(dir);
	for (after = 0; readdir(dir);) after++;
	printf("%d by descriptor\n", after);
	closedir(dir);
}

int main(void)
{
	make_paths();
	listed();
	scanned();
	walked();
	traversed();
	positions();
	show_dir("many"), show_dir("closed"), show_dir("odd"), show_dir("trees/one");
	return 0;
}
