# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see modes.sh): a stock guest as a machine of our own,
# patched in every mode under load; the daemon and the worker killed in the middle of
# each. For busybox sh; everything it needs is in $RIG_FILES.
#   FULL=1: die at every kill point, not only at the states
. "$RIG_FILES/host-lib.sh"
cd "$dir" || exit 1
exec 3>&1

daemon_start() {
	VMPOKE_FAULT=@$dir/fault vmpoked --state-dir "$dir/state" --runtime-dir "$dir/run" --foreground \
		2>>"$dir/daemon.log" &
	daemon_pid=$!
	within 60 answers
}
daemon_gone() { ! kill -0 "$daemon_pid" 2>/dev/null; }
# Kills WHOM (a pid; nothing: the worker itself) at POINT the first time it is passed.
fault_set() { # POINT [PID]
	echo "$1:1${2:+:$2}" >"$dir/fault.new" && mv "$dir/fault.new" "$dir/fault"
}
# The transaction did not pass the point: nothing was killed, and nothing will be.
fault_clear() { rm "$dir/fault" 2>/dev/null; fault_set no-such-point; }

booted() { grep -q '^pgrp' "$dir/console"; }
# A console file is appended to: each machine gets its own.
machine() {
	machine_run --vcpus "$vcpus" --append "console=ttyS0 quiet panic=-1 vmtest=load $append"
}
machine_start() {
	[ ! -e "$console" ] || mv "$console" "$console.$(date +%s)"
	boots machine_gone machine || return
	own=$(sed -n 's/^pgrp \([0-9]*\) .*/\1/p' "$dir/console" | head -n 1)
	# getuid() has no caller here that minds; getpgrp() will jump to it.
	vp apply a base.yaml
}

# The guest prints "pgrp VALUE COUNT" every second, a line for each value it saw.
last_is() { grep '^pgrp' "$dir/console" | tail -n 1 | grep -q "^pgrp $1 "; }
shows() { within 15 last_is "$1" || { tail -n 3 "$dir/console"; return 1; }; }
patched() { vp status a "$1" >/dev/null; }
state_is() { vp --json info a | grep -q "\"state\": \"$1\""; }

# patch MODE VERB FILE VALUE: done in that mode, said so, and the running guest shows it. The emulated
# CPUs of lane n can miss a store (see there) until it is made again; a real CPU has one try.
patch() {
	for try in $tries; do
		# shellcheck disable=SC2086
		vp --json "$2" a "$3.yaml" $(wish "$1") >answer || { cat answer; return 1; }
		has "\"mode\": \"$1\"" answer && has '"changed": true' answer || return
		vp verify a || return
		shows "$4" && return
		echo "try $try missed" >>missed
		# shellcheck disable=SC2046
		vp "$(opposite "$2")" a "$3.yaml" $(wish "$1") || return
	done
	return 1
}
opposite() { if [ "$1" = apply ]; then echo revert; else echo apply; fi; }
wish() { # MODE
	echo --mode "$1"
	case $1 in staged | held) echo --traps "$traps" ;; esac
}
file_of() { if [ "$1" = staged ]; then echo one; else echo two; fi; }

figures() { # MODE: of the last answer
	case $1 in
	stopped) ! grep -q '"kicked"' answer ;;
	flipped) has '"kicked"' answer && ! grep -q '"trap"' answer ;;
	*) has '"waited_us"' answer && has "\"trap\": \"$traps\"" answer ;;
	esac
}

# An instruction that is not emulated, at the head of a function that the guest calls all the time: who
# comes there meanwhile is stepped through a copy of it. That somebody comes is the load's affair: a few tries.
copied() {
	for try in 1 2 3 4 5 6; do
		# shellcheck disable=SC2046
		vp --json apply a copy.yaml $(wish staged) >answer || { cat answer; return 1; }
		vp verify a && vp --json revert a copy.yaml >said || return
		n=$(sed -n 's/.*"copied": \([0-9]*\).*/\1/p' answer)
		if [ "${n:-0}" -gt 0 ]; then
			echo "# try $try: $n of $(sed -n 's/.*"traps": \([0-9]*\).*/\1/p' answer) traps stepped as copies" >&3
			shows "$own"
			return
		fi
	done
	echo "no vCPU was stepped: $(cat answer)"
	return 1
}

