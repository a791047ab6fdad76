#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Signatures and policy on a real guest, keys and signatures made by minisign itself: each patch that
# must not get in is refused with its own sentence and exit code 5, the audit file says so, and neither
# a byte of the guest nor the journal of the VM has changed. Other users are setpriv's.
. "$(dirname "$0")/../lib.sh"

[ "$(id -u)" = 0 ] || { skip policy "needs root, for other users"; finish; }
stranger=54321
member=54323 # a group that may do something

setup() {
	vm_start a -s 1 || return
	chmod 711 "$work"
	mkdir -p "$work/bin" "$work/keys.d" "$work/secret"
	install -m 755 "$build/vmpoke" "$work/bin/vmpoke" # others may not be able to look into this folder
	key_make ours && cp "$work/secret/ours.pub" "$work/keys.d/" && key_make theirs || return
	config strict
	daemon_start || return
	vp_ok add a --qmp "$work/a/qmp" || return
	vp_ok --json probe a || return
	build_id=$(field .build_id)
	vp_ok --json symbols a __x64_sys_getpgrp || return
	entry=$(field '.symbols[0].address')
	ours=$("$build/vmpoke" -c "$sock" --json keys | jq -r '.[0].id')
	# minisign leaves leading zeros away.
	[[ $ours =~ ^[0-9A-F]{16}$ ]] && grep -q " $(sed 's/^0*//' <<<"$ours")\$" "$work/keys.d/ours.pub" || why "vmpoke keys says '$ours'"
}

key_make() { # NAME: a key without a password
	minisign -G -W -f -p "$work/secret/$1.pub" -s "$work/secret/$1.sec" >"$work/minisign.log" 2>&1 </dev/null ||
		why "minisign -G: $(<"$work/minisign.log")"
}

# strict: all for root, signed only. loose: the same, unsigned too. elsewhere: root may only do things to other VMs.
# norules: nobody may have install rules.
config() {
	local vms=a unsigned=refuse may='*'
	[ "$1" != norules ] || may='monitor check apply revert manage keys'
	[ "$1" != elsewhere ] || vms='b*'
	[ "$1" != loose ] || unsigned=allow
	cat >"$work/vmpoked.conf" <<-EOF
		[vmpoked]
		worker = $build/vmpoke-vm
		[policy]
		unsigned = $unsigned
		[allow root]
		users = 0
		may = $may
		vms = $vms
		[allow watchers]
		users = $stranger
		may = monitor
		[allow members]
		groups = $member
		may = monitor check
		vms = $vms
	EOF
}

reload() {
	local before
	before=$(grep -c 'SIGHUP: policy' "$work/vmpoked.log")
	kill -HUP "$daemon_pid"
	until_ok 90 reloaded "$before" || why "SIGHUP did nothing: $(tail -n 1 "$work/vmpoked.log")"
}
reloaded() { [ "$(grep -c 'SIGHUP: policy' "$work/vmpoked.log")" -gt "$1" ]; }

# patch NAME VALUE: a patch file in $work/NAME.yaml.
patch() {
	printf 'vmpoke: 1\nname: %s\nsites:\n  - { at: __x64_sys_getpgrp, kind: return, value: %s }\n' "$1" "$2" >"$work/$1.yaml"
}

# signed NAME KEY MANIFEST OPTIONS...: its manifest and the signature.
signed() {
	local name=$1 key=$2
	shift 2
	"$build/vmpoke" manifest "$work/$name.yaml" "$@" >"$work/$name.yaml.manifest" 2>"$work/stderr" ||
		why "vmpoke manifest: $(<"$work/stderr")" || return
	sign "$name" "$key"
}
sign() {
	minisign -S -W -s "$work/secret/$2.sec" -m "$work/$1.yaml.manifest" >"$work/minisign.log" 2>&1 </dev/null ||
		why "minisign -S: $(<"$work/minisign.log")"
}

