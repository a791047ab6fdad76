#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client in a few lines, for tests: `qmp.py SOCKET JSON...` sends the
commands after capabilities negotiation and prints one reply a line. Only the
standard library, and none of the project's own code, so that it can judge it."""

import json
import socket
import sys


class Qmp:
    """One connection. Events that arrive meanwhile are kept in self.events."""

    def __init__(self, path, negotiate=True, timeout=120):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.stream = self.sock.makefile("rb")
        self.events = []
        self.greeting = self.message()
        if negotiate:
            self.call("qmp_capabilities")

    def message(self):
        """The next message, whatever it is; None at the end."""
        line = self.stream.readline()
        return json.loads(line) if line else None

    def reply(self):
        """The next message that is no event."""
        while True:
            message = self.message()
            if message is None:
                raise EOFError("the peer closed the connection")
            if "event" not in message:
                return message
            self.events.append(message)

    def send(self, raw):
        self.sock.sendall(raw)

    def call(self, command, **arguments):
        names = {key.replace("_", "-"): value for key, value in arguments.items()}
        request = {"execute": command}
        if names:
            request["arguments"] = names
        self.send(json.dumps(request).encode())
        return self.reply()

    def close(self):
        self.sock.close()


def main():
    qmp = Qmp(sys.argv[1])
    for command in sys.argv[2:]:
        qmp.send(command.encode())
        print(json.dumps(qmp.reply()))


if __name__ == "__main__":
    main()
