// Files with holes, and files whose offsets need more than 32 bits.
// hooks: open stat truncate
#include "common.h"
#include <linux/falloc.h>
#include <sys/sendfile.h>

static const off_t GIB = 1LL << 30;

// The data of a file as its system tells it: where each stretch begins and ends.
static void stretches(int fd)
{
	off_t at = 0, end;
	int count = 0;
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0 && count < 20) {
		end = lseek(fd, at, SEEK_HOLE);
		// Systems differ by their blocks, which may be huge pages.
		printf(" [%lld..%lld)", (long long)at >> 21, (long long)(end + (1 << 21) - 1) >> 21);
		at = end, count++;
	}
	printf(" %d %s\n", count, error_name(errno));
}

static void show(int fd, off_t at)
{
	char bytes[9] = "";
	ssize_t got = pread(fd, bytes, 8, at);
	printf("%lld: %zd ", (long long)at, got);
	print_path(bytes), putchar('\n');
}

static void beyond_4_gib(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
	R(pwrite(fd, "at 0", 4, 0)); R(pwrite(fd, "at 4 GiB", 8, 4 * GIB)); R(pwrite(fd, "across", 6, 4 * GIB - 3)); R(pwrite(fd, "at 9 GiB", 8, 9 * GIB));
	R(fstat(fd, &st)); printf("size %lld, few blocks %d\n", (long long)st.st_size, st.st_blocks < 40000);
	show(fd, 0), show(fd, 4 * GIB - 3), show(fd, 4 * GIB), show(fd, 8 * GIB), show(fd, 9 * GIB), show(fd, 10 * GIB);
	stretches(fd);
	R(lseek(fd, -8, SEEK_END) >> 30); R(lseek(fd, 5 * GIB, SEEK_SET) >> 30); R(write(fd, "five", 4));
	char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 6 * GIB);
	memcpy(map, "mapped", 6), munmap(map, 4096);
	show(fd, 6 * GIB), show(fd, 5 * GIB);
	R(ftruncate(fd, 12 * GIB)); show(fd, 11 * GIB); R(truncate(path, 4 * GIB + 4)); R(stat(path, &st)); printf("size %lld\n", (long long)st.st_size); show(fd, 4 * GIB);
	close(fd);
	fd = open(path, O_RDONLY | O_LARGEFILE);
	FD(dup(fd));
	close(fd);
}

static void holes(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0644);
	static char block[3 << 20];
	memset(block, 'b', sizeof block);
	R(write(fd, block, sizeof block)); R(ftruncate(fd, 64 << 20)); R(pwrite(fd, "end", 3, (64 << 20) - 3)); stretches(fd);
	R(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20)); stretches(fd); show(fd, (1 << 20) - 4);
	R(fallocate(fd, 0, 70 << 20, 4096)); R(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096)); R(posix_fallocate(fd, 0, 4096)); R(lseek(fd, 0, SEEK_END) >> 10);
	R(lseek(fd, 0, SEEK_DATA)); R(lseek(fd, 200 << 20, SEEK_HOLE)); R(lseek(fd, 10 << 20, SEEK_HOLE) >> 20);
	close(fd);
}

int main(void)
{
	beyond_4_gib("huge");
	R(unlink("huge"));
	holes("holes");
	fflush(stdout);
	// What everyday tools make of it: still the same bytes, and still no more blocks.
	R(system("cp --sparse=always holes copy && cmp holes copy && tar -S -cf holes.tar holes && mkdir out && tar -S -xf holes.tar -C out && cmp holes out/holes && rm holes.tar && cksum holes && dd if=holes bs=1M skip=62 status=none | cksum; rm -r copy out"));
	R(truncate("many/n01", 1 << 30)); R(truncate("many/n01", 9)); show_file("many/n01");
	R(truncate("many/n02", 100000)); show_path("many/n02");
	return 0;
}