journal_lines() { cat "$work"/state/journal/*.jsonl 2>/dev/null | wc -l; }
audit_last() { tail -n 1 "$work/state/audit.jsonl" | jq -r "$1"; }

# refused RULE SENTENCE ARGS...: vmpoke says no, writes it down, and nothing else.
refused() {
	local rule=$1 sentence=$2 before lines
	shift 2
	before=$(vm_bytes a "$entry" 32)
	lines=$(journal_lines)
	vp "$@"
	expect_eq "exit code of $1" "$RC" 5 || why "$WHY ($ERR$OUT)" || return
	grep -qE -- "$sentence" <<<"$ERR" || why "the sentence is: $ERR" || return
	expect_eq "guest text" "$(vm_bytes a "$entry" 32)" "$before" || return
	expect_eq "journal records" "$(journal_lines)" "$lines" || return
	case $(audit_last .result) in
	refused) expect_eq "rule in the audit file" "$(audit_last .rule)" "$rule" ;;
	failed) expect_eq "rule in the audit file" "$(audit_last .rule)" "$rule" ;; # refused by the worker, which knows the guest
	*) why "the audit file ends with: $(audit_last .)" ;;
	esac
}

unsigned_refused() {
	patch plain 4242
	refused unsigned 'not signed' apply a "$work/plain.yaml" || return
	vp check a "$work/plain.yaml"
	expect_eq "exit code of check" "$RC" 3
}

signed_applied() {
	patch fix 4242
	signed fix ours --build-id "$build_id" --vm 'a*' --expires 2099-12-31 --serial 10 || return
	vp_ok check a "$work/fix.yaml" || return
	vp_ok apply a "$work/fix.yaml" || return
	expect_eq "getpgrp" "$(vm_pgrp a)" 4242 || return
	expect_eq "audit" "$(audit_last '[.result, .command, .vm, .patch, .uid, .allowed_by, .key, .serial] | join(" ")')" \
		"done patch-apply a fix 0 root $ours 10" || return
	vp_ok --json history a || return
	expect_eq "who, in the history" "$(field '.entries[-1].by | "\(.uid) \(.key) \(.serial)"')" "0 $ours 10" || return
	vp_ok history a || return
	grep -q "$(id -nu 0)" <<<"$OUT" || why "history does not say who: $OUT" || return
	vp_ok --json apply a "$work/fix.yaml" || return
	expect_eq "changed, the second time" "$(field .changed)" false || return
	vp_ok revert a fix || return # needs no signature
	vp_ok apply a "$work/fix.yaml" || return # the same manifest again is no replay
	vp_ok revert a fix || return
	expect_eq "getpgrp" "$(vm_pgrp a)" own
}

legacy_signature() {
	patch legacy 4243
	"$build/vmpoke" manifest "$work/legacy.yaml" --serial 1 >"$work/legacy.yaml.manifest" || return
	minisign -S -W -l -s "$work/secret/ours.sec" -m "$work/legacy.yaml.manifest" >"$work/minisign.log" 2>&1 </dev/null ||
		why "$(<"$work/minisign.log")" || return
	vp_ok check a "$work/legacy.yaml"
}

tampered_patch() {
	patch bad 1
	signed bad ours --serial 1 || return
	patch bad 2
	refused tampered 'patch file is not the one that was signed' apply a "$work/bad.yaml"
}

tampered_manifest() {
	patch bad2 1
	signed bad2 ours --serial 1 --vm 'b*' || return
	sed -i 's/b\*/a*/' "$work/bad2.yaml.manifest"
	refused signature 'manifest or the signature was changed' apply a "$work/bad2.yaml"
}

expired() {
	patch old 1
	signed old ours --serial 1 --expires 2020-02-29 || return
	refused expired 'expired on 2020-02-29' apply a "$work/old.yaml"
}

replayed() {
	patch fix 4242
	signed fix ours --serial 9 || return
	refused replayed 'serial 9 .* older than serial 10' apply a "$work/fix.yaml" || return
	signed fix ours --serial 10 || return # the number of the one that was used, and not the same
	refused replayed 'serial 10 .* with another manifest' apply a "$work/fix.yaml" || return
	daemon_stop && daemon_start || return
	refused replayed 'serial 10 .* with another manifest' apply a "$work/fix.yaml"
}

revoked() {
	patch gone 4244
	signed gone ours --serial 3 || return
	vp_ok apply a "$work/gone.yaml" && vp_ok revert a gone || return
	vp_ok revoke gone "$ours" || return
	refused revoked 'serial 3 .* is revoked' apply a "$work/gone.yaml" || return
	signed gone ours --serial 4 || return
	vp_ok check a "$work/gone.yaml"
}

