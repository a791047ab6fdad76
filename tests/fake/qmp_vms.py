#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Many VMs without a guest: `qmp_vms.py FOLDER COUNT [PREFIX]` serves COUNT monitors
FOLDER/PREFIX000.qmp ... in one process, which answer what vmpoke asks of a QEMU that it
attaches to, as QEMU 7.2 does. Prints "ready" once all listen; ends when its standard
input does. SIGUSR1 makes every VM paused, SIGUSR2 running again, with QEMU's events."""

import json
import os
import selectors
import signal
import socket
import sys

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "fake"}, "capabilities": []}}
REGISTERS = """
CPU#0
RAX=0000000000000000 RBX=0000000000000000 RCX=0000000000000000 RDX=0000000000000000
RSI=0000000000000000 RDI=0000000000000000 RBP=0000000000000000 RSP=ffffffff82a03e80
R8 =0000000000000000 R9 =0000000000000000 R10=0000000000000000 R11=0000000000000000
R12=0000000000000000 R13=0000000000000000 R14=0000000000000000 R15=0000000000000000
RIP=ffffffff81a00000 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]
SS =0018 0000000000000000 ffffffff 00cf9300 DPL=0 DS   [-WA]
FS =0000 0000000000000000 00000000 00000000
GS =0000 ffff88801f000000 00000000 00000000
IDT=     fffffe0000000000 00000fff
CR0=80050033 CR2=0000000000000000 CR3=0000000002a10000 CR4=000006b0
EFER=0000000000000d01
"""
MTREE = """FlatView #0
 AS "memory", root: system
 Root memory region: system
  0000000000000000-000000000fffffff (prio 0, ram): pc.ram
"""
HMP = {
    "info jit": "Translation buffer state:\r\n",
    "info registers -a": REGISTERS.replace("\n", "\r\n"),
    "info mtree -f": MTREE.replace("\n", "\r\n"),
}
ANSWERS = {
    "qmp_capabilities": {},
    "query-cpus-fast": [{"cpu-index": 0, "target": "x86_64", "thread-id": 0, "qom-path": "/machine/unattached/device[0]"}],
    "query-kvm": {"enabled": False, "present": False},
}


class Vm:
    """One monitor: a listening socket, and at most one client, as QEMU has it."""

    def __init__(self, path):
        self.status = "running"
        self.client = None
        self.pending = b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(4)

    def tell(self, message):
        self.client.sendall(json.dumps(message).encode() + b"\r\n")

    def answer(self, line):
        request = json.loads(line)
        command = request.get("execute")
        if command == "query-status":
            value = {"status": self.status, "running": self.status == "running"}
        elif command == "human-monitor-command":
            value = HMP.get(request["arguments"]["command-line"], "unknown command\r\n")
        elif command in ANSWERS:
            value = ANSWERS[command]
        else:
            error = {"class": "CommandNotFound", "desc": f"The command {command} has not been found"}
            self.tell({"error": error, **({"id": request["id"]} if "id" in request else {})})
            return
        self.tell({"return": value, **({"id": request["id"]} if "id" in request else {})})

    def set_status(self, status):
        self.status = status
        if self.client:
            self.tell({"event": "RESUME" if status == "running" else "STOP", "timestamp": {"seconds": 1, "microseconds": 0}})


class Server:
    def __init__(self, vms):
        self.vms = vms
        self.poll = selectors.DefaultSelector()
        self.poll.register(sys.stdin, selectors.EVENT_READ, None)
        for vm in vms:
            self.poll.register(vm.listener, selectors.EVENT_READ, (self.accept, vm))

    def accept(self, vm):
        vm.client, _ = vm.listener.accept()
        self.poll.unregister(vm.listener)  # the next one waits, as with QEMU
        self.poll.register(vm.client, selectors.EVENT_READ, (self.read, vm))
        vm.pending = b""
        try:
            vm.tell(GREETING)
        except OSError:
            pass  # left already; read() sees it

    def read(self, vm):
        data = b""
        try:
            data = vm.client.recv(65536)
            vm.pending += data
            while data and b"\n" in vm.pending:
                line, vm.pending = vm.pending.split(b"\n", 1)
                if line.strip():
                    vm.answer(line)
        except OSError:
            data = b""
        if not data:
            self.poll.unregister(vm.client)
            vm.client.close()
            vm.client = None
            self.poll.register(vm.listener, selectors.EVENT_READ, (self.accept, vm))

    def all_status(self, status):
        for vm in self.vms:
            vm.set_status(status)

    def run(self):
        while True:
            for key, _ in self.poll.select():
                if key.data is None:
                    return
                key.data[0](key.data[1])


def main():
    folder, count = sys.argv[1], int(sys.argv[2])
    prefix = sys.argv[3] if len(sys.argv) > 3 else "vm"
    server = Server([Vm(os.path.join(folder, f"{prefix}{i:03}.qmp")) for i in range(count)])
    signal.signal(signal.SIGUSR1, lambda *_: server.all_status("paused"))
    signal.signal(signal.SIGUSR2, lambda *_: server.all_status("running"))
    print("ready", flush=True)
    server.run()


if __name__ == "__main__":
    main()
