#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Types into a program on a terminal: `pty_type.py SECONDS PROGRAM ARGS... -- STEP...`. A STEP is
"text" to type (Python escapes: "\\t" is a tab, "\\x03" is Ctrl-C), "?PATTERN", a regular expression
to wait for in what the program prints from here on, or "!COMMAND", which a shell runs meanwhile. Prints what the terminal showed; exit 1
when a pattern did not come within SECONDS, 2 when the program ended before, 3 when a command failed."""

import os
import pty
import re
import select
import subprocess
import sys
import time


def main():
    seconds = float(sys.argv[1])
    split = sys.argv.index("--")
    program, steps = sys.argv[2:split], sys.argv[split + 1 :]
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(program[0], program)
    seen, at, status = "", 0, 0
    for step in steps:
        if step.startswith("!"):
            status = subprocess.run(step[1:], shell=True, stdin=subprocess.DEVNULL, check=False).returncode and 3
            if status:
                break
            continue
        if not step.startswith("?"):
            os.write(fd, step.encode().decode("unicode_escape").encode())
            continue
        end = time.monotonic() + seconds
        while not (found := re.search(step[1:], seen[at:])):
            left = end - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                status = 1
                break
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if not data:
                status = 2
                break
            seen += data.decode(errors="replace")
        if status:
            print(f"not seen: {step[1:]}", file=sys.stderr)
            break
        at += found.end()
    sys.stdout.write(seen)
    os.close(fd)  # the program gets SIGHUP
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    sys.exit(status)


if __name__ == "__main__":
    main()
