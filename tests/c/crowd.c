// Two hundred threads that each touch something that nobody saw yet, all at the same moment;
// and as many that all want the same.
// fresh: 200
// hooks: open stat
#include "common.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 200 };
static pthread_barrier_t START;
static atomic_int GOOD, SAME, SUM;

static void *touch(void *number)
{
	char path[64], text[32] = "", want[32];
	struct stat st;
	int n = (int)(long)number;
	pthread_barrier_wait(&START);
	snprintf(path, sizeof path, n % 2 ? "fresh/%d/file" : "to-fresh/%d", n);
	snprintf(want, sizeof want, "fresh file %d\n", n);
	int seen = n % 3 ? 1 : stat(path, &st) == 0 && st.st_size == (off_t)strlen(want);
	int fd = open(path, O_RDONLY);
	GOOD += seen && fd >= 0 && read(fd, text, sizeof text - 1) == (ssize_t)strlen(want) && !strcmp(text, want);
	close(fd);
	pthread_barrier_wait(&START);
	unsigned char bytes[4096];
	fd = open("big", O_RDONLY);
	int sum = 0;
	if (fd >= 0 && pread(fd, bytes, sizeof bytes, 150000) == sizeof bytes)
		for (int i = 0; i < (int)sizeof bytes; i++)
			sum += bytes[i];
	close(fd);
	SUM = sum;
	SAME += stat("trees/eight/a/b/leaf", &st) == 0 && stat("trees/eight/a/missing", &st) < 0 && sum > 0;
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	pthread_attr_t small;
	pthread_attr_init(&small), pthread_attr_setstacksize(&small, 256 << 10);
	pthread_barrier_init(&START, NULL, THREADS);
	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], &small, touch, (void *)i) != 0)
			die("pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("good %d, same %d, sum %d\n", GOOD, SAME, SUM);
	fflush(stdout);
	// Processes in the place of threads.
	int bad = 0;
	for (int i = 0; i < 60; i++)
		if (fork() == 0) {
			char path[64];
			struct stat st;
			snprintf(path, sizeof path, "trees/%s/a/b/other", i % 3 ? "one" : i % 2 ? "two" : "three");
			_exit(stat(path, &st) != 0 || open(path, O_RDONLY) < 0);
		}
	for (int status; wait(&status) > 0;)
		bad += status != 0;
	printf("bad %d\n", bad);
	return 0;
}
