// Names that look like something else: what the kernel says of removed files, of pipes, of
// magic links; and a name of every byte, of the client's and of the job's own.
// hooks: open chdir realpath rename opendir unlink
#include "common.h"

int main(void)
{
	struct stat st;
	int home = open(".", O_RDONLY);
	char text[PATH_MAX];
	// The client has a directory whose name ends like a removed one's.
	R(chdir("odd/gone (deleted)")); show_file("inside"); show_dir("below (deleted)"); FD(open("below (deleted)/deep", O_RDONLY)); P(realpath("inside", NULL)); P(getcwd(text, sizeof text)); show_file("missing");
	write_file("made", "x\n"); R(rename("below (deleted)", "moved (deleted)")); show_file("moved (deleted)/deep"); R(fchdir(home));
	int dir = open("odd/gone (deleted)", O_RDONLY), file = open("odd/file (deleted)", O_RDONLY);
	FD(openat(dir, "inside", O_RDONLY)); R(fstatat(dir, "moved (deleted)/deep", &st, 0));
	snprintf(text, sizeof text, "/proc/self/fd/%d", file); FD(open(text, O_RDONLY)); R(access(text, R_OK));
	snprintf(text, sizeof text, "/proc/self/fd/%d/inside", dir); FD(open(text, O_RDONLY));
	snprintf(text, sizeof text, "/dev/fd/%d/inside", dir); FD(open(text, O_RDONLY));
	// Removed in truth, and one of that name made in its place.
	R(mkdir("odd/real", 0755)); R(chdir("odd/real")); R(rmdir("../real")); R(mkdir("../real (deleted)", 0755)); FD(open("x", O_WRONLY | O_CREAT, 0644)); R(stat(".", &st)); FD(open("../plain1", O_RDONLY)); R(fchdir(home)); show_dir("odd/real (deleted)");
	// Names like the slot's own, elsewhere than at the top.
	R(mkdir("proc", 0755)); R(mkdir("dev", 0755)); R(mkdir("proc/self", 0755)); write_file("proc/self/fd", "no link\n"); show_file("proc/self/fd"); write_file("dev/null", "a file\n"); show_file("dev/null"); R(symlink("/proc/self/cwd/dir/file", "by-proc")); show_file("by-proc"); R(symlink("/dev/fd/../../proc/self/cwd", "here")); show_file("here/dir/file"); R(unlink("by-proc")), R(unlink("here"));
	R(mkdir("pipe:[1]", 0755)); R(chdir("pipe:[1]")); write_file("x", "x\n"); show_file("x"); R(fchdir(home));
	// Every byte, alone and in the middle, made here and found by a listing.
	char name[8] = "all/a?z";
	R(mkdir("all", 0755));
	for (int byte = 1; byte < 256; byte++) {
		if (byte == '/')
			continue;
		name[5] = byte;
		write_file(name, "x");
	}
	show_dir("all");
	const char *there[] = { "odd/\xff\xfe", "odd/a b\nc", "odd/\xc3\xa9", "odd/-rf", "odd/back\\slash", "odd/quo\"te", "odd/st*r", "odd/col:on", "odd/com,ma", "odd/\x01\x7f", "odd/trailing ", "odd/.hidden", "odd/..." };
	for (int i = 0; i < LEN(there); i++)
		show_path(there[i]), show_file(there[i]);
	show_dir("odd");
	return 0;
}
