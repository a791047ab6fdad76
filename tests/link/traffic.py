# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody else's traffic, counted exactly.
  traffic.py serve ADDRESS      says "ready"; counts TCP, echoes UDP
  traffic.py run ADDRESS        50 MiB by TCP, 1000 datagrams by UDP, each awaited: what arrived
"""
import hashlib
import random
import socket
import sys
import threading
import time

PORT = 5201
TCP_BYTES = 50 << 20
DATAGRAMS = 1000


def echo_datagrams(sock):
    while True:
        data, peer = sock.recvfrom(2048)
        sock.sendto(data, peer)


def serve(address):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, PORT))
    threading.Thread(target=echo_datagrams, args=(udp,), daemon=True).start()
    tcp = socket.create_server((address, PORT))
    print("ready", flush=True)
    while True:
        conn, _ = tcp.accept()
        digest, n = hashlib.sha256(), 0
        while data := conn.recv(1 << 16):
            digest.update(data)
            n += len(data)
        conn.sendall(f"{n} {digest.hexdigest()}".encode())
        conn.close()


def run(address):
    block = random.Random(1).randbytes(1 << 20)
    digest = hashlib.sha256()
    start = time.monotonic()
    conn = socket.create_connection((address, PORT), timeout=60)
    for _ in range(TCP_BYTES // len(block)):
        conn.sendall(block)
        digest.update(block)
    conn.shutdown(socket.SHUT_WR)
    answer = conn.makefile().read().split()
    seconds = time.monotonic() - start
    right = answer[1] == digest.hexdigest()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(2)
    back = 0
    for i in range(DATAGRAMS):
        udp.sendto(i.to_bytes(4, "big").ljust(1000), (address, PORT))
        try:
            back += udp.recv(2048)[:4] == i.to_bytes(4, "big")
        except TimeoutError:
            pass
    print(f"tcp={answer[0]} right={right} udp={back}")
    print(f"{TCP_BYTES * 8 / seconds / 1e6:.0f} Mbit/s", file=sys.stderr)


if __name__ == "__main__":
    {"serve": serve, "run": run}[sys.argv[1]](*sys.argv[2:])
