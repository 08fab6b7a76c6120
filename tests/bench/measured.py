"""Runs a program to its end and prints what it took, by wait4(2), as JSON. Nothing of it is left when this ends.

Usage: measured.py LOG PROGRAM [ARGUMENT...]

LOG gets what the program says. Standard input is held open by whoever wants the program to live: it is killed at its end.
"""

import os
import sys

log, *command = sys.argv[1:]
# Before more is imported: a program begins its life with the peak memory of the process that spawned it.
to_log = [
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
    (os.POSIX_SPAWN_DUP2, 1, 2),
]
child = os.posix_spawn(command[0], command, os.environ, file_actions=to_log)

import json  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402


def outlive_nobody():
    while os.read(0, 4096):
        pass
    os.kill(child, signal.SIGKILL)


threading.Thread(target=outlive_nobody, daemon=True).start()
_, status, usage = os.wait4(child, 0)
print(
    json.dumps(
        {
            "exit_code": os.waitstatus_to_exitcode(status),
            "user_s": usage.ru_utime,
            "system_s": usage.ru_stime,
            "peak_rss_kib": usage.ru_maxrss,
        }
    ),
    flush=True,
)
# At once: the thread above still reads.
os._exit(0)
