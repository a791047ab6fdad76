# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Hosts with a libvirtd of their own, for libvirt*.sh; source it after lib.sh. A host is a mount namespace
# in which libvirtd's folders are empty ones of ours: nothing of the machine's own libvirt is seen or touched.
# Domains are QEMUs with the test guest; what they say is in $work/DOMAIN, as with vm_start.
# Wants vmpoke-libvirt built; every process ends with libvirt_cleanup, or with the shell (pdeathsig).
declare -A host_pid=() libvirtd_pid=() service_pid=() follower_pid=()
domain_type=qemu domain_cpu="<cpu mode='maximum'><feature policy='disable' name='cx16'/></cpu>" # see accel_args
security_driver=none libvirtd_conf=/etc/libvirt/libvirtd.conf channels=/var/lib/libvirt/qemu/channel/target
limit=${LIBVIRT_LIMIT:-180} # seconds, after which anything hangs that somebody waits for

# Why no libvirtd can be had here; empty when it can.
libvirt_missing() {
	local program
	for program in libvirtd virsh unshare nsenter; do
		command -v "$program" >/dev/null || PATH=$PATH:/usr/sbin command -v "$program" >/dev/null ||
			{ echo "no $program"; return; }
	done
	[ "$(id -u)" = 0 ] || { echo "a libvirtd for the system needs root"; return; }
	unshare -m true 2>/dev/null || echo "no mount namespaces here"
}

uri() { echo "qemu+unix:///system?socket=$work/$1/libvirt/run/libvirt-sock"; }

# v HOST ARGS...: virsh. Sets OUT and ERR.
v() {
	local host=$1
	shift
	OUT=$(timeout "$limit" virsh -q -c "$(uri "$host")" "$@" 2>"$work/virsh.err" </dev/null) || {
		ERR=$(tr '\n' ' ' <"$work/virsh.err")
		why "virsh $* on $host: $ERR"
	}
}

# host_make HOST: folders and namespace; no program of ours runs yet.
host_make() {
	local dir=$work/$1/libvirt part
	mkdir -p "$dir"/{etc/hooks,run,lib,log,cache}
	cat >"$dir/etc/libvirtd.conf" <<-CONF
		unix_sock_dir = "$dir/run"
		auth_unix_rw = "none"
		host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
		log_outputs = "2:file:$dir/libvirtd.log"
	CONF
	cat >"$dir/etc/qemu.conf" <<-CONF
		user = "root"
		group = "root"
		dynamic_ownership = 0
		remember_owner = 0
		security_driver = "$security_driver"
		namespaces = []
		cgroup_controllers = []
		stdio_handler = "file"
	CONF
	# Made by a package that brings a system service along; libvirtd asks for them before it reads its file.
	{ cat /etc/passwd; echo libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin; } >"$dir/etc/passwd"
	{ cat /etc/group; echo kvm:x:64056:; echo libvirt-qemu:x:64055:; } >"$dir/etc/group"
	setpriv --pdeathsig KILL unshare -m --propagation private bash -c '
		set -e
		for part in etc:/etc/libvirt run:/run/libvirt lib:/var/lib/libvirt log:/var/log/libvirt cache:/var/cache/libvirt; do
			mkdir -p "${part#*:}"
			mount --bind "$0/${part%%:*}" "${part#*:}"
		done
		mount --bind "$0/etc/passwd" /etc/passwd
		mount --bind "$0/etc/group" /etc/group
		: >"$0/mounted"
		exec sleep 3600' "$dir" 2>"$dir/mount.err" &
	host_pid[$1]=$!
	until_ok "$limit" test -e "$dir/mounted" || why "no namespace for $1: $(tail -n 1 "$dir/mount.err")"
}

# hook_place HOST: the hook as it is installed, but for where things are. libvirtd notices it when it starts.
hook_place() {
	local dir=$work/$1/libvirt/etc/hooks/qemu.d
	mkdir -p "$dir"
	sed "s|/usr/lib/vmpoke/vmpoke-hook|$root/build/vmpoke-hook -s $work/$1/lv/hook.sock|" "$root/vmm/libvirt/50-vmpoke" >"$dir/50-vmpoke"
	chmod 755 "$dir/50-vmpoke"
}

# inside HOST: IN is what runs a command there.
inside() { IN=(nsenter -t "${host_pid[$1]}" -m --); }

libvirtd_start() { # HOST
	local dir=$work/$1/libvirt
	inside "$1"
	"${IN[@]}" "$python" "$root/tests/e2e/libvirt-reap.py" /usr/sbin/libvirtd -f "$libvirtd_conf" \
		-p "$dir/libvirtd.pid" >>"$dir/libvirtd.out" 2>&1 </dev/null &
	libvirtd_pid[$1]+=" $!"
	until_ok "$limit" libvirtd_settled "$1" $!
	v "$1" list || why "libvirtd of $1 does not answer: $(tail -n 1 "$dir/libvirtd.out") ($WHY)"
}