wrong_vm() {
	patch notme 1
	signed notme ours --serial 1 --vm 'web*' || return
	refused wrong-vm "not for the VM 'a'" apply a "$work/notme.yaml"
}

wrong_build_id() {
	patch notus 1
	signed notus ours --serial 1 --build-id "$(tr 0-9a-f 1-9a-f0 <<<"$build_id")" || return
	refused wrong-build-id "not for the kernel with build-id $build_id" apply a "$work/notus.yaml"
}

untrusted_key() {
	patch foreign 1
	signed foreign theirs --serial 1 || return
	refused untrusted-key 'is not one of the trusted keys' apply a "$work/foreign.yaml" || return
	vp_ok keys || return
	expect_eq "keys" "$OUT" "$ours	ours.pub"
}

unsigned_manifest() {
	rm "$work/foreign.yaml.manifest.minisig"
	vp apply a "$work/foreign.yaml"
	expect_eq "exit code" "$RC" 2 || return
	grep -q "is not signed: 'minisign -S" <<<"$ERR" || why "$ERR" || return
	refused unsigned 'not signed' apply a "$work/foreign.yaml" --unsigned
}

# as_user UID GROUPS ARGS...: vmpoke as another user. Group 0 is that of the socket.
as_user() {
	OUT=$(setpriv --reuid "$1" --regid "$1" --groups "$2" "$work/bin/vmpoke" -c "$sock" "${@:3}" 2>"$work/stderr" </dev/null)
	RC=$?
	ERR=$(<"$work/stderr")
	return $RC
}

unauthorised_user() {
	local before
	before=$(vm_bytes a "$entry" 32)
	chmod 644 "$work"/fix.yaml*
	as_user "$stranger" 0 list || why "list: $ERR" || return
	as_user "$stranger" 0 apply a "$work/fix.yaml" --unsigned
	expect_eq "exit code of apply" "$RC" 5 || why "$WHY ($ERR)" || return
	grep -q "uid $stranger may not do this (class apply)" <<<"$ERR" || why "the sentence is: $ERR" || return
	expect_eq "audit" "$(audit_last '[.result, .uid, .command, .rule] | join(" ")')" "refused $stranger patch-apply policy" || return
	as_user "$stranger" 0 check a "$work/fix.yaml" --unsigned
	expect_eq "exit code of check" "$RC" 5 || return
	as_user "$stranger" 0 remove a
	expect_eq "exit code of remove" "$RC" 5 || return
	expect_eq "guest text" "$(vm_bytes a "$entry" 32)" "$before" || return
	# The read-only socket is open to all, and the same rules hold there.
	OUT=$(setpriv --reuid "$stranger" --regid "$stranger" --clear-groups "$work/bin/vmpoke" -c "$work/run/control-ro.sock" list 2>&1) ||
		why "read-only: $OUT" || return
	OUT=$(setpriv --reuid 54322 --regid 54322 --clear-groups "$work/bin/vmpoke" -c "$work/run/control-ro.sock" list 2>&1)
	expect_eq "exit code of somebody without a rule" $? 5 || return
	grep -q 'uid 54322 may do nothing here' <<<"$OUT" || why "$OUT"
}

# The kernel tells supplementary groups too.
member_of_a_group() {
	as_user 54322 "0,$member" probe a || why "$ERR" || return
	as_user 54322 "0,$member" revert a fix
	expect_eq "exit code of revert" "$RC" 5 || return
	grep -q 'class revert' <<<"$ERR" || why "$ERR" || return
	as_user 54322 0 probe a
	expect_eq "exit code without the group" "$RC" 5 || return
	grep -q 'uid 54322 may do nothing here' <<<"$ERR" || why "$ERR"
}

override_refused() {
	signed gone ours --serial 4 || return
	refused override "override 'mode'" apply a "$work/gone.yaml" --mode stopped
}