traced() { # MODE
	vp history a --trace "$1.svg" >said && vp history a --trace "$1.json" || return
	has "two), transaction\|one), transaction\|($1), transaction" said || return
	has '^<svg' "$1.svg" && has '</svg>' "$1.svg" && has ">vCPU $((vcpus - 1))<" "$1.svg" && has ">verified [0-9]" "$1.svg" || return
	has '^{"traceEvents": \[\|^{"traceEvents":\[' "$1.json"
}

refused() { # CODE WORDS vmpoke arguments...
	code=$1 words=$2
	shift 2
	vp "$@" >answer 2>&1
	got=$?
	[ $got = "$code" ] || { echo "exit code $got: $(cat answer)"; return 1; }
	has "$words" answer
}

# The daemon dies at POINT; the worker lives on and finishes, the next daemon sees all of it.
daemon_dies() { # MODE POINT
	p=$(file_of "$1") verb=apply value=4242
	! patched "$p" || { verb=revert; value=$own; }
	fault_set "$2" "$daemon_pid"
	# shellcheck disable=SC2046
	vp "$verb" a "$p.yaml" $(wish "$1") >answer 2>&1
	[ $? = 7 ] || { echo "not killed: $(cat answer)"; fault_clear; return 1; }
	within 90 daemon_gone || { echo "the daemon lives"; return 1; }
	wait "$daemon_pid" 2>/dev/null
	daemon_start || { tail -n 1 daemon.log; return 1; }
	within 90 state_is running || { vp info a; return 1; }
	if [ $verb = apply ]; then patched "$p"; else ! patched "$p"; fi || { echo "$verb was not finished"; return 1; }
	vp verify a
}
# The worker dies, and the guest with it: said so, and nothing is left open.
last_of() { vp history a >said && grep "$1" said | tail -n 1; }
worker_dies() { # MODE POINT
	p=$(file_of "$1")
	before=$(last_of "$p")
	fault_set "$2"
	# shellcheck disable=SC2046
	vp apply a "$p.yaml" $(wish "$1") >answer 2>&1 && { echo "not killed: $(cat answer)"; return 1; }
	within 90 state_is shutdown || { vp info a; return 1; }
	vp --json info a >answer && has '"patches": 0' answer || return
	machine_start || return
	after=$(last_of "$p")
	case $2:$after in
	journal-begin:*) [ "$after" = "$before" ] ;; # there the first record is not yet written ...
	journal-ended:*applied*) ;;		     # ... and here the last one is
	*lost*) ;;
	*) false ;;
	esac || { echo "history says: $after"; return 1; }
	! patched "$p" || { echo "$p is said to be in"; return 1; }
	vp verify a
}

points_of() { # MODE: where to die
	if [ "${FULL:-0}" = 1 ]; then
		vmpoke-vm "--list-fault-points=$1"
	else
		case $1 in
		flipped) echo journal-begun poke-flipped journal-verified ;;
		stopped) echo journal-paused poke-site-written journal-done ;;
		*) echo journal-trapped journal-headed poke-released ;;
		esac
	fi
}
# Debug registers leave no byte behind that would need a stage of its own.
passed() { # MODE POINT
	case $1:$traps:$2 in
	staged:hw:* | held:hw:*)
		case $2 in
		poke-site-trapped | poke-barrier | poke-tail* | poke-site-tailed) return 1 ;;
		esac
		;;
	esac
}

