#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends the same well-formed and malformed requests to a live QEMU and to
vmpoked and compares the error classes, request by request, each on a
connection of its own. qmp_compat.py REQUESTS.json QEMU-SOCKET VMPOKED-SOCKET
prints one result line per request."""

import json
import socket
import sys

from qmp import Qmp

SENTINEL = "end-of-answer"


class LenientQmp(Qmp):
    """QEMU answers an id of 1e400 with a bare inf, which is no JSON."""

    def message(self):
        line = self.stream.readline()
        return json.loads(line.replace(b'"id": inf', b'"id": "inf"')) if line else None


def classify(message):
    """"return", or the class of an error."""
    if "return" in message:
        return "return"
    return message.get("error", {}).get("class", "no error class")


def answers(path, request):
    """Classes of everything the peer says to one request, in order."""
    qmp = LenientQmp(path, negotiate=request.get("negotiated", True), timeout=120)
    try:
        raw = request["send"].encode() if "send" in request else bytes.fromhex(request["send_hex"])
        qmp.send(raw)
        # What follows tells where the answer ends, and that the parser has recovered.
        # A parser in the middle of a broken message needs the reset byte first.
        qmp.send(b"\xff" + json.dumps({"execute": "query-version", "id": SENTINEL}).encode() + b"\n")
        seen = []
        while True:
            message = qmp.reply()
            if message.get("id") == SENTINEL:
                return seen
            seen.append(classify(message))
    finally:
        qmp.close()


def first(seen):
    return seen[0] if seen else "silence"


def compare(request, qemu, vmpoked):
    try:
        ours = first(answers(vmpoked, request))
        theirs = first(answers(qemu, request))
    except (OSError, EOFError, ValueError, socket.timeout) as problem:
        return f"not ok {request['name']}: {type(problem).__name__}: {problem}"
    if ours != theirs:
        return f"not ok {request['name']}: vmpoked says {ours}, QEMU {theirs}"
    expected = request.get("class", theirs)
    if ours != expected:
        return f"not ok {request['name']}: both say {ours}, recorded was {expected}"
    return f"ok {request['name']}"


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        requests = json.load(source)
    results = [compare(request, sys.argv[2], sys.argv[3]) for request in requests]
    print("\n".join(results))
    sys.exit(any(line.startswith("not ok") for line in results))


if __name__ == "__main__":
    main()
