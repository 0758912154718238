/* Shows what it was started with. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    for (int i = 0; i < argc && i < 20; i++)
        printf("[%s]", argv[i]);
    printf(" %d %s\n", argc, getenv("MARK") ? getenv("MARK") : "-");
    fflush(stdout);
    return 40 + argc % 10;
}
