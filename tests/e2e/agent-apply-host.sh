# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see agent-apply-kvm.sh): a stock guest with its agent as a machine of
# our own, patched with text_mutex held while it changes its own text all the time, and past
# sleepers that look as if they were inside. For busybox sh; everything it needs is in $RIG_FILES.
#   ROUNDS=N: how often each mode goes there and back
. "$RIG_FILES/host-lib.sh"
cd "$dir" || exit 1

booted() { grep -q '^pgrp' console; }
is_ready() { vp --json agent a | grep -q '"state": "ready"'; }

# full VERB FILE ARGUMENTS...: done with text_mutex held. On an emulated host that has little CPU time the agent may be
# too late for its time-outs, and the patch is done without: taken back there, and done again.
full() {
	verb=$1 file=$2
	shift 2
	for attempt in $attempts; do
		vp --json "$verb" a "$file" --agent-use full "$@" >answer 2>&1 || { cat answer; return 1; }
		grep -q '"text_mutex_why": "[^"]* in time' answer && [ "$attempt" != last ] || break
		echo x >>late
		vp "$(opposite "$verb")" a "$file" --agent-use none || return
	done
	has '"text_mutex": true' && has '"changed": true' && vp verify a
}
opposite() { if [ "$1" = apply ]; then echo revert; else echo apply; fi; }
attempts=last
[ "$RIG_LANE" != n ] || attempts="1 2 3 last"
rounds() { # FILE ARGUMENTS...
	for round in $(seq "$ROUNDS"); do
		full apply "$@" && full revert "$@" || return
	done
}
refused() { # CODE TEXT ARGUMENTS...
	code=$1 text=$2
	shift 2
	vp "$@" >answer 2>&1
	[ $? = "$code" ] && has "$text"
}

toggles() { sed -n 's/^TOGGLED //p' console | tail -n 1; }
toggled() { [ "$(toggles)" -gt "$1" ]; }
# The guest's kernel went on changing its own text: nobody sits on text_mutex.
goes_on() { n=$(toggles) && within 90 toggled "$n"; }

cat >one.yaml <<'YAML'
vmpoke: 1
name: one
sites:
  - { at: __x64_sys_getegid, kind: jump, to: __x64_sys_getgid }
YAML

[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
daemon_start
# shellcheck disable=SC2046
vp run a --kernel "$RIG_FILES/guest-kernel" --initrd "$RIG_FILES/guest-initramfs" --vcpus 2 --memory 256M --console "$dir/console" \
	--append "console=ttyS0 quiet panic=-1 vmtest=load vmtest=agent vmtest=toggles vmtest=ghosts" || exit 1
check "a stock guest boots in a machine" within 240 booted
check "its agent is there" within 90 is_ready
[ $failed = 0 ] || { tail -n 3 console daemon.log; exit 1; }
before=$(toggles)
check "text_mutex is held, mode flipped" rounds one.yaml --mode flipped
check "text_mutex is held, mode stopped" rounds one.yaml --mode stopped
check "text_mutex is held beside traps in debug registers, mode staged" rounds one.yaml --mode staged --traps hw
check "the same, mode held" rounds one.yaml --mode held --traps hw
echo "# the guest changed its own text $(($(toggles) - before)) times meanwhile"
check "the guest changes its own text" goes_on
# They come when the guest sees the new function; the emulated CPUs of lane n can miss a store until it is made again.
ghosts() { grep -q '^GHOSTS' console; }
haunted() {
	for try in 1 2 3; do
		full apply "$RIG_FILES/demo.yaml" && within 15 ghosts && return
		vp revert a getpgrp-is-4242 --timeout 20 || return
	done
	return 1
}
check "sleepers look as if they were inside of a function that was replaced" haunted
check "the scan alone says busy" refused 6 busy revert a getpgrp-is-4242 --mode staged --traps hw --timeout 1.5
check "waiting for all tasks shows that nobody is" full revert "$RIG_FILES/demo.yaml" --mode staged --traps hw --timeout 20
check "it was that which showed it" has '"quiescence": "rcu-tasks"'
check "the guest changes its own text afterwards" goes_on
check "no complaint of its kernel" sh -c '! grep -E "KMSG|Kernel panic|ILLEGAL" console'
[ ! -e late ] || echo "# done again because the agent was late: $(wc -l <late)"
vp destroy a >/dev/null
exit $failed
