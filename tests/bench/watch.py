#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints how long each pause of a VM was, in microseconds, one a line, by the
time stamps QEMU itself puts on its STOP and RESUME events: the same clock for
whoever caused the pause. watch.py SOCKET [says "ready" first, ends on SIGTERM]"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from qmp import Qmp  # noqa: E402  (the tests' QMP client)


def microseconds(event):
    stamp = event["timestamp"]
    return stamp["seconds"] * 1000000 + stamp["microseconds"]


def main():
    qmp = Qmp(sys.argv[1], timeout=None)
    print("ready", flush=True)
    stopped = None
    while True:
        event = qmp.message()
        if event is None:
            return
        if event.get("event") == "STOP":
            stopped = microseconds(event)
        elif event.get("event") == "RESUME" and stopped is not None:
            print(microseconds(event) - stopped, flush=True)
            stopped = None


if __name__ == "__main__":
    main()
