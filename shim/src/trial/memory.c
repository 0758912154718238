/* Maps memory of several kinds and shows which the kernel was asked to give in huge pages. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static int wants_huge(void *at)
{
    char line[4096];
    int here = 0, wants = -1;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    while (fgets(line, sizeof line, smaps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from <= (unsigned long)at && (unsigned long)at < to;
        else if (here && !strncmp(line, "VmFlags:", 8))
            wants = strstr(line, " hg") != NULL;
    }
    fclose(smaps);
    return wants;
}

static void show(const char *kind, size_t len, int prot, int flags)
{
    errno = 77;
    char *at = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    int error = errno;
    printf("%s: %s errno %d", kind, at == MAP_FAILED ? "failed" : "mapped", error);
    if (at != MAP_FAILED) {
        printf(" huge %d", wants_huge(at));
        if (prot & PROT_WRITE)
            at[len - 1] = 1;
        munmap(at, len);
    }
    puts("");
}

int main(void)
{
    size_t huge = 2 << 20;
    show("fit", huge, PROT_READ | PROT_WRITE, 0);
    show("small", huge - 4096, PROT_READ | PROT_WRITE, 0);
    show("not to be written", huge, PROT_READ, 0);
    show("sparse", huge, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    show("a stack", huge, PROT_READ | PROT_WRITE, MAP_STACK);
    show("nothing", 0, PROT_READ | PROT_WRITE, 0);
    return 0;
}
