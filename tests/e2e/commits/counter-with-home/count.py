import fcntl
import sys
import time

with open("counter", "r+") as counter:
    fcntl.lockf(counter, fcntl.LOCK_EX)
    count = int(counter.read())
    time.sleep(float(sys.argv[1]))
    counter.seek(0)
    counter.write("%d\n" % (count + 1))
