// posix_spawn with every file action and every attribute, alone, together and in vain.
// hooks: posix_spawn posix_spawnp posix_spawn_file_actions_init posix_spawn_file_actions_adddup2
#include "common.h"
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <termios.h>

static char *ARGV[] = { "zeroth", "3", NULL }, *ENV[] = { "A=1", NULL }, *READING[] = { "READ=0", NULL };
static posix_spawn_file_actions_t ACTIONS;
static posix_spawnattr_t ATTRIBUTES;

static void begin(void)
{
	posix_spawn_file_actions_init(&ACTIONS);
	posix_spawnattr_init(&ATTRIBUTES);
}

static void run(const char *what, const char *program, char **env)
{
	pid_t child = -1;
	fflush(stdout);
	int error = posix_spawn(&child, program, &ACTIONS, &ATTRIBUTES, ARGV, env);
	if (error)
		printf("%s: %s\n", what, error_name(error));
	else
		show_end(what, child);
	fflush(stdout);
	error = posix_spawnp(&child, strrchr(program, '/') ? strrchr(program, '/') + 1 : program, &ACTIONS, &ATTRIBUTES, ARGV, env);
	if (error)
		printf("%s, by PATH: %s\n", what, error_name(error));
	else
		show_end(what, child);
	posix_spawn_file_actions_destroy(&ACTIONS), posix_spawnattr_destroy(&ATTRIBUTES);
	begin();
}

static void actions(void)
{
	int dir = open("trees/two", O_RDONLY | O_DIRECTORY), file = open("dir/file", O_RDONLY);
	dup2(file, 17), dup2(file, 9);
	R(posix_spawn_file_actions_addopen(&ACTIONS, 0, "trees/three/a/b/leaf", O_RDONLY, 0)); run("open", "bin/child", READING);
	R(posix_spawn_file_actions_addopen(&ACTIONS, 4, "spawned", O_WRONLY | O_CREAT | O_EXCL, 0604)); run("open anew", "bin/child", ENV); show_path("spawned");
	R(posix_spawn_file_actions_addopen(&ACTIONS, 0, "trees/missing/leaf", O_RDONLY, 0)); run("open in vain", "bin/child", READING);
	R(posix_spawn_file_actions_addopen(&ACTIONS, 0, "loop", O_RDONLY, 0)); run("open a loop", "bin/child", READING);
	R(posix_spawn_file_actions_addopen(&ACTIONS, -1, "dir/file", O_RDONLY, 0));
	R(posix_spawn_file_actions_addclose(&ACTIONS, 17)); R(posix_spawn_file_actions_addclose(&ACTIONS, 300)); run("close", "bin/child", ENV);
	R(posix_spawn_file_actions_adddup2(&ACTIONS, 9, 0)); run("dup2", "bin/child", READING);
	lseek(file, 0, SEEK_SET);
	R(posix_spawn_file_actions_adddup2(&ACTIONS, 17, 17)); run("dup2 to itself", "bin/child", ENV);
	R(posix_spawn_file_actions_adddup2(&ACTIONS, 400, 3)); run("dup2 of none", "bin/child", ENV);
	R(posix_spawn_file_actions_addchdir_np(&ACTIONS, "trees/four/a")); R(posix_spawn_file_actions_addopen(&ACTIONS, 0, "b/leaf", O_RDONLY, 0)); run("chdir", "../../../bin/child", READING);
	R(posix_spawn_file_actions_addchdir_np(&ACTIONS, "missing")); run("chdir in vain", "bin/child", ENV);
	R(posix_spawn_file_actions_addchdir_np(&ACTIONS, "dir/file")); run("chdir to a file", "bin/child", ENV);
	R(posix_spawn_file_actions_addfchdir_np(&ACTIONS, dir)); R(posix_spawn_file_actions_addopen(&ACTIONS, 0, "a/b/leaf", O_RDONLY, 0)); run("fchdir", "../../bin/child", READING);
	R(posix_spawn_file_actions_addfchdir_np(&ACTIONS, 500)); run("fchdir in vain", "bin/child", ENV);
	R(posix_spawn_file_actions_addclosefrom_np(&ACTIONS, 4)); run("closefrom", "bin/child", ENV);
	R(posix_spawn_file_actions_addclosefrom_np(&ACTIONS, 3)); R(posix_spawn_file_actions_addopen(&ACTIONS, 5, "big", O_RDONLY, 0)); R(posix_spawn_file_actions_addfchdir_np(&ACTIONS, 5)); run("all closed, then a file to go to", "bin/child", ENV);
	R(posix_spawn_file_actions_addclosefrom_np(&ACTIONS, -1));
	R(posix_spawn_file_actions_addtcsetpgrp_np(&ACTIONS, file)); run("tcsetpgrp of a file", "bin/child", ENV);
	close(dir), close(file), close(17), close(9);
}

