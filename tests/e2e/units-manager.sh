# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The part of units.sh that runs in namespaces of its own: a "systemd --user" starts the service from
# its sockets, restarts it, watches it, stops it beside a machine. $VMPOKE_UNITS: folder with the
# units, $VMPOKE_GROUP: a group file that has the group vmpoke.
. "$(dirname "$0")/../lib.sh"
service=vmpoked.service
sock=/run/user/0/vmpoke/control.sock
probes=/run/systemd/user

# What only this machine has must not be seen: /run is empty, and there the manager's files are.
namespace_made() {
	mount -t tmpfs tmpfs /run || return
	mkdir -p /run/systemd/system /run/user/0 $probes "$work/home" "$work/etc" || return
	chmod 700 /run/user/0
	{ grep -v '^vmpoke:' /etc/group; grep '^vmpoke:' "$VMPOKE_GROUP"; } >"$work/etc/group"
	mount --bind "$work/etc/group" /etc/group
	export XDG_RUNTIME_DIR=/run/user/0 XDG_CONFIG_HOME=$work/config HOME=$work/home
	unset DBUS_SESSION_BUS_ADDRESS
	/lib/systemd/systemd --user --unit=basic.target --log-target=console --default-standard-output=inherit \
		--default-standard-error=inherit >"$work/manager.log" 2>&1 </dev/null &
	until_ok 90 manager_runs
}

ctl() { systemctl --user --no-pager "$@"; }
manager_runs() { [ "$(ctl is-system-running 2>/dev/null)" = running ]; }
property() { ctl show -P "$2" "$1"; }
main_pid() { property $service MainPID; }
is_active() { ctl is-active --quiet "$1"; }

# offered LINE: this manager can do that on this machine.
offered() {
	printf '[Service]\nType=oneshot\nExecStart=/bin/true\n%s\n' "$1" >"$probes/probe.service"
	ctl daemon-reload && ctl start probe.service 2>>"$work/probes"
}

# The units, without those confinements that this machine refuses for itself.
units_placed() {
	local line
	cp "$VMPOKE_UNITS"/vmpoked* $probes || return
	grep -E '^(Protect|Private|Restrict|Lock|NoNew|Capability|Device|SystemCall|IPAddress|Limit)' \
		"$VMPOKE_UNITS/$service" >"$work/confinements"
	while read -r line; do
		offered "$line" </dev/null && continue
		echo "# not to be had on this machine: $line"
		sed -i "/^$line\$/d" "$probes/$service"
	done <"$work/confinements"
	rm $probes/probe.service
	ctl daemon-reload
}

sockets_listen() {
	ctl start vmpoked.socket vmpoked-ro.socket || return
	expect_eq "mode and group of control.sock" "$(stat -c '%a %U %G' $sock)" "660 root vmpoke" || return
	expect_eq "mode of control-ro.sock" "$(stat -c %a "${sock%.sock}-ro.sock")" 666 || return
	! is_active $service || why "the service runs already"
}

client_starts_it() {
	vp_ok --json list || return
	is_active $service || why "the service is not active" || return
	expect_eq "folder of the sockets" "$(stat -c '%a %U %G' /run/user/0/vmpoke)" "755 root vmpoke" || return
	expect_eq "folder of the state" "$(stat -c %a "$XDG_CONFIG_HOME/vmpoke")" 700 || return
	grep -q '^[0-9]* VMs registered$' <<<"$(property $service StatusText)" || why "status: $(property $service StatusText)"
}

read_only_too() {
	vp -c "${sock%.sock}-ro.sock" --json list || why "list: $ERR" || return
	vp -c "${sock%.sock}-ro.sock" add x --qmp /nowhere
	[ "$RC" != 0 ] || why "a VM was added through the read-only socket"
}

status_has() { # LINE PATTERN
	grep -qE "^$1:[[:space:]]+$2\$" "/proc/$(main_pid)/status" ||
		why "$(grep "^$1:" "/proc/$(main_pid)/status"), expected $2"
}

confined() {
	[ "$(main_pid)" -gt 1 ] || why "the service does not run" || return
	status_has NoNewPrivs 1 || return
	status_has Seccomp 2 || return
	status_has CapBnd 0000000000080002 || return # SYS_PTRACE, DAC_OVERRIDE
	status_has CapEff 0000000000080002
}

