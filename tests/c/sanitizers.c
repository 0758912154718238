// Programs built with sanitizers do not bear a library preloaded before theirs: started in
// every way, also by a thread that is not the first, content and faulty.
// not in: off -- a library that is switched off puts no environment right
// beside: asan ubsan tsan
// hooks: execv posix_spawn
#include "common.h"
#include <pthread.h>
#include <spawn.h>

extern char **environ;
static const char *const PROGRAMS[] = { "bin/asan", "bin/ubsan", "bin/tsan" };

static void *become(void *program)
{
	execv(program, (char *[]){ program, "content", NULL });
	_exit(99);
}

int main(void)
{
	pid_t child;
	pthread_t thread;
	// Reports of faults hold addresses; whether there was one is told by the status.
	setenv("TSAN_OPTIONS", "exitcode=66", 1), setenv("UBSAN_OPTIONS", "halt_on_error=1:exitcode=67", 1);
	dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
	for (int i = 0; i < LEN(PROGRAMS); i++) {
		char *program = (char *)PROGRAMS[i];
		char *const faults[] = { "", "heap", "overflow", "race" };
		for (int fault = 0; fault < LEN(faults); fault++) {
			printf("%s %s\n", program, faults[fault]);
			fflush(stdout);
			int error = posix_spawn(&child, program, NULL, NULL, (char *[]){ program, faults[fault], NULL }, environ);
			show_end(error ? error_name(error) : "spawned", child);
		}
		fflush(stdout);
		if ((child = fork()) == 0)
			execv(program, (char *[]){ program, NULL }), _exit(99);
		show_end("forked", child);
		fflush(stdout);
		if ((child = fork()) == 0) {
			pthread_create(&thread, NULL, become, program);
			for (;;)
				pause();
		}
		show_end("by a thread", child);
		// The one before and after it take the library as ever.
		fflush(stdout);
		char command[128];
		snprintf(command, sizeof command, "bin/child 0 | head -1; %s; bin/child 0 | head -1; exec %s", program, program);
		R(system(command));
	}
	return 0;
}
