// Files mapped: read by pages, written through shared mappings, private ones left alone.
// hooks: open open64
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
	return 0;
}
