# shellcheck shell=bash disable=SC2154,SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# What must hold of domains, whatever libvirt runs them with and wherever: the cases of libvirt*.sh, which choose
# among them. Source it after libvirt-lib.sh. The domain is "web1" of host "a"; each case leaves it running and
# unpatched or as the next one says it wants it.
patch=$root/tests/demo.yaml
patch_name=getpgrp-is-4242
uuid=4dea22b3-1d52-d8f3-2516-782e98ab3fa0
channel=org.vmpoke.agent.0

patch_state() { # VM: state of the patch, "" when there is none
	vp --json status "$1"
	field '[.. | .patches? // empty | arrays | .[] | .state] | join(" ")'
}
patch_is() { [ "$(patch_state "$1")" = "$2" ]; }

# The records in the domain's live metadata; none: "[]".
records() { # HOST DOMAIN
	v "$1" metadata "$2" urn:vmpoke:patches:1 --live 2>/dev/null && sed 's/<[^>]*>//g; s/&quot;/"/g; s/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g' <<<"$OUT" || echo '[]'
}
travels() { # HOST DOMAIN COUNT
	[ "$(records "$1" "$2" | jq length)" = "$3" ]
}

setup() {
	host_make a || return
	hook_place a || return
	libvirtd_start a || return
	service_start a || return
	follower_start a || return
	domain_define a web1 "$uuid"
}

appears() {
	domain_start a web1 || return
	until_ok "$limit" state_is web1 running || why "not there: $(tail -n 2 "$work/a/follower.log" | tr '\n' ' ')" || return
	expect_eq UUID "$(field .uuid)" "$uuid" || return
	expect_eq origin "$(field .origin)" "libvirt:$(uri a)" || return
	expect_eq agent "$(field .agent)" "unix:$channels/domain-1-web1/$channel" || return
	vp_ok --json info "$uuid" || return
	expect_eq "name by UUID" "$(field .name)" web1
}

patched() {
	vp_ok apply "$uuid" "$patch" || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 4242 || return
	verify_clean web1 || return
	# libvirt has followed what the stub did to its domain.
	v a domstate web1 || return
	expect_eq "libvirt's state" "$OUT" running
}

# libvirtd hears of the patch as metadata of the running domain, and of nothing else.
in_the_metadata() {
	until_ok "$limit" travels a web1 1 || why "metadata: $(records a web1)" || return
	expect_eq patch "$(records a web1 | jq -r '.[0].patch')" "$patch_name" || return
	v a dumpxml web1 --inactive || return
	! grep -q vmpoke:patches <<<"$OUT" || why "it is in the definition for the next start"
}

# Two taints are libvirt's to log; ours is to say so once.
taint_said_once() {
	expect_eq lines "$(grep -c 'custom-monitor' "$work/a/follower.log")" 1
}

hook_said_it() {
	grep -q 'hook: web1 started' "$work/a/follower.log" || why "no word of the hook"
}

libvirtd_restarted() {
	libvirtd_stop a || return
	until_ok "$limit" state_is web1 unreachable || why "web1 is '$(field .state)' without libvirtd" || return
	expect_eq "getpgrp() meanwhile" "$(vm_pgrp web1)" 4242 || return
	libvirtd_start a || return
	until_ok "$limit" state_is web1 running || why "web1 is '$(field .state)' after libvirtd's return" || return
	expect_eq patch "$(patch_state web1)" applied || return
	verify_clean web1
}

follower_killed() {
	follower_stop a KILL
	follower_start a || return
	until_ok "$limit" state_is web1 running || why "web1 is '$(field .state)'" || return
	expect_eq patch "$(patch_state web1)" applied || return
	vp_ok revert web1 $patch_name || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" own || return
	vp_ok apply web1 "$patch" || return
	until_ok "$limit" travels a web1 1 || why "metadata: $(records a web1)"
}

service_restarted() {
	service_stop a
	service_start a || return
	until_ok "$limit" state_is web1 running || why "web1 is '$(field .state)'" || return
	expect_eq patch "$(patch_state web1)" applied || return
	verify_clean web1
}

saved_and_restored() {
	v a managedsave web1 || return
	until_ok "$limit" gone web1 || why "still there after the save" || return
	v a start web1 || return
	until_ok "$limit" state_is web1 running || why "not there after the restore" || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 4242 || return
	until_ok "$limit" patch_is web1 applied || why "the patch is '$(patch_state web1)': $(tail -n 2 "$work/a/follower.log" | tr '\n' ' ')" || return
	verify_clean web1
}

