#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of the shells, with a daemon and without: by calling the function as bash
# does, and by typing a tab into a real bash and a real zsh.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/many-lib.sh"
PATH=$build:$PATH
export VMPOKE_SOCKET=$sock TERM=xterm
# shellcheck source=cli/completion/vmpoke.bash
. "$root/cli/completion/vmpoke.bash"

setup() {
	fakes_start 2 web || return
	daemon_start || return
	vp_ok add web1 --qmp "$work/fakes/web000.qmp" || return
	vp_ok add web2 --qmp "$work/fakes/web001.qmp"
}

# completes WANT WORD...: what bash would offer for the last word, sorted, in one line.
completes() {
	local want=$1
	COMP_WORDS=("$@")
	COMP_WORDS[0]=vmpoke
	COMP_CWORD=$(($# - 1))
	_vmpoke vmpoke
	expect_eq "completion of '${*:2}'" "$(printf '%s\n' "${COMPREPLY[@]}" | sort | sed '/^$/d' | tr '\n' ' ')" "$want"
}

verbs() {
	completes "apply " app || return
	completes "unload " unl || return
	completes "history " help hi || return
	completes "" list "" || return
	completes "" nosuch verb "" || return
	completes "" __com || return
	# Every verb of the help is offered.
	COMP_WORDS=(vmpoke "") COMP_CWORD=1
	_vmpoke vmpoke
	local verb
	for verb in $("$build/vmpoke" help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
		[[ " ${COMPREPLY[*]} " == *" $verb "* ]] || why "'$verb' is not offered" || return
	done
	[ ${#COMPREPLY[@]} -ge 20 ] || why "only ${#COMPREPLY[@]} verbs"
}

options() {
	completes "--dry-run " apply --dr || return
	completes "" list --dr || return
	completes "--json " --js || return
	completes "held " apply --mode = he || return
	completes "flipped held staged stopped " apply --mode = = || return
	completes "always auto never " --color "" || return
	completes "" apply web1 -- --dr
}

# What is offered as a value is one.
values() {
	local option word n=0
	for option in color mode traps agent-use; do
		COMP_WORDS=(vmpoke apply "--$option" "") COMP_CWORD=3
		_vmpoke vmpoke
		for word in "${COMPREPLY[@]}"; do
			vp apply "--$option" "$word"
			! grep -q 'is no value' <<<"$ERR" || why "--$option $word: $ERR" || return
			n=$((n + 1))
		done
	done
	expect_eq "values tried" $n 12
}

# A vmpoked that is too busy to answer at once offers no names: asked again, it does.
names() {
	until_ok 90 completes "web1 web2 " info we || return
	until_ok 90 completes "web1 web2 " --color = never check "" || return
	until_ok 90 completes "web2 " status web2 || return
	completes "" revert web1 "" || return
	completes "" revert nobody "" || return
	completes "" events ""
}

paths() {
	local dir=$PWD
	mkdir -p "$work/files" && cd "$work/files" || return
	touch fix.yaml 'with space.yaml'
	completes "fix.yaml with space.yaml " apply web1 "" || return
	completes "fix.yaml " check --all fi || return
	completes "fix.yaml " replace web1 old fi || return
	completes "fix.yaml " manifest fi || return
	completes "fix.yaml " run m --kernel fi || return
	completes "fix.yaml " run m --kernel = fi || return
	cd "$dir" || return
}

# types_in SECONDS SHELL ARGS...: a tab completes verb, VM and value there.
types_in() {
	"$python" "$root/tests/e2e/pty_type.py" 30 "$@" -- '?READY> ' 'vmpoke app\t' '?apply' 'web1 --mo\t' '?--mode' 'he\t' '?held' \
		'\x15echo don""e\n' '?\ndone' '?READY> ' 'vmpoke info web\t\t' '?web[12].*web[12]' >"$work/typed" 2>"$work/typed.err" ||
		why "$(<"$work/typed.err"); shown: $(tail -c 300 "$work/typed" | tr -d '\r' | tr '\n' '|')"
}

in_bash() {
	printf 'PS1="READY> "\nbind "set enable-bracketed-paste off"\n. %q\n' "$root/cli/completion/vmpoke.bash" >"$work/bashrc"
	types_in bash --noprofile --rcfile "$work/bashrc" -i
}

in_zsh() {
	mkdir -p "$work/zsh"
	printf 'PS1="READY> "\nunset zle_bracketed_paste\nfpath=(%q $fpath)\nautoload -Uz compinit\ncompinit -u -D\n' \
		"$root/cli/completion" >"$work/zsh/.zshrc"
	ZDOTDIR=$work/zsh types_in zsh -d -i
}

# A shell at whose prompt somebody waits: no message, no wait.
without_daemon() {
	daemon_stop || return
	completes "" info we || return
	completes "apply " app || return
	COMP_WORDS=(vmpoke info "") COMP_CWORD=2
	_vmpoke vmpoke 2>"$work/said" >&2
	[ ! -s "$work/said" ] || why "it says: $(<"$work/said")"
}

run_case "two VMs registered" setup
[ $failures = 0 ] || finish
for name in verbs options values names paths in_bash; do
	run_case "completion: ${name//_/ }" "$name"
done
if command -v zsh >/dev/null; then run_case "completion: in zsh" in_zsh; else skip "completion: in zsh" "no zsh here"; fi
run_case "completion without a daemon" without_daemon
finish
