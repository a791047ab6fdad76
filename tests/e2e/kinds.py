# SPDX-License-Identifier: GPL-2.0-or-later
"""What e2e/kinds.sh does not do in bash: choose events, write patch files, compare dumps of a guest's kernel.

choose SITES EVENTS N           events (SYSTEM/EVENT) whose tracepoint has jumps and calls in SITES
patch NAME SITES EVENT...       a patch that switches them on as SITES shows the guest's own doing
calls NAME SITES CALL...        a patch that makes these calls lead where SITES shows them to lead
leads SITES CALL...             where that is, how many places have them, and how many of them are jumps out of a function
compare A B BASE START END SITES EVENT|CALL...
                                dumps (from BASE on) agree in [START, END) and in the keys of the events and calls
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


def targets(sites_path, calls):
    ret = {}
    for s in sites_of(sites_path):
        if s["kind"] == "static_call" and s["key"] in calls:
            ret.setdefault(s["key"], []).append(s)
    return ret


def word(site):
    target = site.get("target", "null")
    return "ret0" if target == "__static_call_return0" else target


def calls(name, sites_path, *keys):
    print(f"vmpoke: 1\nname: {name}\nsites:")
    for key, sites in targets(sites_path, keys).items():
        print(f"  - {{ at: {key}, kind: static_call, to: {json.dumps(word(sites[0]))} }}")


def leads(sites_path, *keys):
    for key, sites in targets(sites_path, keys).items():
        print(f"{key[len('__SCK__'):]} -> {word(sites[0])} ({len(sites)} places, {sum('tail' in s for s in sites)} tail),", end=" ")
    print()


def compare(a_path, b_path, base, start, end, symbols_path, *events):
    base, start, end = (int(x, 16) for x in (base, start, end))
    with open(symbols_path) as f:
        address = {w[2]: int(w[0], 16) for w in (line.split() for line in f)}
    with open(a_path, "rb") as f:
        a = f.read()
    with open(b_path, "rb") as f:
        b = f.read()
    ranges = [(start, end)]
    ranges += [(address[name], address[name] + 16) for name in events if name.startswith("__SCK__")]
    for event in map(name_of, (e for e in events if "/" in e)):
        ranges.append((address["__tracepoint_" + event] + 8, address["__tracepoint_" + event] + 24))
        ranges.append((address[CALL % event], address[CALL % event] + 16))
    for low, high in ranges:
        low, high = low - base, high - base
        if a[low:high] != b[low:high]:
            at = next(i for i in range(low, high) if a[i] != b[i])
            sys.exit(f"0x{base + at:x} holds {a[at:at + 8].hex()} in {a_path}, {b[at:at + 8].hex()} in {b_path}")
    print(sum(high - low for low, high in ranges))


if __name__ == "__main__":
    {"choose": choose, "patch": patch, "calls": calls, "leads": leads, "compare": compare}[sys.argv[1]](*sys.argv[2:])
