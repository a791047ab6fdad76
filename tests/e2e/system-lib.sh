# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# For tests whose other part is a script in bash on tests/lib.sh: packs what that needs of this machine's
# programs, and this source tree, for a machine of tests/rig, which has busybox only. Source it after
# tests/lib.sh. Must put nothing there that would make the machine's kernel another one than the stock one.

system=$work/system # the other machine's root folder, besides what the rig puts there

# system_program NAME...: this machine's, with its libraries.
system_program() {
	local name path
	for name; do
		path=$(command -v "$name") || why "no program $name here" || return
		cp -L "$path" "$system/usr/bin/" || return
		system_libraries "$path"
	done
}
system_libraries() { # FILE...
	local library
	ldd "$@" 2>/dev/null | grep -oE '/[^ ():]+' | sort -u | while read -r library; do
		[ ! -e "$library" ] || [ -e "$system$library" ] || { mkdir -p "$system${library%/*}" && cp -L "$library" "$system$library"; }
	done
}

# Python, with the modules that the scripts beside us import, those in $system_modules, and those they import in turn.
system_python() {
	local file
	"$python" - $(sed -nE 's/^import ([a-z.]+)$/\1/p' "$root"/tests/link/*.py "$root/tests/e2e/qmp.py") encodings.idna ${system_modules-} <<-'PY' >"$work/modules" || return
		import importlib, sys
		for name in sys.argv[1:]:
		    importlib.import_module(name)
		files = {getattr(m, "__file__", None) or "" for m in sys.modules.values()}
		print(*(f for f in files if f.startswith("/")), sep="\n")
	PY
	while read -r file; do
		mkdir -p "$system${file%/*}" && cp -L "$file" "$system$file" || return
		case $file in *.so) system_libraries "$file" ;; esac
	done <"$work/modules"
	system_program "$python"
}

# system_make PATH...: everything but what busybox does as well, and these files of the source tree.
system_make() {
	local path
	mkdir -p "$system"/usr/{bin,sbin,lib} "$system/vmpoke"
	system_program bash awk env setpriv unshare nsenter timeout tail head sed grep sort cp install readlink mktemp ip || return
	system_python || return
	for path in tests/lib.sh tests/fetch "$@"; do
		(cd "$root" && cp -L --parents -r "$path" "$system/vmpoke/") || return
		[ ! -f "$root/$path" ] || system_libraries "$root/$path"
	done
}

# system_script FILE COMMAND: what the rig runs there.
system_script() {
	cat >"$1" <<-SH
		ln -s /proc/self/fd /dev/fd
		mkdir -p /cache
		tar -xf "\$RIG_FILES/system.tar" -C / && rm "\$RIG_FILES/system.tar" || exit
		cd /vmpoke && export PATH=/usr/bin:/usr/sbin:/bin VMPOKE_CACHE=/cache
		exec $2
	SH
	tar -cf "$work/system.tar" -C "$system" .
}
