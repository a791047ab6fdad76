# SPDX-License-Identifier: GPL-2.0-or-later
"""Bare Ethernet frames for the tests of links.
  frames.py send IFNAME DST SRC TYPE COUNT TEXT     frames with TEXT in them
  frames.py flood IFNAME DST SRC TYPE               damaged and random ones, as fast as it goes, until killed (at most 100 s)
  frames.py count IFNAME TYPE TEXT END              how many frames with TEXT the host's stack sees until one with END comes
"""
import random
import socket
import sys
import time

ALL = 3  # ETH_P_ALL


def open_on(ifname, protocol):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    sock.bind((ifname, protocol))
    return sock


def ethernet(dst, src, ethertype):
    return bytes.fromhex((dst + src).replace(":", "")) + int(ethertype, 16).to_bytes(2, "big")


def send(ifname, dst, src, ethertype, count, text):
    sock = open_on(ifname, 0)
    for _ in range(int(count)):
        sock.send(ethernet(dst, src, ethertype) + text.encode().ljust(60))


def flood(ifname, dst, src, ethertype):
    sock = open_on(ifname, 0)
    rng = random.Random(1)
    head = ethernet(dst, src, ethertype)
    bodies = [rng.randbytes(rng.randrange(20, 1400)) for _ in range(200)]
    bodies += [b"vp\x01" + bytes([kind % 8]) + rng.randbytes(60) for kind in range(200)]
    end, sent = time.monotonic() + 100, 0
    while time.monotonic() < end:
        for body in bodies:
            try:
                sent += sock.send(head + body) > 0
            except OSError:
                pass  # the queue is full: that is the idea
        print(f"flood frames={sent}", flush=True)


def count(ifname, ethertype, text, last):
    sock = open_on(ifname, ALL)
    sock.settimeout(30)
    print("ready", flush=True)
    seen, frame = 0, b""
    while last.encode() not in frame:
        frame = sock.recv(2048)
        seen += frame[12:14] == int(ethertype, 16).to_bytes(2, "big") and text.encode() in frame
    print(seen)


if __name__ == "__main__":
    {"send": send, "flood": flood, "count": count}[sys.argv[1]](*sys.argv[2:])
