// Carries out a list of file operations and prints what each one answered, in a form
// that is the same on every file system: no inode numbers, no device numbers, no present
// time. Several processes take turns, so that the order is that of the list.
//
// operations ROOT LIST            one operation a line: PROCESS NAME ARGUMENT ...
//
// A path argument may begin with `@/` (below ROOT), or `N:` (relative to descriptor N).

#include "calls.h"
#include <sys/prctl.h>
#include <sys/wait.h>

#define PROCESSES 4
// Where the pipes lie that pass the turn on, and the one that gives it back.
#define TURNS 200
#define DONE (TURNS + 2 * PROCESSES)
#define WORDS 8

static int self;

static void serve(void);

// The child is another process of the list from here on, with this one's descriptors
// and working directory.
static long do_fork(char **w)
{
	int number = atoi(w[1]);
	pid_t child = fork();
	if (child != 0)
		return child < 0 ? -1 : 0;
	self = number;
	length = 0;
	serve();
	_exit(0);
}

// The same process in a new image; who it is stands in its arguments.
static long do_exec(char **w)
{
	struct place p;
	char number[12];
	snprintf(number, sizeof number, "%d", self);
	(void)w;
	at(&p, "@/../operations");
	execl(p.path, "operations", root, list, number, (char *)NULL);
	return -1;
}

static const struct operation {
	const char *name;
	long (*run)(char **words);
} OPERATIONS[] = {
	{ "open", do_open }, { "close", do_close }, { "read", do_read }, { "pread", do_pread }, { "write", do_write },
	{ "pwrite", do_pwrite }, { "lseek", do_lseek }, { "ftruncate", do_ftruncate }, { "fallocate", do_fallocate },
	{ "truncate", do_truncate }, { "map", do_map }, { "stat", do_stat }, { "lstat", do_lstat }, { "fstat", do_fstat },
	{ "access", do_access }, { "list", do_list }, { "readlink", do_readlink }, { "realpath", do_realpath },
	{ "rename", do_rename }, { "exchange", do_exchange }, { "noreplace", do_noreplace }, { "link", do_link },
	{ "linkfollow", do_linkfollow }, { "linkopen", do_linkopen }, { "tmpfile", do_tmpfile }, { "symlink", do_symlink },
	{ "unlink", do_unlink }, { "rmdir", do_rmdir }, { "mkdir", do_mkdir }, { "chmod", do_chmod }, { "fchmod", do_fchmod },
	{ "chown", do_chown }, { "utimens", do_utimens }, { "futimens", do_futimens }, { "copy", do_copy },
	{ "range", do_range }, { "sendfile", do_sendfile }, { "stream", do_stream }, { "chdir", do_chdir },
	{ "fchdir", do_fchdir }, { "umask", do_umask }, { "fork", do_fork }, { "exec", do_exec },
};

// Splits a copy of the line that begins at `from`; answers the number of words.
static int split(const char *from, char *line, size_t room, char *words[WORDS])
{
	size_t all = strcspn(from, "\n");
	int count = 0;
	snprintf(line, room, "%.*s", (int)all, from);
	for (char *word = strtok(line, " "); word && count < WORDS - 1; word = strtok(NULL, " "))
		words[count++] = word;
	for (int i = count; i < WORDS; i++)
		words[i] = "";
	return count;
}

static void tell(void)
{
	for (size_t done = 0; done < length;) {
		ssize_t wrote = CALL(write(1, said + done, length - done));
		if (wrote <= 0)
			die("write");
		done += wrote;
	}
	length = 0;
}

static void run(const char *from)
{
	char line[2 * PATH_MAX];
	char *words[WORDS];
	split(from, line, sizeof line, words);
	for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++) {
		if (strcmp(words[1], OPERATIONS[i].name) != 0)
			continue;
		errno = 0;
		long answer = OPERATIONS[i].run(words + 1);
		int error = errno;
		say(" = ");
		if (answer == -1)
			say("%s", error ? strerrorname_np(error) : "no errno");
		else
			say("%ld", answer);
		say("\n");
		return;
	}
	say("no such operation: %s\n", words[1]);
}

// Waits for its turns until the pipe that brings them is closed. A turn is the offset of
// a line in the list.
static void serve(void)
{
	int32_t offset;
	while (CALL(read(TURNS + 2 * self, &offset, sizeof offset)) == sizeof offset && offset >= 0) {
		int32_t number = 1;
		for (const char *c = list; c < list + offset; c++)
			number += *c == '\n';
		say("%d", number);
		run(list + offset);
		tell();
		if (CALL(write(DONE + 1, "", 1)) != 1)
			die("turn");
	}
}

static void pipe_at(int where)
{
	int ends[2];
	if (pipe(ends) != 0 || dup2(ends[0], where) < 0 || dup2(ends[1], where + 1) < 0)
		die("pipe");
	close(ends[0]), close(ends[1]);
}

// Gives each line to its process and waits until that has carried it out.
static void conduct(void)
{
	char line[2 * PATH_MAX], done;
	char *words[WORDS];
	for (const char *at = list; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		int32_t offset = at - list;
		if (split(at, line, sizeof line, words) == 0)
			continue;
		if (CALL(write(TURNS + 2 * (atoi(words[0]) % PROCESSES) + 1, &offset, sizeof offset)) != sizeof offset)
			die("turn");
		if (CALL(read(DONE, &done, 1)) != 1)
			die("turn");
	}
	int32_t end = -1;
	for (int i = 0; i < PROCESSES; i++)
		if (write(TURNS + 2 * i + 1, &end, sizeof end) != sizeof end)
			die("end");
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	root = argv[1], list = argv[2];
	if (argc == 4) {
		self = atoi(argv[3]);
		say(" = 0\n");
		tell();
		if (CALL(write(DONE + 1, "", 1)) != 1)
			die("turn");
		serve();
		return 0;
	}
	for (int i = 0; i <= PROCESSES; i++)
		pipe_at(TURNS + 2 * i);
	// A subreaper, so that the job ends only after all of its processes.
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		die("prctl");
	pid_t first = fork();
	if (first == 0) {
		serve();
		return 0;
	}
	conduct();
	while (wait(NULL) > 0)
		;
	return 0;
}
