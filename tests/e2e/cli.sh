#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The command line on a terminal and over several VMs, with a real daemon and VMs
# without a guest: what there is to see while things change, colours, exit codes.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/many-lib.sh"
export VMPOKE_SOCKET=$sock TERM=xterm
unset NO_COLOR

setup() {
	fakes_start 3 web || return
	daemon_start || return
	vp_ok add web0 --qmp "$work/fakes/web000.qmp" || return
	vp_ok add web1 --qmp "$work/fakes/web001.qmp"
}

# on_terminal STEP...: vmpoke's steps, see pty_type.py; what was shown is in $work/shown.
on_terminal() {
	"$python" "$root/tests/e2e/pty_type.py" 30 "$@" >"$work/shown" 2>"$work/shown.err" ||
		why "status $?: $(<"$work/shown.err"); shown: $(tail -c 400 "$work/shown" | tr -d '\r' | cat -v | tr '\n' '|')"
}

# The table follows a VM that is added, paused, removed; Ctrl-C leaves the terminal as it was.
watched() {
	on_terminal bash -c "stty -a >$work/tty.before; $build/vmpoke list --watch; r=\$?; stty -a >$work/tty.after; echo ended with \$r; sleep 60" -- \
		'?\x1b\[\?1049h' '?2 VMs' '?web1' \
		"!$build/vmpoke -q add web2 --qmp $work/fakes/web002.qmp >/dev/null" '?3 VMs' '?web2 .*running' \
		"!kill -USR1 $fakes_pid" '?web0 .*paused(.|\n)*web1 .*paused(.|\n)*web2 .*paused' \
		"!kill -USR2 $fakes_pid" '?web2 .*running' \
		"!$build/vmpoke -q remove web2 >/dev/null" '?2 VMs' \
		'\x03' '?\x1b\[\?1049l' '?web1' '?ended with 0' || return
	cmp -s "$work/tty.before" "$work/tty.after" || why "the terminal's settings are not what they were"
}

# Events bring it: no request is made while nothing happens.
watched_in_a_pipe() {
	local pid
	"$build/vmpoke" list --watch --json >"$work/watched" 2>"$work/watched.err" &
	pid=$!
	until_ok 90 grep -q web1 "$work/watched" || why "nothing is printed" || return
	vp_ok add web2 --qmp "$work/fakes/web002.qmp" || return
	until_ok 90 grep -q web2 "$work/watched" || why "web2 does not show" || return
	vp_ok remove web2 || return
	until_ok 90 removed_is_seen || why "web2 does not go: $(tail -n 1 "$work/watched")" || return
	kill -INT $pid
	wait $pid
	expect_eq "exit code" $? 0 || return
	jq -e . "$work/watched" >/dev/null || why "not a document a line"
}
removed_is_seen() { tail -n 1 "$work/watched" | jq -e 'map(.name) == ["web0", "web1"]' >/dev/null; }

watch_ends_with_the_daemon() {
	local pid
	"$build/vmpoke" list --watch >"$work/watched" 2>"$work/watched.err" &
	pid=$!
	until_ok 90 grep -q web1 "$work/watched" || why "nothing is printed" || return
	daemon_stop || return
	wait $pid
	expect_eq "exit code" $? 7 || return
	daemon_start || return
	until_ok 90 both_run || why "the VMs are not back"
}
both_run() { vp list && [ "$(grep -c running <<<"$OUT")" = 2 ]; }

colours() {
	on_terminal "$build/vmpoke" list -- '?web0 .*\x1b\[32mrunning\x1b\[0m(.|\n)*web1 .*tcg' || return
	# The styles take no room in the columns.
	expect_eq "columns" "$(sed 's/\x1b\[[0-9;]*m//g' "$work/shown" | tr -d '\r' | awk '{ print index($0, "1      tcg") }' | tr '\n' ' ')" \
		"0 16 16 " || return
	NO_COLOR=1 on_terminal "$build/vmpoke" list -- '?running' || return
	! grep -q $'\033' "$work/shown" || why "colours in spite of NO_COLOR" || return
	TERM=dumb on_terminal "$build/vmpoke" list -- '?running' || return
	! grep -q $'\033' "$work/shown" || why "colours on a dumb terminal" || return
	NO_COLOR=1 vp_ok --color always list || return
	[[ $OUT == *$'\033[32mrunning'* ]] || why "no colours when asked for: $OUT" || return
	vp_ok list || return
	[[ $OUT != *$'\033'* ]] || why "colours in a pipe"
}