# A rule is judged when it is installed, and again when it applies its patch.
install_rules() {
	refused unsigned 'not signed' install a "$work/plain.yaml" || return
	signed gone ours --serial 4 || return
	vp_ok install a "$work/gone.yaml" || return
	until_ok 60 applied_by_rule || why "the audit file ends with: $(audit_last .)" || return
	expect_eq "getpgrp" "$(vm_pgrp a)" 4244 || return
	vp_ok revert a gone && vp_ok revoke gone "$ours" || return
	refused revoked 'serial 4 .* is revoked' install a "$work/gone.yaml" --priority 5 || return
	vp_ok uninstall a gone || return
	signed gone ours --serial 5
}
# What its author may not have any more a rule does not apply; once he may again, it does.
author_loses_the_right() {
	patch late 4245
	signed late ours --serial 1 || return
	vm_mon a '{"execute": "stop"}' >/dev/null
	until_ok 60 vm_is paused || why "vmpoked says: $OUT" || return
	vp_ok install a "$work/late.yaml" || return
	config norules
	reload || return
	vm_mon a '{"execute": "cont"}' >/dev/null
	until_ok 120 rule_is refused || why "status says: $OUT" || return
	vp status --why a
	expect_eq "exit code of status" "$RC" 3 || return
	grep -q 'late: refused: whoever added rule [0-9]* may not do so now: uid 0 may not do this (class rules)' <<<"$OUT" ||
		why "status --why says: $OUT" || return
	grep -q 'added by: root' <<<"$OUT" || why "status --why says: $OUT" || return
	expect_eq "audit" "$(audit_last '[.result, .patch, .rule] | join(" ")')" "refused late policy" || return
	expect_eq "getpgrp" "$(vm_pgrp a)" own || return
	config strict
	reload || return
	until_ok 120 rule_is applied || why "status says: $OUT" || return
	expect_eq "getpgrp" "$(vm_pgrp a)" 4245 || return
	vp_ok revert a late && vp_ok uninstall a late
}
vm_is() { # STATE
	vp --json list
	[ "$(field '.[0].state')" = "$1" ]
}
rule_is() { # STATE
	vp --json status a
	[ "$(field '.desired[0].state')" = "$1" ]
}
applied_by_rule() { [[ $(audit_last '[.result, .patch, .key, .allowed_by] | join(" ")') == "done gone $ours install-rule-"* ]]; }

policy_of_other_vms() {
	config elsewhere
	reload || return
	refused policy "to 'a'" apply a "$work/gone.yaml" || return
	vp_ok --json list || return
	expect_eq "VMs that are shown" "$(field length)" 0 || return
	config loose
	reload || return
	vp_ok apply a "$work/plain.yaml" || return
	expect_eq "getpgrp" "$(vm_pgrp a)" 4242 || return
	vp_ok revert a plain
}

# What happened since the daemon was started, as counted there and as Prometheus' parsers read it.
figures() {
	daemon_stop && daemon_start || return # counts anew
	vp_ok apply a "$work/plain.yaml" && vp_ok apply a "$work/plain.yaml" && vp_ok revert a plain || return
	vp apply a "$work/notus.yaml"
	vp apply a "$work/old.yaml"
	vp_ok --json stats a || return
	expect_eq "changes" "$(field '[.vms[0].changes[] | "\(.operation) \(.mode) \(.result) \(.count)"] | join(", ")')" \
		"apply stopped changed 1, apply null unchanged 1, apply null refused 1, revert stopped changed 1" || return
	expect_eq "pauses, and the longest is one of them" "$(field '.vms[0].pause | [.count, .max_us > 0, .max_us <= .sum_us] | join(" ")')" \
		"2 true true" || return
	expect_eq "refused by vmpoked" "$(field .daemon.refused)" 1 || return # the other one was refused by the worker
	vp_ok stats || return
	grep -q "^a	running	0	1	1	1	" <<<"$OUT" || why "vmpoke stats says: $OUT" || return
	"$python" "$root/tests/e2e/metrics-read.py" "$work/run/metrics.sock" >"$work/metrics" 2>"$work/stderr" ||
		why "$(tail -n 1 "$work/stderr")" || return
	local sample
	for sample in 'vmpoke_changes_total{mode=stopped,operation=apply,result=changed,vm=a} 1' \
		'vmpoke_changes_total{mode=,operation=apply,result=refused,vm=a} 1' 'vmpoke_refusals_total{} 1' \
		'vmpoke_vm_state{state=running,vm=a} 1' 'vmpoke_pause_seconds_bucket{le=+Inf,vm=a} 2' 'vmpoke_pause_seconds_count{vm=a} 2' \
		'vmpoke_vms{} 1' 'vmpoke_workers{} 1' 'vmpoke_patches{vm=a} 0'; do
		grep -qxF "$sample" "$work/metrics" || why "no '$sample' in: $(tr '\n' ' ' <"$work/metrics")" || return
	done
}