[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
cat >base.yaml <<'YAML'
vmpoke: 1
name: base
sites:
  - { at: __x64_sys_getuid, kind: return, value: 4242 }
YAML
cat >one.yaml <<'YAML'
vmpoke: 1
name: one
sites:
  - { at: __x64_sys_getpgrp, kind: jump, to: __x64_sys_getuid }
YAML
cat >two.yaml <<'YAML'
vmpoke: 1
name: two
sites:
  - { at: __x64_sys_getpgrp, kind: jump, to: __x64_sys_getuid }
  - { at: __x64_sys_getegid, kind: jump, to: __x64_sys_getgid }
YAML
# The tracer's NOP becomes TEST $imm32, %eax: flags only, which nobody looks at there.
cat >copy.yaml <<'YAML'
vmpoke: 1
name: copy
sites:
  - { at: __x64_sys_getpgrp, kind: bytes, old: "0f1f440000", new: "a978563412" }
YAML
# MOVSXD %ebx, %rax; POP %rbx; RET: the second one can only be stepped by who was interrupted before it.
cat >several.yaml <<'YAML'
vmpoke: 1
name: several
sites:
  - { at: __x64_sys_getpgrp+0x2e, kind: bytes, old: "4863c35bc3", new: "4889d85bc3" }
YAML
sed 's/^name: two/name: two-apart/; s/^sites:/atomic: false\nsites:/' two.yaml >two-apart.yaml
sed 's/^name: one/name: excluding/; s/^sites:/exclude:\n  - { from: __x64_sys_getppid, to: __x64_sys_getppid+0x8 }\nsites:/' \
	one.yaml >excluding.yaml

tries=1 vcpus=2 append=
case $RIG_LANE in
n) tries="1 2 3" ;;
v) # Bochs hangs where a vCPU spins with interrupts off, as one that waits for another does.
	vcpus=1 boot_limit=300
	append='nokaslr mitigations=off cryptomgr.notests tsc=reliable no_timer_check random.trust_cpu=on'
	;;
esac
daemon_start
check_boot "a stock guest boots in a machine" machine_start
vp --json probe a >probe
traps=hw
! grep -q '"trap_int3": true' probe || traps=int3
echo "# traps: $traps"
check "probe says what this KVM can do" sh -c 'grep -q "\"name\": \"int3\", \"value\": \"" probe &&
	grep -q "\"modes\": \[\"flipped\", \"staged\", \"held\", \"stopped\"\]" probe'
check "a group is not staged" refused 5 "must change together" apply a two.yaml --mode staged
check "nor are excluded ranges" refused 3 "must change together" check a excluding.yaml --mode staged
check "a mode without traps has none" refused 5 "has no traps" apply a one.yaml --mode flipped --traps "$traps"
check "the gentlest mode is taken" sh -c "vmpoke -c $sock --json check a two.yaml | grep -q '\"mode\": \"flipped\"'"
for mode in flipped staged held stopped; do
	file=$(file_of $mode)
	check "$mode: applied, and the running guest shows it" patch $mode apply "$file" 4242
	check "$mode: what was measured" figures $mode
	check "$mode: the timeline" traced $mode
	check "$mode: reverted, and the running guest shows it" patch $mode revert "$file" "$own"
done
check "staged: independent sites" patch staged apply two-apart 4242
check "held: the same taken back as a group" patch held revert two-apart "$own"
name="staged: what cannot be emulated is stepped as a copy"
case $RIG_LANE in
v) # The engine's thread has the one CPU while text changes: nobody comes to a trap.
	echo "skip $name: no vCPU runs there while text changes"
	for file in copy several; do
		check "staged: $file, with room for a copy" patch staged apply $file "$own"
		check "staged: the same taken back" patch staged revert $file "$own"
	done
	;;
*) check "$name" copied ;;
esac
check "flipped: with an excluded range" patch flipped apply excluding 4242
check "stopped: the same taken back" patch stopped revert excluding "$own"
vp history a | tr '\t' ' '
for mode in flipped staged held stopped; do
	for point in $(points_of $mode); do
		passed $mode "$point" || continue
		check "$mode: daemon killed at $point" daemon_dies $mode "$point"
	done
	if patched "$(file_of $mode)"; then
		check "$mode: put back" patch $mode revert "$(file_of $mode)" "$own"
	fi
done
check "no illegal value and no kernel complaint" sh -c "! grep -E 'ILLEGAL|KMSG' $dir/console*"
for mode in flipped held; do
	case $mode in flipped) point=poke-flipped ;; *) point=journal-headed ;; esac
	[ "${FULL:-0}" != 1 ] || continue
	check "$mode: worker killed at $point" worker_dies $mode "$point"
done
if [ "${FULL:-0}" = 1 ]; then
	for mode in flipped staged held stopped; do
		for point in $(points_of $mode); do
			passed $mode "$point" || continue
			check "$mode: worker killed at $point" worker_dies $mode "$point"
		done
	done
fi
check "after all that: patched once more" patch flipped apply two 4242
check "no complaint in the end" sh -c "! grep -E 'ILLEGAL|KMSG' $dir/console*"
check "destroyed" vp destroy a
lane_figures
[ $failed = 0 ] || cat daemon.log
kill "$daemon_pid"
wait
exit $failed
