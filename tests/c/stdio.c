// Streams opened by path, with every mode; glibc opens their files itself.
// hooks: fopen fopen64 freopen freopen64 _IO_fopen
#include "common.h"

extern FILE *_IO_fopen(const char *, const char *);

static const struct { const char *name; FILE *(*open)(const char *, const char *); } WAYS[] = {
	{ "fopen", fopen }, { "fopen64", fopen64 }, { "_IO_fopen", _IO_fopen },
};

static void show_stream(FILE *stream, int error)
{
	char line[64] = "";
	struct stat st;
	if (!stream) {
		printf("%s\n", error_name(error));
		return;
	}
	fstat(fileno(stream), &st);
	int flags = fcntl(fileno(stream), F_GETFL) & (O_ACCMODE | O_APPEND);
	char *got = fgets(line, 9, stream);
	printf("%s flags %o %s ", type_name(st.st_mode), flags, fcntl(fileno(stream), F_GETFD) ? "cloexec" : "inherited");
	print_path(got ? got : "");
	putchar('\n');
	fclose(stream);
}

static void written(int way)
{
	const char *modes[] = { "w", "a", "r+", "w+", "a+", "wx", "wxe", "we", "rb", "w+b", "ab", "re", "rm", "", "z", "r,ccs=UTF-8" };
	char path[64];
	for (int i = 0; i < LEN(modes); i++) {
		snprintf(path, sizeof path, "out-%s", WAYS[way].name);
		FILE *stream = CALL(WAYS[way].open(path, modes[i]));
		int error = errno;
		printf("%s %s: ", WAYS[way].name, modes[i]);
		if (stream)
			fprintf(stream, "%s written with %s\n", path, modes[i]), fseek(stream, 0, SEEK_SET);
		show_stream(stream, error);
	}
	show_file(path);
}

int main(void)
{
	make_paths();
	for (int way = 0; way < LEN(WAYS); way++) {
		for (int i = 0; i < PATHS_COUNT; i++) {
			printf("%s ", WAYS[way].name), print_path(PATHS[i]), printf(" = ");
			FILE *stream = CALL(WAYS[way].open(PATHS[i], "r"));
			show_stream(stream, errno);
		}
		written(way);
	}
	for (int wide = 0; wide < 2; wide++) {
		FILE *(*again)(const char *, const char *, FILE *) = wide ? freopen64 : freopen;
		FILE *stream = fopen("dir/file", "r");
		stream = CALL(again("big", "r", stream));
		show_stream(stream, errno);
		stream = fopen("dir/file", "r");
		stream = CALL(again("missing", "r", stream));
		show_stream(stream, errno);
		stream = fopen("reopened", "w");
		fputs("first\n", stream);
		stream = CALL(again("reopened", "a", stream));
		fputs("second\n", stream);
		stream = CALL(again(NULL, "a+", stream));
		show_stream(stream, errno);
		show_file("reopened");
	}
	int fd = open("dir/file", O_RDONLY);
	show_stream(fdopen(fd, "r"), errno);
	P(fdopen(-1, "r"));
	// Standard output itself, sent elsewhere and brought back.
	fflush(stdout);
	int kept = dup(1);
	if (!freopen("captured", "w", stdout))
		die("freopen");
	puts("to the file");
	fflush(stdout);
	dup2(kept, 1);
	show_file("captured");
	return 0;
}