several() {
	vp_ok --json status 'web*' || return
	expect_eq "status of a pattern" "$(field 'map(.vm) | join(" ")')" "web0 web1" || return
	vp_ok status --all || return
	expect_eq "status --all" "$OUT" "vm: web0
  patches: none

vm: web1
  patches: none" || return
	vp status 'db*'
	expect_eq "exit code of a pattern that means nothing" "$RC" 4 || return
	vp_ok --json info "qmp:$work/fakes/web001.qmp" || return
	expect_eq "VM of that monitor" "$(field .name)" web1 || return
	vp_ok --json info 'w*0' || return
	expect_eq "VM of that pattern" "$(field .name)" web0 || return
	vp info 'web*'
	expect_eq "exit code of two for a verb that takes one" "$RC" 2 || return
	vp verify wbe1
	expect_eq "exit code of a misspelt name" "$RC" 4 || return
	[[ $ERR == *"did you mean 'web1'?"* ]] || why "the sentence is: $ERR"
}

real_guest() {
	vm_start a -s 1 || return
	vp_ok add a --qmp "$work/a/qmp"
}

# Of three VMs only one has a guest.
some_fail() {
	vp check --all "$root/tests/demo.yaml"
	expect_eq "exit code" "$RC" 8 || why "$WHY ($ERR)" || return
	[[ $OUT == *"can be applied to a ("* ]] || why "the answer is: $OUT" || return
	expect_eq "VMs named in the errors" "$(grep -oE '^vmpoke: web[01]:' <<<"$ERR" | tr '\n' ' ')" "vmpoke: web0: vmpoke: web1: " || return
	vp --json verify --all
	expect_eq "exit code of verify" "$RC" 8 || return
	expect_eq "errors in the document" "$(field 'map([.vm, has("error")] | map(tostring) | join(":")) | join(" ")')" \
		"a:false web0:true web1:true" || return
	vp_ok --json check "pid:${vm_pid[a]}" "$root/tests/demo.yaml" || return
	expect_eq "VM of that pid" "$(field .vm)" a
}

# Shown to a person and to nobody else, and gone at the end.
progress() {
	on_terminal "$build/vmpoke" apply a "$root/tests/demo.yaml" -- \
		'?a: resolve' '?a: check' '?a: sync' '?\x1b\[K\x1b\[32mapplied\x1b\[0m getpgrp-is-4242 to a' || return
	vp_ok --json status a getpgrp-is-4242 || return
	on_terminal "$build/vmpoke" -q revert a getpgrp-is-4242 -- '?getpgrp-is-4242 on a' || return
	! grep -q 'a: ' "$work/shown" || why "-q shows it too" || return
	vp_ok apply a "$root/tests/demo.yaml" || return
	expect_eq "standard error in a pipe" "$ERR" "" || return
	vp_ok revert a getpgrp-is-4242 || return
	on_terminal "$build/vmpoke" apply a ./nowhere.yaml -- "?cannot read './nowhere.yaml'" || return
	on_terminal "$build/vmpoke" check a nothing -- "?a: resolve" "?no patch named 'nothing'"
}

run_case "two VMs registered" setup
[ $failures = 0 ] || finish
run_case "list --watch on a terminal" watched
run_case "list --watch in a pipe" watched_in_a_pipe
run_case "list --watch ends with the daemon" watch_ends_with_the_daemon
run_case "colours" colours
run_case "several VMs at once" several
run_case "a guest" real_guest
run_case "some of several fail" some_fail
run_case "phases of a patch on a terminal" progress
run_case "daemon stops" daemon_stop
finish