libvirtd_settled() { v "$1" list || process_gone "$2"; } # HOST PID: it answers, or never will

libvirtd_stop() { # HOST: its domains run on
	local pid
	pid=$(cat "$work/$1/libvirt/libvirtd.pid")
	kill -TERM "$pid"
	until_ok "$limit" process_gone "$pid" || why "libvirtd of $1 did not end"
}
process_gone() { ! kill -0 "$1" 2>/dev/null; }

# domain_define HOST DOMAIN [UUID]: the guest of vm_start as a domain.
domain_define() {
	local dir=$work/$2 image fresh=
	image=$(kernel_image 6.1 2>>"$work/fetch.log") || { WHY="no kernel 6.1 here"; return 2; }
	mkdir -p "$dir"
	[ -p "$dir/cmd.in" ] || { mkfifo "$dir/cmd.in" "$dir/cmd.out"; fresh=1; }
	[ -z "$fresh" ] || exec {vm_fd[$2]}<>"$dir/cmd.in"
	cat >"$dir/domain.xml" <<-XML
		<domain type='$domain_type'>
		  <name>$2</name>
		  ${3:+<uuid>$3</uuid>}
		  <memory unit='MiB'>512</memory>
		  <vcpu>2</vcpu>
		  <os>
		    <type arch='x86_64' machine='pc'>hvm</type>
		    <kernel>$image</kernel>
		    <initrd>$guest_dir/initramfs.gz</initrd>
		    <cmdline>console=ttyS0 quiet panic=-1</cmdline>
		  </os>
		  <features><acpi/></features>
		  $domain_cpu
		  <on_reboot>restart</on_reboot>
		  <devices>
		    <emulator>$(command -v qemu-system-x86_64)</emulator>
		    <serial type='file'><source path='$dir/console' append='on'/><target port='0'/></serial>
		    <serial type='pipe'><source path='$dir/cmd'/><target port='1'/></serial>
		    <channel type='unix'><target type='virtio' name='org.vmpoke.agent.0'/></channel>
		    <controller type='usb' model='none'/>
		    <memballoon model='none'/>
		  </devices>
		</domain>
	XML
	v "$1" define "$dir/domain.xml"
}

domain_start() { # HOST DOMAIN
	: >"$work/$2/console"
	v "$1" start "$2" || return
	vm_wait "$2" "$limit" '^UP ' || why "the guest $2 did not come up"
}

# on HOST: vp and what is made of it speak to that host's vmpoked from here on.
on() { sock=$work/$1/run/control.sock; }

# service_start HOST: its vmpoked. follower_start HOST: its vmpoke-libvirt.
service_start() {
	local dir=$work/$1
	mkdir -p "$dir/state" "$dir/run"
	inside "$1"
	"${IN[@]}" setpriv --pdeathsig KILL "$build/vmpoked" --state-dir "$dir/state" --runtime-dir "$dir/run" \
		--foreground >>"$dir/vmpoked.out" 2>>"$dir/vmpoked.log" </dev/null &
	service_pid[$1]=$!
	on "$1"
	until_ok "$limit" daemon_answers || why "vmpoked of $1 did not start: $(tail -n 1 "$dir/vmpoked.log")"
}
service_stop() {
	kill -TERM "${service_pid[$1]}"
	wait "${service_pid[$1]}" 2>/dev/null
	unset "service_pid[$1]"
}

follower_start() {
	local dir=$work/$1
	inside "$1"
	"${IN[@]}" setpriv --pdeathsig KILL "$build/vmpoke-libvirt" --connect "$(uri "$1")" --socket "$dir/run/control.sock" \
		--runtime-dir "$dir/lv" --foreground --log-level debug >>"$dir/follower.out" 2>>"$dir/follower.log" </dev/null &
	follower_pid[$1]=$!
	until_ok "$limit" test -S "$dir/lv/hook.sock" || why "vmpoke-libvirt of $1 did not start: $(tail -n 1 "$dir/follower.log")"
}
follower_stop() { # HOST [SIGNAL]
	kill "-${2:-TERM}" "${follower_pid[$1]}"
	wait "${follower_pid[$1]}" 2>/dev/null
	unset "follower_pid[$1]"
}

# state_is DOMAIN STATE; gone DOMAIN: as vmpoked sees it.
state_is() {
	vp --json info "$1" && [ "$(field .state)" = "$2" ]
}
gone() {
	vp --json list && [ "$(field "[.[] | select(.name == \"$1\")] | length")" = 0 ]
}

libvirt_cleanup() {
	local pid
	for pid in ${follower_pid[*]} ${service_pid[*]}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	for pid in ${libvirtd_pid[*]}; do
		kill -TERM "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	for pid in ${host_pid[*]}; do
		kill -KILL "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
}
