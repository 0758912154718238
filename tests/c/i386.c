// A 32-bit program without a C library: looks at files, executes a 64-bit program.
// part of the fixture

enum { EXIT = 1, FORK = 2, READ = 3, WRITE = 4, OPEN = 5, WAITPID = 7, EXECVE = 11, ACCESS = 33, MKDIR = 39, READLINK = 85, STAT64 = 195 };

static long call(long number, long a, long b, long c)
{
	long answer;
	__asm__ volatile("int $0x80" : "=a"(answer) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return answer;
}

static long length(const char *text)
{
	long at = 0;
	while (text[at])
		at++;
	return at;
}

static void say(const char *text) { call(WRITE, 1, (long)text, length(text)); }

static void number(const char *what, const char *path, long value)
{
	char digits[16];
	int at = sizeof digits, negative = value < 0;
	unsigned long rest = negative ? -value : value;
	digits[--at] = 0, digits[--at] = '\n';
	do digits[--at] = '0' + rest % 10; while (rest /= 10);
	if (negative)
		digits[--at] = '-';
	say(what), say(" "), say(path), say(" "), say(digits + at);
}

static void look(const char *path)
{
	char text[64], stat[256];
	long fd = call(OPEN, (long)path, 0, 0);
	number("open", path, fd < 0 ? fd : 0);
	if (fd >= 0) {
		long got = call(READ, fd, (long)text, sizeof text - 1);
		number("read", path, got);
		text[got < 0 ? 0 : got] = 0, say(text);
	}
	number("stat64", path, call(STAT64, (long)path, (long)stat, 0));
	number("access", path, call(ACCESS, (long)path, 4, 0));
	number("readlink", path, call(READLINK, (long)path, (long)text, sizeof text));
}

static void run(const char *program)
{
	const char *argv[] = { "zeroth", "3", 0 }, *envp[] = { "A=1", 0 };
	int status = 0;
	long child = call(FORK, 0, 0, 0);
	if (child == 0) {
		number("execve", program, call(EXECVE, (long)program, (long)argv, (long)envp));
		call(EXIT, 98, 0, 0);
	}
	call(WAITPID, child, (long)&status, 0);
	number("ended", program, status);
}

void _start(void)
{
	look("dir/file"), look("trees/one/a/b/leaf"), look("link"), look("missing"), look("trees/missing/x"), look("loop"), look("dangling");
	number("mkdir", "made-by-32", call(MKDIR, (long)"made-by-32", 0755, 0));
	run("bin/child"), run("dir/script.sh"), run("missing"), run("bin/static"), run("dir/file"), run("dir");
	call(EXIT, 5, 0, 0);
	for (;;)
		;
}
