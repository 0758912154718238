import fcntl
import time

with open("counter", "r+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    count = int(file.read())
    time.sleep(0.05)
    file.seek(0)
    file.write(str(count + 1))
