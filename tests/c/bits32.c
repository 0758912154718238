// A 32-bit program, started by a 64-bit one in every way, starts 64-bit ones itself.
// beside: i386 static
// hooks: execve posix_spawn
#include "common.h"
#include <spawn.h>

static char *ARGV[] = { "i386", NULL }, *ENV[] = { "A=1", NULL };

int main(void)
{
	pid_t child = fork();
	if (child == 0)
		execve("bin/i386", ARGV, ENV), _exit(99);
	show_end("execve", child);
	R(rmdir("made-by-32"));
	fflush(stdout);
	int error = posix_spawn(&child, "bin/i386", NULL, NULL, ARGV, ENV);
	show_end(error ? error_name(error) : "posix_spawn", child);
	R(rmdir("made-by-32"));
	fflush(stdout);
	child = vfork();
	if (child == 0)
		execve("bin/i386", ARGV, ENV), _exit(99);
	show_end("vfork", child);
	// In the middle of a pipe, and by a shell.
	R(rmdir("made-by-32"));
	fflush(stdout);
	R(system("bin/i386 | sort | uniq -c | sort"));
	show_dir("made-by-32");
	return 0;
}
