"""Run one command and print what it took: exit code, seconds, CPU seconds, peak bytes.

Usage: python -I -S launch.py PROGRAM [ARGUMENT …]

A process of its own, and a small one: Linux counts what a parent has in memory into the peak of its child
(getrusage(2), `ru_maxrss`, is kept over execve). CPU seconds hold those of all descendants that were waited for, the
peak is that of the largest of them.
"""

import os
import sys
import time

QUIET = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]

begin = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=QUIET)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - begin
print(os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
