"""Runs a program to its end; then, on standard error's last line, what it took: CPU seconds and peak resident KiB."""

import json
import os
import subprocess
import sys

child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
took = {
    "status": os.waitstatus_to_exitcode(status),
    "cpu_s": usage.ru_utime + usage.ru_stime,
    "peak_kib": usage.ru_maxrss,
}
print("\n" + json.dumps(took), file=sys.stderr)