gone_by_reset() {
	local mark
	mark=$(vm_mark web1)
	v a reset web1 || return
	vm_wait web1 "$limit" '^UP ' "$mark" || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" own || return
	until_ok "$limit" patch_is web1 lost || why "the patch is '$(patch_state web1)'" || return
	until_ok "$limit" travels a web1 0 || why "metadata: $(records a web1)"
}

# With a rule the patch is there again after the next reset.
back_by_itself() {
	local mark
	vp_ok install web1 "$patch" || return
	until_ok "$limit" patch_is web1 applied || why "the patch is '$(patch_state web1)' after its installation" || return
	mark=$(vm_mark web1)
	v a reset web1 || return
	vm_wait web1 "$limit" '^UP ' "$mark" || return
	until_ok "$limit" pgrp_is 4242 || why "getpgrp() gives '$(vm_pgrp web1)'" || return
	until_ok "$limit" patch_is web1 applied || why "the patch is '$(patch_state web1)'" || return
	until_ok "$limit" travels a web1 1 || why "metadata: $(records a web1)" || return
	vp_ok uninstall web1 $patch_name || return
	vp_ok revert web1 $patch_name
}
pgrp_is() { [ "$(vm_pgrp web1)" = "$1" ]; }

# A debugger of somebody else's keeps its stub; when it is gone, ours comes by itself.
stub_comes_later() {
	follower_stop a KILL
	v a qemu-monitor-command web1 --hmp 'gdbserver none' || return
	v a qemu-monitor-command web1 --hmp 'gdbserver null' || return
	follower_start a || return
	until_ok 60 stub_is false || why "web1 is with a stub: $OUT" || return
	grep -q 'cannot be patched for now: no gdb stub of ours: the domain has a gdb stub already' "$work/a/follower.log" ||
		why "not said: $(tail -n 2 "$work/a/follower.log" | tr '\n' ' ')" || return
	v a qemu-monitor-command web1 --hmp 'gdbserver none' || return
	until_ok 180 stub_is true || why "web1 is still without a stub: $(tail -n 2 "$work/a/follower.log" | tr '\n' ' ')" || return
	until_ok 60 state_is web1 running || why "web1 is '$(field .state)'" || return
	vp_ok apply web1 "$patch" || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 4242 || return
	vp_ok revert web1 $patch_name
}
stub_is() { vp --json info web1 && [ "$(field 'has("gdb")')" = "$1" ]; }

moves() {
	host_make b || return
	libvirtd_start b || return
	service_start b || return
	follower_start b || return
	on a
	vp_ok apply web1 "$patch" || return
	until_ok "$limit" travels a web1 1 || why "metadata: $(records a web1)" || return
	v a migrate --live web1 "$(uri b)" --migrateuri "unix://$work/migrate.sock" --unsafe || return
	until_ok "$limit" gone web1 || why "still on the source" || return
	on b
	until_ok "$limit" state_is web1 running || why "not on the destination: $(tail -n 2 "$work/b/follower.log" | tr '\n' ' ')" || return
	until_ok "$limit" patch_is web1 applied || why "the patch is '$(patch_state web1)': $(tail -n 2 "$work/b/follower.log" | tr '\n' ' ')" || return
	verify_clean web1 || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 4242 || return
	vp_ok revert web1 $patch_name || return
	expect_eq "getpgrp() after the revert" "$(vm_pgrp web1)" own || return
	v b destroy web1 || return
	until_ok "$limit" gone web1 || why "still there"
}

setup_domain_shows() {
	vp_ok --json setup-domain web1 --connect "$(uri a)" || return
	expect_eq needed "$(field .needed)" false || return
	v a dumpxml web1 --inactive || return
	sed '/<channel/,/<\/channel>/d' <<<"$OUT" >"$work/bare.xml"
	v a define "$work/bare.xml" || return
	vp_ok setup-domain web1 --connect "$(uri a)" || return
	grep -q "name='$channel'" <<<"$OUT" || why "it shows: $OUT" || return
	v a dumpxml web1 --inactive
	! grep -q $channel <<<"$OUT" || why "it was written without --apply"
}

