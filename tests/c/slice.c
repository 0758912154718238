// The turns that a job gets at a processor are like any other's: workerd's own short ones
// are not inherited.
// hooks: syscall
#include "common.h"
#include <linux/sched/types.h>
#include <sys/syscall.h>

int main(void)
{
	struct sched_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	long done = syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0);
	printf("sched_getattr %ld policy %u nice %d slice %llu\n", done, attributes.sched_policy, attributes.sched_nice,
	       (unsigned long long)attributes.sched_runtime);
	return 0;
}