metrics_of_a_stranger() {
	install -m 755 "$root/tests/e2e/metrics-read.py" "$work/bin/"
	OUT=$(setpriv --reuid "$stranger" --regid "$stranger" --clear-groups "$python" "$work/bin/metrics-read.py" "$work/run/metrics.sock" 2>&1) ||
		why "$OUT" || return
	OUT=$(setpriv --reuid 54322 --regid 54322 --clear-groups "$python" "$work/bin/metrics-read.py" "$work/run/metrics.sock" 2>&1)
	grep -q '403 Forbidden' <<<"$OUT" || why "somebody without a rule gets: $(tail -n 1 <<<"$OUT")"
}

# A journald of our own in a mount namespace of its own: what vmpoked sends has the fields.
journal_has_fields() {
	daemon_stop || return
	config strict
	# shellcheck disable=SC2016
	setpriv --pdeathsig KILL unshare --mount --propagation private sh -c '
		mount -t tmpfs none /run && mkdir -p /run/systemd/journal || exit 1
		setpriv --pdeathsig KILL "$1" "$2" /run/systemd/journal/socket "$3/journal.jsonl" &
		for i in $(seq 180); do [ -S /run/systemd/journal/socket ] && break; sleep 0.5; done
		exec "$4" --config "$3/vmpoked.conf" --keys-dir "$3/keys.d" --state-dir "$3/state" --runtime-dir "$3/run"
	' - "$python" "$root/tests/e2e/journal-catch.py" "$work" "$build/vmpoked" >"$work/journald.log" 2>&1 &
	daemon_pid=$!
	until_ok 90 daemon_answers || why "no vmpoked: $(tail -n 1 "$work/journald.log")" || return
	refused unsigned 'not signed' apply a "$work/plain.yaml" || return
	until_ok 90 grep -q '"VMPOKE_RESULT": "refused"' "$work/journal.jsonl" || why "the journal got: $(tail -n 1 "$work/journal.jsonl")" || return
	OUT=$(jq -sr 'map(select(.VMPOKE_RESULT == "refused"))[-1] |
		[.VMPOKE_VM, .VMPOKE_PATCH, .VMPOKE_UID, .VMPOKE_COMMAND, .VMPOKE_RULE, .MESSAGE_ID, .PRIORITY, .SYSLOG_IDENTIFIER] | join(" ")' \
		"$work/journal.jsonl")
	expect_eq "fields" "$OUT" "a plain 0 patch-apply unsigned 54be96e6afbd4f4da109804d8e6ecdba 4 vmpoked" || return
	vp_ok apply a "$work/gone.yaml" && vp_ok revert a gone || return
	until_ok 90 grep -q '"VMPOKE_RESULT": "done"' "$work/journal.jsonl" || why "no result in the journal"
}

run_case "setup" setup
[ "$failures" = 0 ] || finish
run_case "an unsigned patch is refused" unsigned_refused
run_case "a signed one is applied, and is the same when applied again" signed_applied
run_case "a signature of the older kind" legacy_signature
run_case "a patch changed after it was signed" tampered_patch
run_case "a manifest changed after it was signed" tampered_manifest
run_case "expired" expired
run_case "replayed, also after a restart" replayed
run_case "revoked" revoked
run_case "the manifest is for other VMs" wrong_vm
run_case "the manifest is for another kernel" wrong_build_id
run_case "signed by a stranger" untrusted_key
run_case "a manifest without a signature" unsigned_manifest
run_case "a user without the right" unauthorised_user
run_case "a user who may because of a group" member_of_a_group
run_case "an override that is not allowed" override_refused
run_case "install rules" install_rules
run_case "an install rule whose author lost the right" author_loses_the_right
run_case "a policy for other VMs, by SIGHUP" policy_of_other_vms
run_case "counters, and metrics as Prometheus reads them" figures
run_case "metrics are for those who may monitor" metrics_of_a_stranger
run_case "the systemd journal gets fields" journal_has_fields
run_case "the guest is well" vm_healthy a
finish
