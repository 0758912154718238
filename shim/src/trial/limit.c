/* Finds how many arguments a program can be started with. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int fits(char *program, long count)
{
    char **argv = calloc(count + 2, sizeof *argv);
    int status;
    argv[0] = program;
    for (long i = 1; i <= count; i++)
        argv[i] = "argument";
    pid_t pid = fork();
    if (pid == 0) {
        freopen("/dev/null", "w", stdout);
        execv(program, argv);
        _exit(99);
    }
    waitpid(pid, &status, 0);
    free(argv);
    return WEXITSTATUS(status) != 99;
}

int main(int argc, char **argv)
{
    long low = 1, high = 1 << 20;
    while (high - low > 1) {
        long middle = (low + high) / 2;
        if (fits(argv[1], middle))
            low = middle;
        else
            high = middle;
    }
    printf("%ld\n", low);
    return 0;
}
