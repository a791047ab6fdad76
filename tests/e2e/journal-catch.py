#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for systemd-journald: binds the socket given and writes each entry to the file given, one JSON object a line."""
import json
import os
import socket
import sys


def fields(data):
    """The native protocol of journald: NAME=value lines, or NAME, 64-bit length, value."""
    entry = {}
    while data:
        line, _, rest = data.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            name, size = line, int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
        entry[name.decode()] = value.decode("utf-8", "replace")
        data = rest
    return entry


with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.bind(sys.argv[1])
    os.chmod(sys.argv[1], 0o666)
    with open(sys.argv[2], "a", encoding="utf-8") as out:
        while True:
            print(json.dumps(fields(s.recv(65536))), file=out, flush=True)
