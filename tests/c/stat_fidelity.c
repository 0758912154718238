// What careful programs read from stat: links, sizes, times to the nanosecond, before and after reading.
// hooks: stat lstat open
#include "common.h"

// As gzip, xz and bzip2 ask before they replace a file.
static void careful(const char *path)
{
	struct stat named, opened, after;
	char byte;
	if (lstat(path, &named) != 0) {
		print_path(path), printf(": %s\n", error_name(errno));
		return;
	}
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	fstat(fd, &opened);
	ssize_t got = read(fd, &byte, 1);
	fstat(fd, &after);
	close(fd);
	print_path(path);
	printf(": regular %d one link %d same file %d same times %d unchanged by reading %d got %zd\n", S_ISREG(opened.st_mode), named.st_nlink == 1,
	       named.st_ino == opened.st_ino && named.st_dev == opened.st_dev,
	       named.st_mtim.tv_sec == opened.st_mtim.tv_sec && named.st_mtim.tv_nsec == opened.st_mtim.tv_nsec,
	       after.st_mtim.tv_nsec == named.st_mtim.tv_nsec && after.st_size == named.st_size && after.st_ctim.tv_nsec == opened.st_ctim.tv_nsec, got);
	print_stat(&after);
}

int main(void)
{
	struct stat st;
	const char *paths[] = { "dir/file", "dir/empty", "plain1", "big", "private", "dir/script.sh", "bin/child", "many/n00", "missing" };
	for (int i = 0; i < LEN(paths); i++)
		careful(paths[i]);
	// A file's inode stays what it was when somebody writes to it.
	stat("many/n50", &st);
	ino_t before = st.st_ino;
	int reader = open("many/n50", O_RDONLY);
	write_file("many/n50", "written\n");
	stat("many/n50", &st);
	printf("same inode %d\n", st.st_ino == before);
	fstat(reader, &st);
	printf("reader sees the same size %d\n", st.st_size == 8);
	// The access time of what was read is one that a clock gives.
	close(open("many/n51", O_RDONLY));
	stat("many/n51", &st);
	printf("access time after 1970: %d\n", st.st_atim.tv_sec >= 0);
	// A file made just before is not older than its directory's making, nor from the future.
	struct timespec now;
	write_file("now", "now\n");
	stat("now", &st);
	clock_gettime(CLOCK_REALTIME, &now);
	printf("times go forward %d\n", st.st_mtim.tv_sec <= now.tv_sec && st.st_mtim.tv_sec > now.tv_sec - 100);
	printf("blocks of a file with content %d, of an empty one %lld\n", st.st_blocks > 0, (stat("dir/empty", &st), (long long)st.st_blocks));
	stat("big", &st);
	printf("blocks of a full file suffice %d, block size %d\n", (long long)st.st_blocks * 512 >= st.st_size, st.st_blksize >= 512);
	return 0;
}
