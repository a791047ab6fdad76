# SPDX-License-Identifier: GPL-2.0-or-later
"""park_trap.py SOCKET ADDRESS NONCE NONCE [third]: traps ADDRESS by QEMU's gdb stub
until a vCPU arrives whose struct pt_regs holds the nonces as its first two
(third: its third and fourth) arguments, then lets the VM go on. Exit 1 when none came among the first 50."""
import socket
import sys

path, address, nonces = sys.argv[1], int(sys.argv[2], 16), [int(n, 16) for n in sys.argv[3:5]]
R10, DX, SI, DI = 7 * 8, 12 * 8, 13 * 8, 14 * 8  # in x86's struct pt_regs: r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di
places = (DX, R10) if sys.argv[5:] else (DI, SI)
RDI, RIP = 5, 16  # in the stub's list of registers

s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(path)
buffer = b""


def receive():
    global buffer
    while True:
        start = buffer.find(b"$")
        end = buffer.find(b"#", start)
        if start >= 0 and end >= 0 and len(buffer) >= end + 3:
            packet, buffer = buffer[start + 1:end], buffer[end + 3:]
            s.sendall(b"+")
            return packet.decode()
        data = s.recv(4096)
        if not data:
            sys.exit("the stub closed")
        buffer += data


def send(text):
    s.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 255))


def ask(text):
    """Stops that nobody waits for (of the connection itself) are no answers."""
    send(text)
    answer = receive()
    while answer[:1] in "TS" and text[0] not in "cs?" and answer:
        answer = receive()
    return answer


def word(hexed):
    return int.from_bytes(bytes.fromhex(hexed), "little")


def look():
    """Whether one of the first threads to arrive has the nonces. The vCPU stands at the trap then."""
    if ask("Z1,%x,1" % address) != "OK":
        sys.exit("no hardware breakpoint")
    for _ in range(50):
        stop = ask("c")
        if "thread:" in stop:
            ask("Hg" + stop.split("thread:")[1].split(";")[0])
        registers = ask("g")
        rip, regs = word(registers[16 * RIP:16 * RIP + 16]), word(registers[16 * RDI:16 * RDI + 16])
        if rip == address and [word(ask("m%x,8" % (regs + offset))) for offset in places] == nonces:
            return True
        ask("z1,%x,1" % address)
        ask("s")
        ask("Z1,%x,1" % address)
    return False


try:
    ask("?")
    found = look()
finally:
    # The VM goes on in any case.
    ask("z1,%x,1" % address)
    ask("D")
sys.exit(0 if found else "no thread with the nonces came by")
