#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What "make deb" builds: lintian's and mandoc's judgement, a program that uses the library, and in a
# fresh Debian: install, the quick start of vmpoke(1), remove, purge, and nothing is left
# (packages-root.sh is the part in there). The packages hold what build/ has; with VMPOKE_FULL=1 they
# are compiled as Debian would.
. "$(dirname "$0")/../lib.sh"
debs=$root/build/deb
sdk=$work/sdk
base=${VMPOKE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vmpoke}/test-root-12

made() {
	make -C "$root" --no-print-directory deb $([ -n "${VMPOKE_FULL-}" ] || echo DEB_PREBUILT=1) >"$work/deb.log" 2>&1 ||
		why "$(grep -E 'rror' "$work/deb.log" | tail -n 1)" || return
	expect_eq packages "$(cd "$debs" && printf '%s ' *.deb | sed -E 's/_[^ ]*//g; s/[a-z0-9-]*-dbgsym //g')" \
		"libvmpoke-dev libvmpoke0 vmpoke-agent vmpoke-libvirt vmpoke "
}

lintian_finds_no_error() {
	lintian --no-cfg --allow-root "$debs"/*.changes >"$work/lintian" 2>&1
	grep -v '^[WIN]: ' "$work/lintian" >"$work/lintian.errors"
	[ ! -s "$work/lintian.errors" ] || why "$(head -n 1 "$work/lintian.errors")"
}

# page FILE: no warning of either formatter, and the sections that each page has.
page() {
	local section
	mandoc -T lint -W warning "$1" >"$work/lint" 2>&1
	groff -k -ww -man -Tutf8 -z "$1" >>"$work/lint" 2>&1
	[ ! -s "$work/lint" ] || why "${1##*/}: $(head -n 1 "$work/lint")" || return
	for section in NAME DESCRIPTION 'EXIT STATUS' FILES EXAMPLES 'SEE ALSO'; do
		[ "$section ${1##*/}" != 'EXAMPLES vmpoke.1' ] || section='QUICK START'
		grep -qF ".SH \"$section\"" "$1" || why "${1##*/} has no section $section" || return
	done
}

pages() {
	local file
	make -C "$root" --no-print-directory man >"$work/man.log" 2>&1 || why "$(tail -n 1 "$work/man.log")" || return
	for file in "$root"/build/man/*.[1-8]; do
		page "$file" || return
	done
}

bad_page_is_seen() {
	printf '.TH x 1\n.SH NAME\nx\n.TS\n\\fQ\n' >"$work/x.1"
	! page "$work/x.1" || why "a broken page passed"
}

unpacked() {
	mkdir "$sdk"
	dpkg-deb -x "$debs"/libvmpoke0_*.deb "$sdk" && dpkg-deb -x "$debs"/libvmpoke-dev_*.deb "$sdk" || return
	lib=$(dirname "$(find "$sdk/usr/lib" -name libvmpoke.a)")
	example=$sdk/usr/share/doc/libvmpoke-dev/examples/example.c
}

# The header must do without ours, and under the strictest of compilers' options.
compiled() { # NAME ARGUMENTS...
	gcc -std=c99 -pedantic -Wall -Wextra -Werror -o "$work/$1" "$example" "${@:2}" 2>"$work/cc.log" ||
		why "$(head -n 1 "$work/cc.log")"
}

compiled_shared() {
	# shellcheck disable=SC2046
	compiled shared $(PKG_CONFIG_SYSROOT_DIR=$sdk PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags --libs vmpoke) ||
		return
	readelf -d "$work/shared" | grep -q 'libvmpoke\.so\.0\]' || why "it does not want libvmpoke.so.0"
}

# A program's own names and the library's do not meet.
compiled_static() {
	echo 'int err_set(void); int err_set(void) { return 7; } int qmp_client_call = 3;' >"$work/own.c"
	compiled static "$work/own.c" -I"$sdk/usr/include" "$lib/libvmpoke.a" -ljansson
}

only_ours_exported() {
	expect_eq "names that are not vmpoke_..." \
		"$(nm -D --defined-only "$lib/libvmpoke.so.0" | awk '{ print $3 }' | grep -v '^vmpoke_\|^VMPOKE_0$\|^$')" ""
}

# The example asks for VMs, waits for an event, and asks for a VM that is not there: exit code 4.
example_runs() { # NAME
	local status
	LD_LIBRARY_PATH=$lib timeout 120 "$work/$1" "$sock" >"$work/example.out" 2>"$work/example.err"
	status=$?
	expect_eq "exit code" $status 4 || why "$WHY ($(<"$work/example.err"))" || return
	expect_eq "the list" "$(head -n 1 "$work/example.out")" "[]" || return
	grep -q '^not-found: ' "$work/example.err" || why "it says: $(<"$work/example.err")"
}

example_finds_no_daemon() {
	LD_LIBRARY_PATH=$lib timeout 120 "$work/shared" "$work/nobody" >"$work/example.out" 2>"$work/example.err"
	expect_eq "exit code" $? 7
}

root_part() {
	setpriv --pdeathsig KILL timeout -k 5 400 unshare --mount --propagation private \
		env VMPOKE_BASE="$base" VMPOKE_DEBS="$debs" bash "$root/tests/e2e/packages-root.sh" ||
		failures=$((failures + 1))
}

run_case "make deb" made || { cp "$debs/log" "$work" 2>/dev/null; finish; }
if command -v lintian >/dev/null; then
	run_case "lintian finds no error" lintian_finds_no_error
else
	skip "lintian finds no error" "no lintian"
fi
run_case "manual pages are clean" pages
run_case "a broken page is seen" bad_page_is_seen
run_case "library unpacked" unpacked || finish
run_case "example compiled with pkg-config" compiled_shared
run_case "example compiled with the static library" compiled_static
run_case "the library exports its own names only" only_ours_exported
run_case "vmpoked starts" daemon_start || finish
run_case "the example runs" example_runs shared
run_case "the static example runs" example_runs static
run_case "without a daemon the example says so" example_finds_no_daemon
daemon_stop
if [ "$(id -u)" != 0 ]; then
	skip packages-root "needs root: a chroot"
elif [ ! -x "$base/usr/bin/apt-get" ] && [ -z "${VMPOKE_FULL-}" ]; then
	skip packages-root "no fresh Debian in the cache: tests/fetch root-12, or VMPOKE_FULL=1"
elif ! "$root/tests/fetch" root-12 >/dev/null 2>>"$work/fetch.log"; then
	skip packages-root "no fresh Debian: $(tail -n 1 "$work/fetch.log")"
elif ! unshare --mount true 2>/dev/null; then
	skip packages-root "no mount namespace here"
else
	root_part
fi
finish