setup_domain_writes() {
	vp_ok --json setup-domain web1 --connect "$(uri a)" --apply --monitor "$work/vmpoke-web1.qmp" || return
	expect_eq changed "$(field .changed)" true || return
	vp_ok --json setup-domain "$uuid" --connect "$(uri a)" --apply --monitor "$work/vmpoke-web1.qmp" || return
	expect_eq "changed again" "$(field .changed)" false || return
	vp setup-domain nobody --connect "$(uri a)"
	expect_eq "exit code for no domain" "$RC" 4 || return
	vp setup-domain web1 --connect "$(uri a)" --monitor "$work/other"
	expect_eq "exit code for a socket of another name" "$RC" 2
}

destroyed() {
	v a destroy web1 || return
	until_ok "$limit" gone web1 || why "still there"
}

# The monitor that setup-domain has written is used, and libvirt's is not.
own_monitor() {
	domain_start a web1 || return
	until_ok "$limit" state_is web1 running || why "not there" || return
	expect_eq monitor "$(field .qmp)" "$work/vmpoke-web1.qmp" || return
	vp_ok apply web1 "$patch" || return
	expect_eq "getpgrp()" "$(vm_pgrp web1)" 4242 || return
	until_ok "$limit" travels a web1 1 || why "metadata: $(records a web1)" || return
	vp_ok revert web1 $patch_name || return
	v a dominfo web1 || return
	grep -q 'custom configuration' <<<"$OUT" || why "no word of its command line: $OUT" || return
	! grep -q 'custom monitor' <<<"$OUT" || why "libvirt's monitor was used" || return
	destroyed
}

# What an operator removes stays out until the domain is started anew.
operator_removes() {
	v a start web1 --paused || return
	until_ok "$limit" state_is web1 paused || why "not there" || return
	vp_ok remove web1 || return
	until_ok "$limit" grep -q 'was removed by somebody else' "$work/a/follower.log" || why "not noticed" || return
	gone web1 || why "it was registered again" || return
	v a destroy web1 || return
	v a start web1 --paused || return
	until_ok "$limit" state_is web1 paused || why "not there after another start" || return
	destroyed
}

# What an operator has registered under a domain's name is his, before and after.
operator_first() {
	local ends
	vm_start other -s 1 || return
	vp_ok add web1 --qmp "$work/other/qmp" || return
	v a start web1 --paused || return
	until_ok "$limit" grep -q 'web1: is left alone' "$work/a/follower.log" || why "not said" || return
	vp_ok apply web1 "$patch" || return
	expect_eq "getpgrp()" "$(vm_pgrp other)" 4242 || return
	ends=$(domain_ends)
	v a destroy web1 || return
	until_ok "$limit" domain_ended "$ends" || why "its end was not seen" || return
	follower_stop a # whatever it had to say to vmpoked is said
	vp_ok --json info web1 || why "the operator's VM went with the domain" || return
	expect_eq monitor "$(field .qmp)" "$work/other/qmp" || return
	vp_ok revert web1 $patch_name && vp_ok remove web1 && follower_start a
}
domain_ends() { grep -c 'web1: does not run any more' "$work/a/follower.log"; }
domain_ended() { [ "$(domain_ends)" -gt "$1" ]; } # SINCE

# A hook whose daemon is dead, hangs or never was: at once, and 0.
hook_never_fails() {
	local hook=$work/a/libvirt/etc/hooks/qemu.d/50-vmpoke
	timeout 60 "$hook" web1 started begin - </dev/null || why "exit code $? with a daemon" || return
	kill -STOP "${follower_pid[a]}"
	for i in $(seq 300); do # more than its socket takes
		timeout 60 "$hook" web1 started begin - </dev/null || { kill -CONT "${follower_pid[a]}"; why "exit code $? with a daemon that hangs"; return; }
	done
	kill -CONT "${follower_pid[a]}"
	follower_stop a KILL
	timeout 60 "$hook" web1 started begin - </dev/null || why "exit code $? with a daemon that is dead" || return
	sed 's|^[^#].*vmpoke-hook|/nowhere/vmpoke-hook|' "$hook" >"$work/hook"
	timeout 60 sh "$work/hook" web1 started begin - </dev/null || why "exit code $? without its program"
}

# libvirt_run CASE...: the first domain, then these, in this order.
libvirt_run() {
	local name
	run_case "a libvirtd of our own" setup
	[ "$failures" = 0 ] || return
	run_case "domain appears" appears
	[ "$failures" = 0 ] || return
	for name; do
		on a # whatever became of the one before
		run_case "${name//_/ }" "$name"
	done
}
