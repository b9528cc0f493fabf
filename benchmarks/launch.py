"""Run one command and print what it took: exit code, seconds, CPU seconds, peak bytes.

Usage: python -I -S launch.py SECONDS PROGRAM [ARGUMENT …]

After so many seconds it is killed; its exit code is -9 then.

A process of its own, and a small one: Linux counts what a parent has in memory into the peak of its child
(getrusage(2), `ru_maxrss`, is kept over execve). CPU seconds hold those of all descendants that were waited for, the
peak is that of the largest of them.
"""

import os
import signal
import sys
import time

QUIET = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]

begin = time.perf_counter()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=QUIET)
signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
signal.alarm(int(sys.argv[1]))
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - begin
print(os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
