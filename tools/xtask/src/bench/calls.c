// Times what programs ask of a kernel all the time, warm; prints a name and nanoseconds
// for each, the median of some rounds. Argument: a program that does nothing.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 9, CALLS = 2000, STARTS = 40, PIECE = 4096, PIECES = 64 };

extern char **environ;
static char bytes[PIECE];
static const char *nothing;
static int in, out;

static void check(int good, const char *what)
{
	if (!good)
		perror(what), exit(1);
}

static void do_stat(int i)
{
	struct stat st;
	(void)i;
	check(stat("input", &st) == 0, "stat");
}

static void do_open(int i)
{
	int fd = open("input", O_RDONLY);
	(void)i;
	check(fd >= 0 && close(fd) == 0, "open");
}

static void do_read(int i) { check(pread(in, bytes, PIECE, (i % PIECES) * PIECE) == PIECE, "read"); }

static void do_write(int i) { check(pwrite(out, bytes, PIECE, (i % PIECES) * PIECE) == PIECE, "write"); }

static void do_start(int i)
{
	char *argv[] = { (char *)nothing, NULL };
	pid_t child;
	int status;
	(void)i;
	errno = posix_spawn(&child, nothing, NULL, NULL, argv, environ);
	check(errno == 0 && waitpid(child, &status, 0) == child && status == 0, "start");
}

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1e9 + at.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(const char *name, void (*call)(int), int count)
{
	double each[ROUNDS];
	call(0);
	for (int round = 0; round < ROUNDS; round++) {
		double begin = now();
		for (int i = 0; i < count; i++)
			call(i);
		each[round] = (now() - begin) / count;
	}
	qsort(each, ROUNDS, sizeof *each, ascending);
	printf("%s %.1f\n", name, each[ROUNDS / 2]);
}

int main(int argc, char **argv)
{
	nothing = argc > 1 ? argv[1] : "/bin/true";
	in = open("input", O_RDONLY);
	out = open("output", O_RDWR | O_CREAT | O_TRUNC, 0644);
	check(in >= 0 && out >= 0, "opening input and output");
	measure("stat", do_stat, CALLS);
	measure("open", do_open, CALLS);
	measure("read", do_read, CALLS);
	measure("write", do_write, CALLS);
	measure("start", do_start, STARTS);
	return unlink("output");
}
