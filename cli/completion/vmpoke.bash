# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of vmpoke for bash: asks the program itself, which knows its verbs,
# its options, and from vmpoked the VMs and patches.
_vmpoke() {
	local line cur=${COMP_WORDS[COMP_CWORD]}
	COMPREPLY=()
	[ "$cur" != = ] || cur=
	while IFS= read -r line; do
		case $line in
		:files)
			compopt -o filenames 2>/dev/null
			while IFS= read -r line; do
				COMPREPLY+=("$line")
			done < <(compgen -f -- "$cur")
			;;
		*) COMPREPLY+=("${line%%$'\t'*}") ;;
		esac
	done < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _vmpoke vmpoke