# The client's connection waits in the manager's socket for the next daemon.
restarted_after_kill() {
	local before
	before=$(main_pid)
	[ "$before" -gt 1 ] || why "the service does not run" || return
	kill -KILL "$before"
	vp_ok --json list || return
	until_ok 90 is_active $service || why "not active again" || return
	[ "$(main_pid)" != "$before" ] || why "the same process"
}

stopped_and_back() {
	ctl stop $service 2>>"$work/stop" || return
	[ -S $sock ] || why "the socket went with the service" || return
	vp_ok --json list
}

# A machine is started, the service stopped: the machine is none of its processes to end.
machine_stays() {
	local pid
	vp_ok --json run bare --kernel "$guest_dir/beat.elf" --memory 64M --console "$work/bare.console" || return
	pid=$(field .pid)
	until_ok 90 grep -qs UP "$work/bare.console" || why "the guest does not print" || return
	ctl restart $service || return
	kill -0 "$pid" || why "the machine ended with the service's restart" || return
	ctl stop $service 2>>"$work/stop" || return
	kill -0 "$pid" || why "the machine ended with the service" || return
	until_ok 90 machine_found "$pid" || why "the next service says: $OUT $ERR" || return
	vp_ok destroy bare
}

machine_found() { vp --json info bare && [ "$(field '"\(.state) \(.pid)"')" = "running $1" ]; }

pinged_after() { [ "$(property $service WatchdogTimestampMonotonic)" -gt "$1" ]; }
restarted_beyond() { [ "$(property $service NRestarts)" -gt "$1" ] && is_active $service; }

watched() {
	local before pid
	mkdir -p $probes/$service.d
	printf '[Service]\nWatchdogSec=3s\n' >$probes/$service.d/watchdog.conf
	ctl daemon-reload && ctl restart $service || return
	before=$(property $service WatchdogTimestampMonotonic)
	[ "$before" -gt 0 ] || why "the manager does not watch" || return
	until_ok 60 pinged_after "$before" || why "no ping" || return
	before=$(property $service NRestarts)
	pid=$(main_pid)
	[ "$pid" -gt 1 ] || why "the service does not run" || return
	kill -STOP "$pid"
	until_ok 120 restarted_beyond "$before" || why "a daemon that stands still is not replaced" || return
	vp_ok --json list
}

bad_names_refused() {
	local status
	timeout 240 systemd-socket-activate -l "$work/other.sock" --fdname=other "$build/vmpoked" --foreground \
		--state-dir "$work/state" --runtime-dir "$work/run" >"$work/activate" 2>&1 &
	until_ok 90 [ -S "$work/other.sock" ] || why "no socket" || return
	timeout 90 "$build/vmpoke" -c "$work/other.sock" list >/dev/null 2>&1
	wait $!
	status=$?
	expect_eq "exit status" $status 1 || return
	grep -q "passes a socket 'other'" "$work/activate" || why "it says: $(tail -n 1 "$work/activate")"
}

all_gone() {
	ctl stop vmpoked.socket vmpoked-ro.socket $service 2>>"$work/stop" || return
	! is_active $service || why "still active" || return
	[ ! -e $sock ] || why "the socket is still there" || return
	[ ! -e "${sock%.sock}-ro.sock" ] || why "the read-only socket is still there"
}

if ! namespace_made; then
	skip units-manager "systemd --user does not run here: $(tail -n 1 "$work/manager.log" 2>/dev/null)"
	finish
fi
run_case "units are placed" units_placed || finish
run_case "the sockets listen before the service runs" sockets_listen || finish
run_case "a client starts the service" client_starts_it || finish
run_case "the read-only socket serves as well" read_only_too
run_case "the service is confined" confined
run_case "a killed service is back, no client is refused" restarted_after_kill
run_case "a stopped service is started by the next client" stopped_and_back
if [ ! -w /dev/kvm ]; then
	skip "a machine outlives the service" "no /dev/kvm"
else
	run_case "a machine outlives the service" machine_stays
fi
run_case "a service that hangs is replaced" watched
run_case "a socket that is none of ours is refused" bad_names_refused
run_case "stopping sockets and service leaves no socket" all_gone
[ $failures = 0 ] || sed 's/^/# /' "$work/manager.log" | tail -n 40
finish
