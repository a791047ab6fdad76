# SPDX-License-Identifier: GPL-2.0-or-later
"""What e2e/kinds.sh does not do in bash: choose events, write patch files, compare dumps of a guest's kernel.

choose SITES EVENTS N           events (SYSTEM/EVENT) whose tracepoint has jumps and calls in SITES
patch NAME SITES EVENT...       a patch that switches them on as SITES shows the guest's own doing
compare A B BASE START END SITES EVENT...
                                dumps (from BASE on) agree in [START, END) and in the keys of the events
"""
import json
import sys

# Their switches change more than their own tracepoint: other keys, flags of tasks.
ELSEWHERE = {"exceptions", "irq_vectors", "mmap_lock", "raw_syscalls", "syscalls", "sched", "ftrace", "initcall"}
KEY, CALL = "__tracepoint_%s+0x8", "__SCK__tp_func_%s"


def sites_of(path):
    with open(path) as f:
        return [s for s in json.load(f)["sites"] if "init" not in s]


def name_of(event):
    return event.split("/")[1]


def choose(sites_path, events_path, n):
    keys = {s["key"] for s in sites_of(sites_path)}
    with open(events_path) as f:
        events = [line.strip().replace(":", "/") for line in f if ":" in line]
    good = [e for e in events if e.split("/")[0] not in ELSEWHERE and KEY % name_of(e) in keys and CALL % name_of(e) in keys]
    step = max(1, len(good) // int(n))
    print(*good[::step][: int(n)])


def patch(name, sites_path, *events):
    target = {s["key"]: s.get("target", "null") for s in sites_of(sites_path) if s["kind"] == "static_call"}
    print(f"vmpoke: 1\nname: {name}\nsites:")
    for event in map(name_of, events):
        print(f"  - {{ at: {KEY % event}, kind: static_key, enable: true }}")
        print(f"  - {{ at: {CALL % event}, kind: static_call, to: {target[CALL % event]} }}")


def compare(a_path, b_path, base, start, end, symbols_path, *events):
    base, start, end = (int(x, 16) for x in (base, start, end))
    with open(symbols_path) as f:
        address = {w[2]: int(w[0], 16) for w in (line.split() for line in f)}
    with open(a_path, "rb") as f:
        a = f.read()
    with open(b_path, "rb") as f:
        b = f.read()
    ranges = [(start, end)]
    for event in map(name_of, events):
        ranges.append((address["__tracepoint_" + event] + 8, address["__tracepoint_" + event] + 24))
        ranges.append((address[CALL % event], address[CALL % event] + 16))
    for low, high in ranges:
        low, high = low - base, high - base
        if a[low:high] != b[low:high]:
            at = next(i for i in range(low, high) if a[i] != b[i])
            sys.exit(f"0x{base + at:x} holds {a[at:at + 8].hex()} in {a_path}, {b[at:at + 8].hex()} in {b_path}")
    print(sum(high - low for low, high in ranges))


if __name__ == "__main__":
    {"choose": choose, "patch": patch, "compare": compare}[sys.argv[1]](*sys.argv[2:])
