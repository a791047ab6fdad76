# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see borrow-kvm.sh): borrows a context in a stock guest of
# our own VMM, which keeps running all the while, and in one under QEMU/KVM, whose kernel
# changes its own text all the time. For busybox sh; everything it needs is in $RIG_FILES.
. "$RIG_FILES/host-lib.sh"
nonces="123456789abcdef0 fedcba9876543210"
append="console=ttyS0 quiet panic=-1 vmtest=borrow"

not_ok() {
	echo "not ok $1: $2"
	failed=1
}

toggles() { grep -c '^TOGGLED' "$dir/console"; }
toggled() { [ "$(toggles)" -ge "$1" ]; }

# On standard output, what the tool is told; it goes on when the guest is up, and gives it time at the end.
commands() {
	within 90 toggled 2 || return
	printf '%s\n' begin 'calls 1000' 'sleep 100' 'rcu 60000' 'exec 5000' 'late 400' 'calls 3' \
		'lock 30000' 'waiter 30000' 'run 1000' 'waiter 1000'
	printf '%s\n' unlock 'calls 3' 'lock 30000' end 'free 30000'
	sleep 1
	before=$(toggles)
	within 30 toggled $((before + 3)) && touch "$dir/went-on"
}

judge() { # NAME
	sed -n "s/^# /# $1: /p" "$dir/out"
	if grep -q '^not ok' "$dir/out"; then
		not_ok "$1: borrowed context" "$(grep '^not ok' "$dir/out" | head -n 1)"
	elif [ "$(grep -c '^ok' "$dir/out")" != 17 ]; then
		not_ok "$1: borrowed context" "ended early: $(tail -n 1 "$dir/out") $(tail -n 1 "$dir/console")"
	else
		echo "ok $1: calls, all tasks, memory, text_mutex against the kernel's own ftrace"
	fi
	if [ ! -e "$dir/went-on" ]; then
		not_ok "$1: afterwards" "the kernel does not change its text any more: $(tail -n 1 "$dir/console")"
	elif grep -qE 'KMSG|Kernel panic' "$dir/console"; then
		not_ok "$1: afterwards" "$(grep -E 'KMSG|Kernel panic' "$dir/console" | head -n 1)"
	else
		echo "ok $1: the guest goes on, no complaint of its kernel"
	fi
	rm -f "$dir/went-on" "$dir/console"
}

[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
# Both write to the guest after its second line only.
console_new() { : >"$console"; }
machine() {
	# shellcheck disable=SC2086
	commands | borrow-run machine "$RIG_FILES/guest-kernel" "$RIG_FILES/guest-initramfs" 2 256 "$console" $nonces \
		"$append" >"$dir/out" 2>&1
	toggled 2 || return 2
}
qemu_start() {
	qemu -L "$RIG_FILES" -accel kvm -cpu host -smp 2 -m 256 -nodefaults -display none -vga none -nic none \
		-serial "file:$console" -monitor none -qmp "unix:$dir/qmp,server=on,wait=off" -no-reboot \
		-kernel "$RIG_FILES/guest-kernel" -initrd "$RIG_FILES/guest-initramfs" -append "$append" >"$dir/qemu.log" 2>&1 &
	pid=$!
	within 120 up && toggled 1 || return 2
}
up() { toggled 1 || ! kill -0 $pid 2>/dev/null; }
qemu_gone() {
	kill $pid 2>/dev/null
	wait $pid
	rm -f "$dir/qmp"
	console_new
}
console_new
boots console_new machine
judge "our VMM"
console_new
boots qemu_gone qemu_start
# shellcheck disable=SC2086
commands | borrow-run qemu "$dir/qmp" $nonces >"$dir/out" 2>&1
judge "QEMU on KVM"
kill $pid
wait
lane_figures
exit $failed
