# SPDX-License-Identifier: GPL-2.0-or-later
# Runs a program and takes in what it leaves behind: libvirtd's QEMUs are orphans, and libvirtd waits
# until one that it killed is reaped, which is PID 1's business and may take long. Must never outlive
# its test: SIGTERM, which the parent's death sends too, ends everything below. For libvirt-lib.sh.
import ctypes, os, signal, sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def children(parent):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if int(stat.read().rsplit(")", 1)[1].split()[1]) == parent:
                    yield int(pid)
        except OSError:
            pass


def end(signum, frame):
    # Whoever loses its parent becomes a child of ours: a few rounds see all of them.
    for _ in range(20):
        for pid in children(os.getpid()):
            for victim in [*children(pid), pid]:
                os.kill(victim, signal.SIGKILL)
        try:
            while os.waitpid(-1, 0)[0]:
                pass
        except ChildProcessError:
            break
    os._exit(0)


libc = ctypes.CDLL(None)
libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, end)
while True:
    try:
        os.wait()
    except ChildProcessError:
        sys.exit(0)
