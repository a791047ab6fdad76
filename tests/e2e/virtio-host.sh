# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs on a host with a /dev/kvm (see virtio.sh): a stock guest on our own VMM with a
# disk, a read-only disk and the agent's port. For busybox sh; all it needs is in
# $RIG_FILES.
. "$RIG_FILES/host-lib.sh"
result() { # STATUS NAME WHY
	if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2: $3"; failed=1; fi
}
said() { tr -d '\r' <"$dir/console" | sed -n "s/^GUEST $1 //p"; }
is() { # WORD VALUE NAME
	[ "$(said "$1")" = "$2" ]
	result $? "$3" "the guest says '$(said "$1")', expected '$2'"
}

[ -c /dev/kvm ] || { echo "not ok /dev/kvm: this host has none"; exit 1; }
dd if=/dev/urandom of="$dir/disk" bs=1M count=2 2>/dev/null
dd if=/dev/zero of="$dir/disk" bs=1M seek=2 count=2 2>/dev/null
dd if=/dev/urandom of="$dir/read-only" bs=512 count=777 2>/dev/null
md5=$(md5sum <"$dir/read-only")
# What the tool has found is only kept of a guest that came up as often as it was to.
guest() { # LINE TIMES SECONDS [DISKS...]
	line=$1 times=$2 limit=$3
	shift 3
	timeout "$limit" kvm-virtio "$RIG_FILES/guest-kernel" "$RIG_FILES/virtio-initramfs" 60 "$@" "$console" >"$dir/found" 2>&1
	ended=$?
	[ "$(grep -c "^GUEST $line" "$console")" -ge "$times" ] || { cp "$dir/found" "$dir/found.log"; return 2; }
}
console_gone() { rm -f "$console"; }
judge() {
	cat "$dir/found"
	[ $ended = 0 ] || failed=1
}
boots console_gone guest irqs 1 170 "$dir/disk" "$dir/read-only"
judge

is irqs 3 "three devices are found by ACPI and have an interrupt"
is serial "vmpoke-disk0 vmpoke-disk1" "disks tell their id"
is sizes "8192 777" "disks have their size"
is ro "0 1" "the read-only disk says so"
is md5 "$md5" "a disk reads as it is"
is wrote "" "a read-only disk is not written"
is "until closed" 0 "the guest sees the host close"
is copied 0 "writes and a flush succeed"
dd if="$dir/disk" of="$dir/a" bs=1M count=2 2>/dev/null
dd if="$dir/disk" of="$dir/b" bs=1M skip=2 2>/dev/null
cmp "$dir/a" "$dir/b" >/dev/null
result $? "what the guest wrote is on the disk" "the halves differ"
[ "$md5" = "$(md5sum <"$dir/read-only")" ]
result $? "the read-only image is as it was" "it changed"

# 128 pages of 2 MiB for the guest; they are the kernel's to give or not.
echo 128 >/proc/sys/vm/nr_hugepages
if [ "$(cat /proc/sys/vm/nr_hugepages)" = 128 ]; then
	console_gone
	boots console_gone guest up 2 130
	judge
	[ "$(grep -c '^GUEST up' "$dir/console")" = 2 ]
	result $? "the console shows both boots" "it does not"
else
	echo "skip a stock kernel runs in huge pages: this host has no 128 of them"
fi
lane_figures
[ $failed = 0 ] || sed 's/^/# /' "$dir/console"
exit $failed
