# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the lanes share: packing a machine's first and only file system, starting
# it, and finding out how it ended. Sourced by `run`, whose variables it uses.
# A machine has two serial ports: the kernel's console, which is evidence, and
# one that carries nothing but SCRIPT's output.

missing() { # REASON...: this lane cannot be had here
	echo "rig: lane $lane: $*" >&2
	exit 77
}

need() { # COMMAND OR PATH, PACKAGE
	command -v "$1" >/dev/null || [ -e "$1" ] || missing "$1 is missing (Debian package $2)"
}

# Folder of the kernel that machines boot, and of its KVM modules.
host_kernel() {
	local dir
	dir=$("$here/../fetch" host-6.1 2>>"$work/fetch.log") || missing "no kernel: $(tail -n 1 "$work/fetch.log")"
	echo "$dir"
}

# Sets the command line of QEMU 10 where it can be had and runs here, else of the system's.
find_qemu() {
	local dir
	if dir=$("$here/../fetch" qemu-10 2>/dev/null) &&
		! ldd "$dir/usr/bin/qemu-system-x86_64" | grep -q 'not found'; then
		qemu=("$dir/usr/bin/qemu-system-x86_64" -L "$dir/usr/share/qemu" -L "$dir/usr/share/seabios")
	else
		need qemu-system-x86_64 qemu-system-x86
		qemu=(qemu-system-x86_64)
	fi
}

# A program, and if it is a dynamic one its libraries where the loader looks for them.
add_file() { # FILE ROOT
	local library
	cp -L "$1" "$2/bin/" || return
	ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' | while read -r library; do
		mkdir -p "$2$(dirname "$library")" && cp -Ln "$library" "$2$library"
	done
}

# pack KERNEL-DIR MODULES COMPRESSOR... <nothing >initrd, with script and FILEs of files[].
# MODULES, a string, are loaded in that order, kvm-amd and kvm-intel with --kvm-args.
pack() {
	local kernel=$1 modules=$2 root=$work/root module path file
	shift 2
	mkdir -p "$root"/{bin,mod,proc,sys,dev,tmp}
	cp "$(command -v busybox)" "$root/bin/busybox"
	for module in $modules; do
		path=$(find "$kernel/lib/modules" -name "$module.ko" | head -n 1)
		[ -n "$path" ] || missing "the kernel has no module $module"
		# Bochs reads the image at a few MB/s: leave out what nobody looks at.
		strip --strip-debug -o "$root/mod/$module.ko" "$path" 2>/dev/null || cp "$path" "$root/mod/"
		echo "$module" >>"$root/mod/order"
	done
	: >>"$root/mod/order"
	for file in "${files[@]}"; do add_file "$file" "$root" || exit 125; done
	cp "$script" "$root/run.sh"
	cp "$here/init" "$root/init"
	printf 'RIG_LANE=%s\nRIG_CPUS=%s\nRIG_FILES=/bin\nkvm_args=%q\n' "$lane" "$cpus" "$kvm_args" >"$root/environment"
	chmod 755 "$root/init" "$root"/bin/*
	(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | "$@")
}

# start COMMAND...: the machine, in the background, dead at the latest after the limit.
start() {
	: >"$work/console"
	: >"$work/output"
	setpriv --pdeathsig TERM timeout -k 5 "$limit" setpriv --pdeathsig KILL "$@" </dev/null >"$work/log" 2>&1 &
	machine=$!
}

# Shows SCRIPT's output as it comes, until the machine is off; exits as SCRIPT did.
follow() {
	local ended status viewer
	# In the background: bash acts on a signal during wait, but not during a command.
	tail -n +1 -s 0.1 -f --pid="$machine" "$work/output" &
	viewer=$!
	wait "$machine"
	ended=$?
	wait "$viewer"
	machine=
	status=$(tr -d '\r' <"$work/console" | sed -nE 's/.*RIG-EXIT ([0-9]+)$/\1/p' | tail -n 1)
	[ -z "$status" ] || exit "$status"
	{
		echo "rig: lane $lane: SCRIPT did not end; the last of the console and of the emulator:"
		tail -qn 15 "$work/console" "$work/log" | tr -d '\r'
	} >&2
	case $ended in 124 | 137) exit 124 ;; *) exit 125 ;; esac
}

# SCRIPT on this very machine.
run_here() { # FILE...
	local file
	mkdir "$work/bin"
	for file in "$@"; do ln -s "$(readlink -f "$file")" "$work/bin/"; done
	cpus=$(nproc)
	RIG_LANE=$lane RIG_CPUS=$cpus RIG_FILES=$work/bin PATH=$work/bin:$PATH \
		setpriv --pdeathsig TERM timeout -k 5 "$limit" sh "$script" </dev/null &
	machine=$!
	wait "$machine"
	local status=$?
	machine=
	[ $status != 137 ] || status=124
	exit $status
}