static void ids(void)
{
	R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_RESETIDS)); run("resetids", "bin/child", ENV);
	R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETSID)); run("setsid", "bin/child", ENV);
	R(posix_spawnattr_setpgroup(&ATTRIBUTES, 0)); R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETPGROUP)); run("pgroup", "bin/child", ENV);
	R(posix_spawnattr_setpgroup(&ATTRIBUTES, getpgrp())); R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETPGROUP)); run("pgroup of its parent", "bin/child", ENV);
	R(posix_spawnattr_setpgroup(&ATTRIBUTES, 1)); R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETPGROUP)); run("pgroup of another", "bin/child", ENV);
	R(posix_spawnattr_setflags(&ATTRIBUTES, 0x4000));
}

static void signals(void)
{
	sigset_t set;
	signal(SIGUSR1, SIG_IGN), signal(SIGHUP, SIG_IGN), signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set), sigaddset(&set, SIGCHLD), sigprocmask(SIG_BLOCK, &set, NULL);
	run("inherited signals", "bin/child", ENV);
	sigemptyset(&set), sigaddset(&set, SIGUSR2), sigaddset(&set, SIGTERM);
	R(posix_spawnattr_setsigmask(&ATTRIBUTES, &set)); R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETSIGMASK)); run("sigmask", "bin/child", ENV);
	sigemptyset(&set), sigaddset(&set, SIGHUP), sigaddset(&set, SIGPIPE);
	R(posix_spawnattr_setsigdefault(&ATTRIBUTES, &set)); R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETSIGDEF)); run("sigdefault", "bin/child", ENV);
	signal(SIGUSR1, SIG_DFL), signal(SIGHUP, SIG_DFL), signal(SIGPIPE, SIG_DFL);
	sigemptyset(&set), sigprocmask(SIG_SETMASK, &set, NULL);
}

static void scheduling(void)
{
	struct sched_param zero = { 0 }, ten = { 10 };
	char *argv[] = { "sh", "-c", "cut -d' ' -f41 /proc/self/stat", NULL };
	int policies[] = { SCHED_OTHER, SCHED_BATCH, SCHED_IDLE };
	for (int i = 0; i < LEN(policies); i++) {
		pid_t child;
		R(posix_spawnattr_setschedpolicy(&ATTRIBUTES, policies[i])); R(posix_spawnattr_setschedparam(&ATTRIBUTES, &zero));
		R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETSCHEDULER));
		fflush(stdout);
		int error = posix_spawn(&child, "/bin/sh", NULL, &ATTRIBUTES, argv, ENV);
		show_end(error ? error_name(error) : "scheduler", child);
	}
	R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETSCHEDPARAM)); run("parameters", "bin/child", ENV);
	R(posix_spawnattr_setschedparam(&ATTRIBUTES, &ten)); R(posix_spawnattr_setschedpolicy(&ATTRIBUTES, SCHED_OTHER));
	R(posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETSCHEDULER)); run("a priority that there is not", "bin/child", ENV);
}

// A terminal of its own, whose foreground group a started program becomes.
static void terminal(void)
{
	fflush(stdout);
	pid_t leader = fork();
	if (leader != 0) {
		show_end("leader", leader);
		return;
	}
	setsid();
	int master = posix_openpt(O_RDWR | O_NOCTTY), status;
	if (master < 0 || grantpt(master) || unlockpt(master))
		die("posix_openpt");
	int slave = open(ptsname(master), O_RDWR);
	if (slave < 0)
		die("ptsname");
	printf("terminal: mine %d\n", tcgetpgrp(slave) == getpgrp());
	pid_t child;
	signal(SIGTTOU, SIG_IGN);
	posix_spawnattr_setpgroup(&ATTRIBUTES, 0), posix_spawnattr_setflags(&ATTRIBUTES, POSIX_SPAWN_SETPGROUP);
	R(posix_spawn_file_actions_addtcsetpgrp_np(&ACTIONS, slave));
	fflush(stdout);
	R(posix_spawn(&child, "/bin/sleep", &ACTIONS, &ATTRIBUTES, (char *[]){ "sleep", "0.1", NULL }, ENV));
	printf("the child's %d\n", tcgetpgrp(slave) == child);
	waitpid(child, &status, 0);
	tcsetpgrp(slave, getpgrp());
	fflush(stdout);
	_exit(status);
}

int main(void)
{
	// By name, every run finds the fixture's own programs.
	char path[PATH_MAX], cwd[PATH_MAX - 32];
	snprintf(path, sizeof path, "%s/bin:/usr/bin:/bin", getcwd(cwd, sizeof cwd));
	setenv("PATH", path, 1);
	begin();
	actions(), ids(), signals(), scheduling(), terminal();
	show_dir(".");
	return 0;
}
