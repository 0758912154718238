// Files without a name: made by O_TMPFILE, given one by linkat; and files that lose theirs
// while they are open.
// hooks: open linkat unlink rename
#include "common.h"

static int link_by_proc(int fd, const char *to)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}

int main(void)
{
	struct stat st;
	char text[64] = "";
	umask(022);
	FD(open("missing", O_TMPFILE | O_RDWR, 0644)); FD(open("dir/file", O_TMPFILE | O_RDWR, 0644)); FD(open("dir", O_TMPFILE | O_RDONLY, 0644)); FD(open("trees/one/a", O_TMPFILE | O_RDWR, 0666));
	int fd = open("trees/two/a", O_TMPFILE | O_RDWR, 0640), other = open(".", O_TMPFILE | O_WRONLY, 0755), sealed = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0644);
	R(write(fd, "unnamed\n", 8)); R(write(other, "other\n", 6)); R(fstat(fd, &st)); printf("links %lu size %lld\n", (unsigned long)st.st_nlink, (long long)st.st_size);
	show_dir("trees/two/a");
	R(link_by_proc(fd, "trees/two/a/named")); R(link_by_proc(fd, "trees/two/a/named")); R(link_by_proc(fd, "missing/x")); show_file("trees/two/a/named"), show_path("trees/two/a/named");
	R(linkat(other, "", AT_FDCWD, "by-descriptor", AT_EMPTY_PATH)); show_file("by-descriptor"), show_path("by-descriptor");
	R(link_by_proc(sealed, "never"));
	R(pwrite(fd, "UN", 2, 0)); show_file("trees/two/a/named"); R(linkat(fd, "", AT_FDCWD, "second", AT_EMPTY_PATH)); show_path("second");
	R(rename("second", "trees/three/top")); show_file("trees/three/top");
	close(fd), close(other), close(sealed);
	// Removed and replaced while they are open.
	const char *kept[] = { "many/n01", "trees/four/a/b/leaf", "own" };
	write_file("own", "own\n");
	for (int i = 0; i < LEN(kept); i++) {
		int reader = open(kept[i], O_RDONLY), writer = open(kept[i], O_RDWR);
		R(unlink(kept[i])); show_path(kept[i]);
		R(pread(reader, text, 4, 0)); R(pwrite(writer, "W", 1, 0)); R(pread(reader, text, 4, 0)); print_path(text), putchar('\n');
		R(fstat(reader, &st)); printf("links %lu\n", (unsigned long)st.st_nlink); R(fchmod(writer, 0600)); R(ftruncate(writer, 2)); R(futimens(reader, NULL));
		write_file(kept[i], "another\n"); R(pread(reader, text, 4, 0)); show_file(kept[i]);
		R(link_by_proc(reader, "back-again")); R(linkat(writer, "", AT_FDCWD, "back-again", AT_EMPTY_PATH));
		snprintf(text, sizeof text, "/proc/self/fd/%d", reader);
		FD(open(text, O_RDWR));
		close(reader), close(writer);
	}
	int reader = open("plain1", O_RDONLY);
	R(rename("plain2", "plain1")); R(pread(reader, text, 5, 0)); printf("%.5s\n", text); show_file("plain1"), close(reader);
	return 0;
}
