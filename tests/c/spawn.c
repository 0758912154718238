// posix_spawn with actions and attributes, present and missing programs.
// hooks: posix_spawn posix_spawnp posix_spawn_file_actions_init posix_spawn_file_actions_adddup2 pipe pipe2 __pipe
#include "common.h"
#include <spawn.h>

extern char **environ;
static char *ARGV[] = { "zeroth", "3", "two words", NULL }, *ENV[] = { "A=1", "READ=0", NULL };

static void spawned(const char *what, int error, pid_t child)
{
	if (error)
		printf("%s: %s\n", what, error_name(error));
	else
		show_end(what, child);
}

#define SPAWN(call) do { \
	pid_t child = -1; \
	fflush(stdout); \
	int error = call; \
	spawned(#call, error, child); \
} while (0)

int main(void)
{
	const char *programs[] = { "bin/child", "dir/script.sh", "dir/env-script", "bin/link", "missing", "dir/file", "dir", "loop", "dir/no-magic", "child", "true", "", "dir/bad-script" };
	posix_spawn_file_actions_t none, actions, failing, there;
	posix_spawnattr_t attributes;
	sigset_t set;
	posix_spawn_file_actions_init(&none);
	for (int i = 0; i < LEN(programs); i++) {
		const char *program = programs[i];
		print_path(program), putchar('\n');
		SPAWN(posix_spawn(&child, program, NULL, NULL, ARGV, environ));
		SPAWN(posix_spawnp(&child, program, &none, NULL, ARGV, environ));
	}
	setenv("PATH", "missing:dir:bin:/usr/bin:/bin", 1);
	SPAWN(posix_spawnp(&child, "child", NULL, NULL, ARGV, environ));
	SPAWN(posix_spawnp(&child, "no-magic", NULL, NULL, ARGV, environ));
	SPAWN(posix_spawnp(&child, "not-anywhere", NULL, NULL, ARGV, ENV));
	SPAWN(posix_spawn(NULL, "missing", NULL, NULL, ARGV, ENV));

	// Actions: files opened by the child, directories changed on the way.
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "dir/file", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 7, "spawned-out", O_WRONLY | O_CREAT | O_TRUNC, 0640);
	posix_spawn_file_actions_adddup2(&actions, 7, 2);
	posix_spawn_file_actions_addchdir_np(&actions, "dir/sub");
	SPAWN(posix_spawn(&child, "../../bin/child", &actions, NULL, ARGV, ENV));
	show_path("spawned-out");
	int sub = open("trees/one", O_RDONLY | O_CLOEXEC), high = open("big", O_RDONLY);
	dup2(high, 12);
	posix_spawn_file_actions_init(&there);
	posix_spawn_file_actions_addfchdir_np(&there, sub);
	posix_spawn_file_actions_addclosefrom_np(&there, 9);
	posix_spawn_file_actions_addclose(&there, high);
	posix_spawn_file_actions_addopen(&there, 0, "a/b/leaf", O_RDONLY, 0);
	SPAWN(posix_spawn(&child, "../../bin/child", &there, NULL, ARGV, ENV));
	close(12), close(high);
	posix_spawn_file_actions_init(&failing);
	posix_spawn_file_actions_addopen(&failing, 0, "missing/x", O_RDONLY, 0);
	SPAWN(posix_spawn(&child, "bin/child", &failing, NULL, ARGV, ENV));
	SPAWN(posix_spawnp(&child, "child", &failing, NULL, ARGV, ENV));

	// Output read back through pipes, by spawn and by fork and exec.
	int ends[2][2];
	char text[4096] = "";
	extern int __pipe(int *);
	R(__pipe(ends[0])), close(ends[0][0]), close(ends[0][1]);
	R(pipe(ends[0])), R(pipe2(ends[1], O_CLOEXEC)), R(pipe((int *)BAD_POINTER)), R(pipe2(ends[1], 0x10));
	posix_spawn_file_actions_t reading;
	posix_spawn_file_actions_init(&reading);
	posix_spawn_file_actions_adddup2(&reading, ends[0][1], 1);
	for (int end = 0; end < 2; end++)
		posix_spawn_file_actions_addclose(&reading, ends[0][end]);
	posix_spawn_file_actions_addclosefrom_np(&reading, 9);
	SPAWN(posix_spawnp(&child, "child", &reading, NULL, ARGV, (char *[]){ "A=1", NULL }));
	close(ends[0][1]), R(read(ends[0][0], text, sizeof text - 1) > 0), print_path(text), putchar('\n');
	fflush(stdout);
	if (fork() == 0) {
		dup2(ends[1][1], 1);
		execl("/bin/echo", "echo", "through pipe2", (char *)NULL);
	}
	memset(text, 0, sizeof text);
	close(ends[1][1]), R(read(ends[1][0], text, sizeof text - 1)), print_path(text), putchar('\n');
	wait(NULL);
	close(ends[0][0]), close(ends[1][0]);

	// Attributes: mask, defaults, group.
	posix_spawnattr_init(&attributes);
	sigemptyset(&set), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGTERM);
	posix_spawnattr_setsigmask(&attributes, &set);
	signal(SIGUSR1, SIG_IGN), signal(SIGHUP, SIG_IGN);
	sigemptyset(&set), sigaddset(&set, SIGHUP);
	posix_spawnattr_setsigdefault(&attributes, &set);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	SPAWN(posix_spawn(&child, "bin/child", NULL, &attributes, ARGV, (char *[]){ "A=1", NULL }));
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_USEVFORK | POSIX_SPAWN_SETSID);
	SPAWN(posix_spawnp(&child, "child", NULL, &attributes, ARGV, (char *[]){ "A=1", NULL }));
	show_dir(".");
	return 0;
}
