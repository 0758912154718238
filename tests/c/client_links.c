// Files of the client with two names. A view shows each name as a file of its own, so
// what one name is given is not seen by the other before the job has ended; then it is.
// home in: fuse -- the file in the place of one that was appended to may be another one there
// hooks: open rename unlink chmod
#include "common.h"

int main(void)
{
	show_file("pairs/read-1"), show_file("pairs/read-2");
	// In place: the client's link stays, with the new content under both names.
	write_file("pairs/written-1", "written in place\n");
	show_file("pairs/written-1");
	int fd = open("pairs/appended-2", O_WRONLY | O_APPEND);
	R(write(fd, "and more\n", 9)), close(fd);
	show_file("pairs/appended-2");
	R(chmod("pairs/chmod-1", 0600));
	// By another file: the other name keeps the old content.
	write_file("pairs/new", "a new file\n");
	R(rename("pairs/new", "pairs/replaced-1"));
	show_file("pairs/replaced-1"), show_file("pairs/replaced-2");
	R(unlink("pairs/removed-1"));
	show_file("pairs/removed-2");
	return 0;
}
