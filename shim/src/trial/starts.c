/* Starts a program by each function that can, from a child of fork and of vfork. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *argv_[] = {"zero", "one", "", "three three", "4", "5", "6", "7", NULL};
static char *envp_[] = {"MARK=own", NULL};
#define LIST "zero", "one", "", "three three", "4", "5", "6", "7", (char *)NULL

static void become(int how, const char *path, const char *name)
{
    switch (how) {
    case 0: execve(path, argv_, envp_); break;
    case 1: execv(path, argv_); break;
    case 2: execvp(name, argv_); break;
    case 3: execvpe(name, argv_, envp_); break;
    case 4: execl(path, LIST); break;
    case 5: execlp(name, LIST); break;
    case 6: execle(path, LIST, envp_); break;
    case 7: execl(path, "zero", (char *)NULL); break;
    case 8: fexecve(open(path, O_RDONLY), argv_, envp_); break;
    case 9: execveat(AT_FDCWD, path, argv_, envp_, 0); break;
    }
}

int main(int argc, char **argv)
{
    const char *path = argv[1], *name = strrchr(path, '/') + 1;
    int status, error;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    for (int how = 0; how < 10; how++)
        for (int kind = 0; kind < 2; kind++) {
            printf("%d %d: ", how, kind);
            fflush(stdout);
            pid = kind ? vfork() : fork();
            if (pid == 0) {
                become(how, path, name);
                _exit(99);
            }
            waitpid(pid, &status, 0);
            printf("%x\n", status);
        }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    for (int how = 0; how < 4; how++) {
        printf("spawn %d: ", how);
        fflush(stdout);
        pid = -1;
        error = how & 1 ? posix_spawnp(&pid, name, how & 2 ? &actions : NULL, NULL, argv_, how & 2 ? envp_ : environ)
                        : posix_spawn(&pid, path, how & 2 ? &actions : NULL, NULL, argv_, how & 2 ? envp_ : environ);
        status = -1;
        if (!error)
            waitpid(pid, &status, 0);
        printf("%d %x\n", error, status);
    }
    posix_spawn_file_actions_destroy(&actions);
    return 0;
}
