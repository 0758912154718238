// What cannot be executed says so in the system's own words: cut short, of a wrong kind,
// with an interpreter that is none, without permission; to the program and to shells.
// beside: static
// hooks: execve mkfifo chmod
#include "common.h"
#include <elf.h>
#include <stddef.h>
#include <sys/resource.h>

static char *ARGV[] = { "zeroth", "3", NULL }, *ENV[] = { "A=1", NULL };
static char PROGRAM[4 << 20];
static size_t SIZE;

static void attempt(const char *path)
{
	char command[256];
	printf("%s ", path);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		execve(path, ARGV, ENV);
		printf("%s\n", error_name(errno));
		fflush(stdout);
		_exit(98);
	}
	show_end("execve", child);
	const char *shells[] = { "/bin/dash", "/bin/bash" };
	struct stat st;
	// bash opens what it was refused, to see whether it is text, and would wait for a writer.
	int count = stat(path, &st) == 0 && S_ISFIFO(st.st_mode) ? 1 : LEN(shells);
	for (int i = 0; i < count; i++) {
		// Shells say which line of which text; and a crash in their own words, to stderr.
		snprintf(command, sizeof command, "%s -c './%s 3' 2>&1; echo %s: $?", shells[i], path, shells[i]);
		fflush(stdout);
		if (system(command) != 0)
			printf("%s failed\n", shells[i]);
	}
}

static void made(const char *path, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || close(fd) != 0)
		die(path);
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY);
	SIZE = read(fd, PROGRAM, sizeof PROGRAM);
	close(fd);
}

// Puts another interpreter into a copy of the program.
static void interpreter(const char *name, const char *path)
{
	Elf64_Ehdr *head = (Elf64_Ehdr *)PROGRAM;
	Elf64_Phdr *rows = (Elf64_Phdr *)(PROGRAM + head->e_phoff);
	char kept[64];
	for (int i = 0; i < head->e_phnum; i++)
		if (rows[i].p_type == PT_INTERP) {
			char *at = PROGRAM + rows[i].p_offset;
			memcpy(kept, at, rows[i].p_filesz);
			memset(at, 0, rows[i].p_filesz), strncpy(at, path, rows[i].p_filesz - 1);
			made(name, PROGRAM, SIZE);
			memcpy(at, kept, rows[i].p_filesz);
		}
	attempt(name);
}

static void cut(const char *path)
{
	char name[64];
	size_t lengths[] = { 1, 3, 4, 15, 16, 20, 52, 63, 64, 65, 120, 500 };
	load(path);
	for (int i = 0; i < LEN(lengths); i++) {
		snprintf(name, sizeof name, "cut/%zu", lengths[i]);
		made(name, PROGRAM, lengths[i]);
		attempt(name);
	}
}

static void patched(const char *name, size_t at, unsigned char byte)
{
	unsigned char kept = PROGRAM[at];
	PROGRAM[at] = byte, made(name, PROGRAM, SIZE), PROGRAM[at] = kept;
	attempt(name);
}

int main(void)
{
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	mkdir("cut", 0755), mkdir("odd-ones", 0755);
	cut("bin/child"), cut("bin/static");
	load("bin/child");
	patched("odd-ones/class", EI_CLASS, 9), patched("odd-ones/machine", offsetof(Elf64_Ehdr, e_machine), 0xb7), patched("odd-ones/type", offsetof(Elf64_Ehdr, e_type), ET_REL);
	patched("odd-ones/headers", offsetof(Elf64_Ehdr, e_phentsize), 1), patched("odd-ones/no-headers", offsetof(Elf64_Ehdr, e_phnum), 0);
	patched("odd-ones/far-headers", offsetof(Elf64_Ehdr, e_phoff) + 6, 0x7f), patched("odd-ones/magic", 0, 'x');
	interpreter("odd-ones/interpreter-missing", "/missing/ld.so"), interpreter("odd-ones/interpreter-script", "dir/script.sh"), interpreter("odd-ones/interpreter-dir", "dir");
	interpreter("odd-ones/interpreter-text", "dir/file"), interpreter("odd-ones/interpreter-closed", "closed/file"), interpreter("odd-ones/interpreter-cut", "cut/64");
	interpreter("odd-ones/interpreter-loop", "loop"), interpreter("odd-ones/interpreter-empty", "");
	// Scripts.
	attempt("dir/nested-script"), attempt("dir/bad-script"), attempt("dir/loop-script"), attempt("dir/long-script"), attempt("dir/no-magic"), attempt("dir/empty-exec");
	made("odd-ones/dir-script", "#!/\n", 4), attempt("odd-ones/dir-script");
	made("odd-ones/text-script", "#!dir/file\n", 11), attempt("odd-ones/text-script");
	made("odd-ones/endless", "#!/bin/sh", 9), attempt("odd-ones/endless");
	made("odd-ones/bare", "#!", 2), attempt("odd-ones/bare");
	made("odd-ones/blank", "#!  \n", 5), attempt("odd-ones/blank");
	made("odd-ones/carriage", "#!/bin/sh\r\necho x\n", 18), attempt("odd-ones/carriage");
	made("odd-ones/nul", "#!/bin/sh\0x\necho x\n", 19), attempt("odd-ones/nul");
	made("odd-ones/binary", "\0\1\2\3", 4), attempt("odd-ones/binary");
	// Things of another kind, and without permission.
	R(mkfifo("odd-ones/fifo", 0777)); attempt("odd-ones/fifo"); R(unlink("odd-ones/fifo"));
	attempt("dir"), attempt("dir/file"), attempt("dir/file/x"), attempt("missing"), attempt("dangling"), attempt("loop"), attempt("closed/file"), attempt("trees/one/a/b/leaf"), attempt("trees/one/a/b/up");
	R(chmod("dir/script.sh", 0644)); attempt("dir/script.sh"); R(chmod("dir/script.sh", 0001)); attempt("dir/script.sh"); R(chmod("dir/script.sh", 0100)); attempt("dir/script.sh");
	R(chmod("bin/child", 0111)); attempt("bin/child"); R(chmod("bin/child", 0644)); attempt("bin/child");
	return 0;
}
