// Files mapped: read by pages, written through shared mappings, private ones left alone. Memory without a file.
// hooks: open open64 mmap mmap64
#include "common.h"

int main(void)
{
	struct stat st;
	int fd = open("big", O_RDONLY);
	fstat(fd, &st);
	unsigned char *bytes = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	unsigned long sum = 0;
	for (off_t i = 0; i < st.st_size; i++)
		sum = sum * 31 + bytes[i];
	printf("sum %lx of %lld\n", sum, (long long)st.st_size);
	munmap(bytes, st.st_size), close(fd);
	// The same file, mapped by one process and changed by another through a second descriptor.
	fd = open64("big", O_RDWR);
	char *shared = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memcpy(shared + 8192, "MAPPED", 6), memcpy(own, "PRIVATE", 7);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		char seen[7] = "";
		int again = open("big", O_RDWR);
		if (pread(again, seen, 6, 8192) != 6 || strcmp(seen, "MAPPED") || pwrite(again, "CHILD", 5, 100) != 5)
			_exit(1);
		memcpy(shared + 20000, "FROM THE CHILD", 14);
		_exit(0);
	}
	show_end("child", child);
	printf("%.5s %.14s %.7s\n", shared + 100, shared + 20000, own);
	R(msync(shared, st.st_size, MS_SYNC));
	munmap(shared, st.st_size), munmap(own, 4096), close(fd);
	// A new file, grown and filled through its mapping alone, the way linkers write.
	fd = open("linked", O_RDWR | O_CREAT | O_TRUNC, 0755);
	R(ftruncate(fd, 100000));
	shared = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	for (int i = 0; i < 100000; i++)
		shared[i] = "0123456789abcdef"[i % 16];
	munmap(shared, 100000);
	show_path("linked");
	// Mapped, then removed: the mapping stays.
	fd = open("many/n40", O_RDONLY);
	fstat(fd, &st);
	bytes = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	R(unlink("many/n40"));
	printf("%.*s", (int)st.st_size, bytes);
	// Memory of several huge pages: zeroes, given back in part, and a child's own after fork.
	size_t huge = 2 << 20;
	char *fresh = mmap(NULL, 4 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *other = mmap64(fresh + huge, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	int zeroes = 0;
	for (size_t i = 0; i < 4 * huge; i += 4096)
		zeroes += fresh[i] == 0, fresh[i] = 'a' + i / huge;
	munmap(fresh + 2 * huge, 4096);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		memset(other, 'x', huge);
		_exit(fresh[0] == 'a' && fresh[3 * huge] == 'd' ? 0 : 1);
	}
	show_end("child", child);
	printf("%d zeroes %c %c %d\n", zeroes, fresh[0], *other, other == fresh + huge);
	R(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
	R(mmap64(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED ? -1 : 0);
	return 0;
}
