// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands and events of vmpoked, as data. A new command is a row here and
 * a handler elsewhere. Names on the wire: arguments have dashes, returned
 * members underscores. Nothing here may be renamed once released; members may
 * be added.
 */
#include "protocol/agent_addr.h"
#include "protocol/manifest.h"
#include "protocol/minisign.h"
#include "protocol/patchfile.h"
#include "protocol/schema_table.h"

#define MS_MAX 600000 /* ten minutes: nothing waits longer */

#define ARG_VM { "vm", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "name or UUID of a registered VM" }
#define ARG_JOB_ID \
	{ "job-id", SCHEMA_STR, true, .min = 1, .max = PATCHFILE_NAME_MAX, \
	  .doc = "answer {} at once and run as a job of this name; see query-jobs" }
#define ARG_TEXT \
	{ "text", SCHEMA_STR, true, .min = 1, .max = PATCHFILE_SIZE_MAX, \
	  .doc = "the patch file itself; exactly one of text and patch" }
#define ARG_PATCH \
	{ "patch", SCHEMA_STR, true, .min = 1, .max = PATCHFILE_NAME_MAX, \
	  .doc = "name of a patch applied to this VM before; exactly one of text and patch" }
#define ARG_FILENAME { "filename", SCHEMA_STR, true, .max = 4096, .doc = "what to call text in error sentences" }
#define ARG_OBJECT \
	{ "object", SCHEMA_STR, true, .min = 2, .max = 2 * PATCHFILE_OBJECT_SIZE_MAX, \
	  .doc = "with a text that has sites of kind function: the object file they name, in hex" }
#define ARG_TIMEOUT \
	{ "timeout", SCHEMA_INT, true, .max = MS_MAX, .doc = "milliseconds until the work gives up (10000)" }

#define ARG_MODE \
	{ "mode", SCHEMA_STR, true, .min = 1, .max = 16, \
	  .doc = "insist on flipped, staged, held or stopped; refused (rule \"mode\") where it is not safe", .override = true }
#define ARG_TRAPS \
	{ "traps", SCHEMA_STR, true, .min = 1, .max = 16, \
	  .doc = "of staged and held: insist on int3 or hw; refused (rule \"trap\") where that is not safe", \
	  .override = true }

#define ARG_AGENT_USE \
	{ "agent-use", SCHEMA_STR, true, .min = 1, .max = 16, \
	  .doc = "where an agent answers: facts (ask it about symbols and conflicts), full (also hold the guest's text_mutex " \
		 "and wait for its tasks, in a thread that it parks) or none (facts)", .override = true }

#define ARG_MANIFEST \
	{ "manifest", SCHEMA_STR, true, .min = 1, .max = MANIFEST_SIZE_MAX, \
	  .doc = "with text: its signed manifest (docs/policy.md); checked whether or not unsigned patches are allowed" }
#define ARG_SIGNATURE \
	{ "signature", SCHEMA_STR, true, .min = 1, .max = MINISIGN_SIG_SIZE_MAX, \
	  .doc = "with manifest: minisign's signature of it, the text of the .minisig file" }
#define ARG_BY \
	{ "by", SCHEMA_OBJECT, true, .internal = true, .doc = "who asked for it, for the history: {uid, pid, key?, serial?}" }

#define ARG_VMLINUX \
	{ "vmlinux", SCHEMA_STR, true, .min = 4, .max = 66, \
	  .doc = "fd:NAME with the name of a getfd: the file the guest's kernel came from (vmlinuz or vmlinux), for kinds " \
		 "that need it; a machine of our own has it already" }

#define ARG_PROGRESS { "progress", SCHEMA_BOOL, true, .doc = "tell JOB_PROGRESS events (false)" }

#define RET_VM { "vm", SCHEMA_STR, .doc = "the VM" }
/* What query-vm says of one VM; also the answer of vm-add and each element of query-vms. */
#define RET_VM_OBJECT \
	{ "name", SCHEMA_STR, .doc = "registered name" }, \
	{ "kind", SCHEMA_STR, .doc = "qemu, or machine: started by vm-run" }, \
	{ "qmp", SCHEMA_STR, true, .doc = "path of its QMP socket; not of a machine" }, \
	{ "gdb", SCHEMA_STR, true, .doc = "path of its gdbstub socket" }, \
	{ "agent", SCHEMA_STR, true, .doc = "where its agent is found, as given to vm-add; port: a machine's own" }, \
	{ "uuid", SCHEMA_STR, true, .doc = "its manager's UUID of it, as given to vm-add" }, \
	{ "origin", SCHEMA_STR, true, .doc = "the program that registered it and looks after it; without it an operator did" }, \
	{ "agent_state", SCHEMA_STR, true, .doc = "none, off, silent or ready; see query-agent" }, \
	{ "kernel", SCHEMA_STR, true, .doc = "file a machine was started with" }, \
	{ "memory", SCHEMA_INT, true, .doc = "bytes of memory of a machine" }, \
	{ "state", SCHEMA_STR, .doc = "running, paused, shutdown, broken, unreachable or starting" }, \
	{ "reason", SCHEMA_STR, true, .doc = "why it is shut down, broken or unreachable" }, \
	{ "pid", SCHEMA_INT, true, .doc = "process of the VMM" }, \
	{ "accel", SCHEMA_STR, true, .doc = "kvm or tcg" }, \
	{ "version", SCHEMA_STR, true, .doc = "version of the VMM" }, \
	{ "vcpus", SCHEMA_INT, true, .doc = "number of vCPUs" }, \
	{ "release", SCHEMA_STR, true, .doc = "kernel release of the guest, once probed" }, \
	{ "build_id", SCHEMA_STR, true, .doc = "build-id of the guest kernel, once probed" }, \
	{ "patches", SCHEMA_INT, .doc = "number of applied patches" }
/* What an operation on a patch did and cost. */
#define RET_OPERATION \
	RET_VM, \
	{ "patch", SCHEMA_STR, .doc = "name of the patch" }, \
	{ "state", SCHEMA_STR, .doc = "applicable, applied or reverted" }, \
	{ "changed", SCHEMA_BOOL, .doc = "false: it was so before" }, \
	{ "mode", SCHEMA_STR, .doc = "how: flipped, staged, held or stopped; see docs/engine.md" }, \
	{ "why", SCHEMA_STR, .doc = "why this mode" }, \
	{ "sites", SCHEMA_INT, .doc = "places written" }, \
	{ "barriers", SCHEMA_INT, .doc = "serialising barriers" }, \
	{ "forced_exits", SCHEMA_INT, .doc = "vCPU exits forced" }, \
	{ "steps", SCHEMA_INT, .doc = "single steps to leave a range" }, \
	{ "retries", SCHEMA_INT, .doc = "attempts that found a range busy" }, \
	{ "gated", SCHEMA_INT, true, .doc = "times a vCPU came to the gate before a range that is never empty, where one was closed" }, \
	{ "longest_pause_us", SCHEMA_INT, .doc = "longest time the guest stood still" }, \
	{ "elapsed_us", SCHEMA_INT, .doc = "wall time of the whole operation" }, \
	{ "trap", SCHEMA_STR, true, .doc = "staged, held: int3 or hw" }, \
	{ "payloads", SCHEMA_ARRAY, true, \
	  .doc = "memory of payloads that no patch needs any more: objects {patch, address, size, state: freed or kept, why?, " \
		 "blocker?: {where, symbol, pid?, comm?}}; what is kept is tried again with the next apply or revert" }, \
	{ "traps", SCHEMA_INT, true, .doc = "times a vCPU came to a trap; this and what follows: not of stopped" }, \
	{ "held", SCHEMA_INT, true, .doc = "times a vCPU had to wait at one" }, \
	{ "copied", SCHEMA_INT, true, .doc = "times one was stepped through a copy of the instruction" }, \
	{ "kicked", SCHEMA_INT, true, .doc = "vCPUs taken out of guest mode by the barriers" }, \
	{ "already_out", SCHEMA_INT, true, .doc = "vCPUs that were out, and left alone" }, \
	{ "waited_us", SCHEMA_INT, true, .doc = "time in barriers, in all" }, \
	{ "held_us", SCHEMA_INT, true, .doc = "longest that one vCPU waited at a trap" }, \
	{ "agent", SCHEMA_OBJECT, true, .doc = "what the guest's agent was asked: {used, why?, warnings: [{rule, text}], " \
					       "elapsed_us}; not when there was nothing to ask about" }, \
	{ "quiescence", SCHEMA_STR, true, .doc = "what showed that no context was inside: scan of all stacks, or rcu-tasks; only " \
						 "where several instructions were replaced or ranges excluded" }, \
	{ "text_mutex", SCHEMA_BOOL, true, .doc = "agent-use full: the guest's kernel could not change its text meanwhile" }, \
	{ "text_mutex_why", SCHEMA_STR, true, .doc = "why it was not held" }

#define RULE_MEMBERS(optional) \
	{ "rule", SCHEMA_INT, optional, .doc = "its number" }, \
	{ "pattern", SCHEMA_STR, optional, .doc = "over names of VMs" }, \
	{ "patch", SCHEMA_STR, optional, .doc = "name of the patch" }, \
	{ "priority", SCHEMA_INT, optional, .doc = "the higher goes in first" }, \
	{ "added_at", SCHEMA_INT, optional, .doc = "when" }, \
	{ "added_by", SCHEMA_INT, true, .doc = "uid of whoever did, by whose rights it is applied" }, \
	{ "build_id", SCHEMA_STR, true, .doc = "only kernels that match it" }, \
	{ "description", SCHEMA_STR, true, .doc = "of the patch" }
#define RET_RULE	  RULE_MEMBERS(false)
#define RET_RULE_OPTIONAL RULE_MEMBERS(true)

/* Installed patches of one VM, wherever that is told. */
#define RET_DESIRED \
	{ "desired", SCHEMA_ARRAY, \
	  .doc = "in order: objects {patch, state, rule, pattern, priority, added_by?, build_id?, since, tries, why?, refusal?}; state is waiting " \
		 "(for the VM, its kernel, or its turn), applied, present (the guest holds these bytes, and not from vmpoke), refused " \
		 "(until the next boot), reverted (somebody took it out; until the next boot), other-kernel or attention" }, \
	{ "as_desired", SCHEMA_BOOL, .doc = "each is applied, present or for another kernel" }, \
	{ "settled", SCHEMA_BOOL, .doc = "nothing is under way, nothing waits" }

const struct schema_command schema_command_table[] = {
	{ "qmp_capabilities", "Ends capabilities negotiation; must be the first command. None is offered.",
	  .class = SCHEMA_CLASS_SESSION, .read_only = true,
	  .args = { { "enable", SCHEMA_ARRAY, true, .doc = "capabilities to enable" } } },
	{ "query-version", "Version of vmpoked, in the form QEMU uses.",
	  .class = SCHEMA_CLASS_SESSION, .read_only = true,
	  .returns = { { "qemu", SCHEMA_OBJECT, .doc = "{major, minor, micro} of vmpoked" },
		       { "package", SCHEMA_STR, .doc = "\"vmpoke VERSION\"" } } },
	{ "query-commands", "Commands this socket accepts.",
	  .class = SCHEMA_CLASS_SESSION, .read_only = true, .returns_array = true,
	  .returns = { { "name", SCHEMA_STR, .doc = "command" } } },
	{ "query-qmp-schema", "All commands and events, in QEMU's SchemaInfo format.",
	  .class = SCHEMA_CLASS_SESSION, .read_only = true,
	  .returns_array = true,
	  .returns = { { "name", SCHEMA_STR, .doc = "entity" },
		       { "meta-type", SCHEMA_STR, .doc = "command, event, object, array or builtin" } } },

	{ "vm-add", "Registers a VM by its QMP socket; nothing is kept when its monitor does not answer.",
	  .class = SCHEMA_CLASS_MANAGE,
	  .args = { { "name", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX,
		      .doc = "[a-zA-Z0-9][a-zA-Z0-9._-]*" },
		    { "qmp", SCHEMA_STR, .min = 1, .max = 107, .doc = "path of a QMP unix socket of the VM" },
		    { "gdb", SCHEMA_STR, true, .min = 1, .max = 107,
		      .doc = "path of a gdbstub unix socket; without it one is started through the monitor" },
		    { "agent", SCHEMA_STR, true, .min = 1, .max = AGENT_ADDR_TEXT_MAX - 1,
		      .doc = "where the guest's agent is found: unix:PATH (socket of its virtio-serial port), "
			     "vsock:CID[:PORT] or xdp:IFNAME,MAC; without it none is looked for" },
		    { "agent-key", SCHEMA_STR, true, .min = 1, .max = 66,
		      .doc = "fd:NAME with the name of a getfd: a file of 64 hex digits that only its owner can use; "
			     "the agent then has to prove that it has the same" },
		    { "uuid", SCHEMA_STR, true, .min = 36, .max = 36, .doc = "by which it may be named as well; one VM has it" },
		    { "origin", SCHEMA_STR, true, .min = 1, .max = 127,
		      .doc = "for programs that register VMs by themselves: who does; it is refused where the VM has another one" },
		    { "adopt", SCHEMA_BOOL, true,
		      .doc = "patches come with this guest: rules wait for patch-adopt, for a minute at most (false)" } },
	  .returns = { RET_VM_OBJECT,
		       { "changed", SCHEMA_BOOL, .doc = "false: it was registered so before" } } },
	{ "getfd", "Keeps the descriptor that comes with this command (SCM_RIGHTS) under a name, for this connection; "
		   "at most 16.",
	  .class = SCHEMA_CLASS_SESSION,
	  .args = { { "fdname", SCHEMA_STR, .min = 1, .max = 63, .doc = "not beginning with a digit" } } },
	{ "closefd", "Closes a descriptor that getfd kept.",
	  .class = SCHEMA_CLASS_SESSION,
	  .args = { { "fdname", SCHEMA_STR, .min = 1, .max = 63, .doc = "its name" } } },
	{ "vm-run", "Starts a machine: a VM whose VMM is vmpoke's own worker. It outlives vmpoked. Files are \"fd:NAME\" "
		    "with the name of a getfd, or, from root or vmpoked's own user only, absolute paths.",
	  .class = SCHEMA_CLASS_MANAGE,
	  .args = { { "name", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX,
		      .doc = "[a-zA-Z0-9][a-zA-Z0-9._-]*; of no VM yet, or of a machine that is shut down" },
		    { "kernel", SCHEMA_STR, .min = 1, .max = 4095, .doc = "bzImage, vmlinux or bare ELF64 image" },
		    { "initrd", SCHEMA_STR, true, .min = 1, .max = 4095, .doc = "initial RAM disk" },
		    { "append", SCHEMA_STR, true, .max = 4095, .doc = "kernel command line (empty)" },
		    { "console", SCHEMA_STR, true, .min = 1, .max = 4095,
		      .doc = "file the serial console is appended to (nowhere)" },
		    { "disks", SCHEMA_ARRAY, true,
		      .doc = "up to 4 raw images or block devices, /dev/vda and so on; a descriptor open for reading only, "
			     "or a path with \",ro\" at its end, is one the guest may only read" },
		    { "agent-key", SCHEMA_STR, true, .min = 1, .max = 66,
		      .doc = "\"fd:NAME\" of a getfd: file of mode 0600 with the key, 64 hex digits, that its agent must have too" },
		    { "vcpus", SCHEMA_INT, true, .min = 1, .max = 64, .doc = "number of vCPUs (1)" },
		    { "memory", SCHEMA_INT, true, .min = 16 << 20, .max = 1LL << 40,
		      .doc = "bytes, a multiple of 4096 (512 MiB)" } },
	  .returns = { RET_VM_OBJECT } },
	{ "vm-destroy", "Ends a machine at once, as if its plug was pulled. It stays registered.",
	  .class = SCHEMA_CLASS_MANAGE,
	  .args = { ARG_VM },
	  .returns = { RET_VM, { "changed", SCHEMA_BOOL, .doc = "false: it was shut down before" } } },
	{ "vm-remove", "Forgets a VM. Refused (rule \"patched\") while patches are applied, and (rule \"running\") "
		       "for a machine that runs.",
	  .class = SCHEMA_CLASS_MANAGE,
	  .args = { ARG_VM,
		    { "keep-patches", SCHEMA_BOOL, true, .doc = "leave applied patches in the guest", .override = true },
		    { "origin", SCHEMA_STR, true, .min = 1, .max = 127,
		      .doc = "only if this is who registered it; refused (rule \"origin\") otherwise" } },
	  .returns = { RET_VM, { "changed", SCHEMA_BOOL, .doc = "true" } } },
	{ "vm-set-agent", "Another address or key for the agent of a VM that vm-add registered. What is not given stays. "
			  "Waits for what its worker is doing.",
	  .class = SCHEMA_CLASS_MANAGE,
	  .args = { ARG_VM,
		    { "agent", SCHEMA_STR, true, .min = 1, .max = AGENT_ADDR_TEXT_MAX - 1,
		      .doc = "as of vm-add, or none: none is looked for any more, and its key is forgotten" },
		    { "agent-key", SCHEMA_STR, true, .min = 1, .max = 66,
		      .doc = "as of vm-add, or none: it needs to prove nothing" } },
	  .returns = { RET_VM,
		       { "agent", SCHEMA_STR, true, .doc = "where it is looked for from now on" },
		       { "changed", SCHEMA_BOOL, .doc = "false: it was so before" } } },
	{ "query-vms", "What is known of all VMs; never waits for one.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true, .returns_array = true,
	  .returns = { RET_VM_OBJECT } },
	{ "query-vm", "State of one VM, asked now.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true, .to_worker = true,
	  .args = { ARG_VM }, .returns = { RET_VM_OBJECT } },
	{ "vm-probe", "Finds the guest's kernel and what can be done with this VM.",
	  .class = SCHEMA_CLASS_CHECK, .read_only = true,
	  .to_worker = true, .job = true,
	  .args = { ARG_VM, ARG_JOB_ID },
	  .returns = { RET_VM,
		       { "release", SCHEMA_STR, .doc = "kernel release" },
		       { "banner", SCHEMA_STR, .doc = "linux_banner" },
		       { "build_id", SCHEMA_STR, .doc = "hex" },
		       { "kaslr_offset", SCHEMA_ADDRESS, .doc = "distance from the link address" },
		       { "base", SCHEMA_ADDRESS, .doc = "address of _text" },
		       { "symbols", SCHEMA_INT, .doc = "symbols found" },
		       { "kallsyms_layout", SCHEMA_STR, .doc = "which table layout was found" },
		       { "paging_levels", SCHEMA_INT, .doc = "4 or 5" },
		       { "kpti", SCHEMA_BOOL, .doc = "page-table isolation is on" },
		       { "vcpus", SCHEMA_INT, .doc = "number of vCPUs" },
		       { "accel", SCHEMA_STR, .doc = "kvm or tcg" },
		       { "version", SCHEMA_STR, .doc = "version of the VMM" },
		       { "capabilities", SCHEMA_OBJECT,
			 .doc = "booleans live_read, live_regs, step, trap_int3, trap_hw, nonstop, remap" },
		       { "live_read_why", SCHEMA_STR, true, .doc = "why live_read is false" },
		       { "modes", SCHEMA_ARRAY, .doc = "modes in which this VM can be patched, gentlest first" },
		       { "modes_detail", SCHEMA_ARRAY,
			 .doc = "all modes, gentlest first: objects {name, available, why}" },
		       { "abilities", SCHEMA_ARRAY, true,
			 .doc = "what was found out about the host's KVM (a machine of our own): objects {name, value}" },
		       { "booted", SCHEMA_BOOL, true,
			 .doc = "false: the kernel has not finished booting, and still changes its own text" },
		       { "pid", SCHEMA_INT, .doc = "process of the VMM; 0: not known" },
		       { "cached", SCHEMA_BOOL, .doc = "the answer was known from before" },
		       { "pause_us", SCHEMA_INT, .doc = "how long the guest was paused" },
		       { "elapsed_us", SCHEMA_INT, .doc = "wall time" },
		       { "cpu_us", SCHEMA_INT, .doc = "CPU time" },
		       { "agent", SCHEMA_OBJECT, .doc = "as query-agent, without asking it anything" } } },
	{ "query-agent", "The agent in the guest: whether one answers, and what it says of itself. All of it is the guest's "
			 "word.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true, .to_worker = true,
	  .args = { ARG_VM },
	  .returns = { RET_VM,
		       { "state", SCHEMA_STR,
			 .doc = "none (no way to it is known), off (the way is not open), silent (nobody answers) or ready" },
		       { "why", SCHEMA_STR, true, .doc = "why it is not ready" },
		       { "address", SCHEMA_STR, true, .doc = "where it is found; port: a machine's own" },
		       { "link", SCHEMA_STR, true, .doc = "virtio-serial, vsock or xdp" },
		       { "authenticated", SCHEMA_BOOL, true, .doc = "both ends have the same key" },
		       { "agrees", SCHEMA_BOOL, true,
			 .doc = "false: it tells of another kernel than the one found in memory, and is not used" },
		       { "disagreement", SCHEMA_STR, true, .doc = "about what" },
		       { "agent_version", SCHEMA_STR, true, .doc = "its version" },
		       { "release", SCHEMA_STR, true, .doc = "kernel release" },
		       { "machine", SCHEMA_STR, true, .doc = "architecture" },
		       { "build_id", SCHEMA_STR, true, .doc = "of the kernel, hex" },
		       { "boot_id", SCHEMA_STR, true, .doc = "/proc/sys/kernel/random/boot_id" },
		       { "base", SCHEMA_ADDRESS, true, .doc = "address of _text" },
		       { "kaslr", SCHEMA_BOOL, true, .doc = "false: the kernel command line says nokaslr" },
		       { "lockdown", SCHEMA_STR, true, .doc = "unknown, none, integrity or confidentiality" },
		       { "cpus", SCHEMA_INT, true, .doc = "CPUs online" },
		       { "sources", SCHEMA_ARRAY, true,
			 .doc = "what it can read: kallsyms, kprobes, ftrace, livepatch, kcore" },
		       { "operations", SCHEMA_ARRAY, true, .doc = "what can be asked of it" },
		       { "hello_us", SCHEMA_INT, true, .doc = "from the last hello to its answer" },
		       { "round_trip_us", SCHEMA_INT, true, .doc = "of a ping just now" },
		       { "stats", SCHEMA_OBJECT, true,
			 .doc = "{cpu_us, uptime_ms, rss_kib, frames_in, frames_out, damaged, refused, sessions}, counted there" },
		       { "link_stats", SCHEMA_OBJECT, true,
			 .doc = "{hellos, requests, timeouts, restarts, reopened, damaged}, counted here" } } },
	{ "query-symbols", "Symbols of the guest kernel in its own order, or all of one name.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true,
	  .to_worker = true,
	  .args = { ARG_VM,
		    { "symbol", SCHEMA_STR, true, .min = 1, .max = 511, .doc = "exact name" },
		    { "start", SCHEMA_INT, true, .max = INT32_MAX, .doc = "index of the first (0)" },
		    { "count", SCHEMA_INT, true, .min = 1, .max = 4096, .doc = "how many at most (1024)" } },
	  .returns = { { "symbols", SCHEMA_ARRAY, .doc = "objects {address, type, name}" },
		       { "next", SCHEMA_INT, .doc = "value of start for the rest; -1 at the end" },
		       { "total", SCHEMA_INT, .doc = "number of symbols" } } },
	{ "vm-count", "Counts how often the instruction at a place of the kernel is executed, with a debug register. On a "
		      "machine of our own only the vCPU that comes there leaves the guest, for a moment; of QEMU's VMs "
		      "each hit stops all vCPUs. Without a job-id it ends when the client leaves.",
	  .class = SCHEMA_CLASS_CHECK, .to_worker = true, .job = true, .attached = true,
	  .args = { ARG_VM,
		    { "at", SCHEMA_STR, .min = 1, .max = PATCHFILE_SYMBOL_MAX + 20,
		      .doc = "SYMBOL, SYMBOL+0xOFFSET or 0xADDRESS, in kernel text" },
		    { "timeout", SCHEMA_INT, true, .min = 1, .max = MS_MAX, .doc = "milliseconds to count for (10000)" },
		    { "max-rate", SCHEMA_INT, true, .min = 1, .max = 1000000,
		      .doc = "ends counting when more hits per second come (20000 on a machine of our own, else 50)" },
		    ARG_JOB_ID },
	  .returns = { RET_VM,
		       { "address", SCHEMA_ADDRESS, .doc = "where" },
		       { "symbol", SCHEMA_STR, .doc = "the same as symbol and offset" },
		       { "hits", SCHEMA_INT, .doc = "times executed" },
		       { "ended", SCHEMA_STR,
			 .doc = "time, rate (more than max-rate), asked (job-cancel) or stopped (somebody stopped the VM)" },
		       { "elapsed_us", SCHEMA_INT, .doc = "counted for so long" },
		       { "max_rate", SCHEMA_INT, .doc = "the cap there was" },
		       { "stops", SCHEMA_INT, .doc = "times all vCPUs stood still" },
		       { "stopped_us", SCHEMA_INT, .doc = "for so long in all" },
		       { "longest_pause_us", SCHEMA_INT, .doc = "and at once" } } },

	{ "query-sites", "Places of the guest kernel's text that it keeps lists of: it rewrites them, or goes on there after a fault.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true, .to_worker = true,
	  .args = { ARG_VM,
		    { "symbol", SCHEMA_STR, true, .min = 1, .max = 511,
		      .doc = "only those in this function, or of this key (a static call's also without __SCK__)" },
		    { "kind", SCHEMA_STR, true, .min = 1, .max = 32,
		      .doc = "static_key, static_call, fentry or fixup (the first two)" },
		    { "start", SCHEMA_INT, true, .max = INT32_MAX, .doc = "index of the first (0)" },
		    { "count", SCHEMA_INT, true, .min = 1, .max = 4096, .doc = "how many at most (1024)" } },
	  .returns = { { "sites", SCHEMA_ARRAY,
			 .doc = "objects {address, symbol, kind, state, key, target, init, tail}: state is what the bytes are "
				"(jump, nop, call, ret0, return, branch, trap, other); key and target are symbols where there are any; "
				"init: text of the boot, not read; tail: of a static call" },
		       { "next", SCHEMA_INT, .doc = "value of start for the rest; -1 at the end" },
		       { "total", SCHEMA_INT, .doc = "number of sites asked for" } } },

	{ "patch-check", "Everything patch-apply checks, and nothing written.",
	  .class = SCHEMA_CLASS_CHECK, .read_only = true,
	  .to_worker = true, .job = true,
	  .args = { ARG_VM, ARG_TEXT, ARG_OBJECT, ARG_PATCH, ARG_FILENAME, ARG_TIMEOUT, ARG_MODE, ARG_TRAPS,
		    ARG_AGENT_USE, ARG_VMLINUX, ARG_MANIFEST, ARG_SIGNATURE, ARG_PROGRESS, ARG_JOB_ID },
	  .returns = { RET_OPERATION,
		       { "sites_detail", SCHEMA_ARRAY,
			 .doc = "objects {address, symbol, old, new}" },
		       { "sites_omitted", SCHEMA_INT, true, .doc = "sites left out to keep the reply below 1 MiB" } } },
	{ "patch-apply", "Applies a patch; \"changed\" is false when it is applied already.",
	  .class = SCHEMA_CLASS_APPLY, .to_worker = true,
	  .job = true,
	  .args = { ARG_VM, ARG_TEXT, ARG_OBJECT, ARG_PATCH, ARG_FILENAME, ARG_TIMEOUT, ARG_MODE, ARG_TRAPS,
		    ARG_AGENT_USE, ARG_VMLINUX, ARG_MANIFEST, ARG_SIGNATURE, ARG_BY, ARG_PROGRESS, ARG_JOB_ID },
	  .returns = { RET_OPERATION } },
	{ "patch-revert", "Puts the old bytes of a patch back.",
	  .class = SCHEMA_CLASS_REVERT, .to_worker = true, .job = true,
	  .args = { ARG_VM, ARG_TEXT, ARG_PATCH, ARG_FILENAME, ARG_TIMEOUT, ARG_MODE, ARG_TRAPS, ARG_AGENT_USE,
		    ARG_BY, ARG_PROGRESS, ARG_JOB_ID },
	  .returns = { RET_OPERATION } },
	{ "patch-replace", "One patch out, another in: two transactions, the second planned before the first begins. In between the "
			   "guest runs without either; when the second fails the old patch is put back.",
	  .class = SCHEMA_CLASS_APPLY, .also = SCHEMA_CLASS_REVERT, .to_worker = true, .job = true,
	  .args = { ARG_VM,
		    { "old", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "name of the patch that goes" },
		    ARG_TEXT, ARG_OBJECT, ARG_PATCH, ARG_FILENAME,
		    { "timeout", SCHEMA_INT, true, .max = MS_MAX,
		      .doc = "milliseconds until the work gives up (10000): half of it for each" },
		    ARG_MODE, ARG_TRAPS, ARG_AGENT_USE, ARG_MANIFEST, ARG_SIGNATURE, ARG_BY, ARG_PROGRESS, ARG_JOB_ID },
	  .returns = { RET_OPERATION,
		       { "replaced", SCHEMA_STR, .doc = "name of the old patch" },
		       { "transactions", SCHEMA_INT, .doc = "2: the guest ran without either in between" } } },
	{ "patch-export", "The patches that are in this guest, as records for the host it moves to. Answered from the journal.",
	  .class = SCHEMA_CLASS_CHECK, .read_only = true, .to_worker = true,
	  .args = { ARG_VM,
		    { "patch", SCHEMA_STR, true, .min = 1, .max = PATCHFILE_NAME_MAX,
		      .doc = "only this one (all, as far as they fit into one message; else an error)" } },
	  .returns = { RET_VM,
		       { "records", SCHEMA_ARRAY,
			 .doc = "in order of application: objects {version: 1, patch, description, time, release, build_id, base, mode, "
				"trap, atomic, exclude, sites: [{address, symbol, old, new, ...}], text, object?, object_hash?, payload?}; "
				"what else is in them is patch-adopt's" } } },
	{ "patch-adopt", "Takes over patches that came with the guest. Writes nothing to it: a record is believed when the guest is "
			 "of its build-id and boot, holds its new bytes, and its text gives just these sites there.",
	  .class = SCHEMA_CLASS_APPLY, .to_worker = true, .job = true,
	  .args = { ARG_VM, { "records", SCHEMA_OBJECTS, .doc = "of patch-export, at most 256" }, ARG_VMLINUX, ARG_BY, ARG_JOB_ID },
	  .returns = { RET_VM,
		       { "changed", SCHEMA_BOOL, .doc = "false: none was adopted" },
		       { "build_id", SCHEMA_STR, .doc = "of the guest's kernel" },
		       { "records", SCHEMA_ARRAY,
			 .doc = "objects {patch, state: adopted, already (known here), absent (the guest holds the old bytes), attention "
				"(it holds neither) or refused, why?, rule?}" } } },
	{ "query-patches", "Applied patches in order of application.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true, .to_worker = true,
	  .args = { ARG_VM },
	  .returns = { RET_VM,
		       { "release", SCHEMA_STR, true, .doc = "kernel release of the guest" },
		       { "patches", SCHEMA_ARRAY,
			 .doc = "objects {name, state: applied, lost or attention, description?, applied_at, "
				"sites: [{address, symbol, old, new}], sites_omitted?}" },
		       { "payloads", SCHEMA_ARRAY,
			 .doc = "memory of the guest that holds payloads: objects {patch, address, size, state: in-use or unused}" },
		       RET_DESIRED } },
	{ "patch-verify", "Compares the guest's text with the journal.",
	  .class = SCHEMA_CLASS_CHECK, .read_only = true, .to_worker = true,
	  .job = true,
	  .args = { ARG_VM, ARG_JOB_ID },
	  .returns = { RET_VM,
		       { "ok", SCHEMA_BOOL, .doc = "no differences" },
		       { "patches", SCHEMA_INT, .doc = "patches compared" },
		       { "sites", SCHEMA_INT, .doc = "sites compared" },
		       { "differences", SCHEMA_ARRAY,
			 .doc = "objects {patch, address, symbol, expected, found, holds: old, mix or foreign}; of a payload, symbol "
				"is payload, and expected and found are CRC-32C" },
		       { "agent", SCHEMA_OBJECT, true, .doc = "as of patch-apply" },
		       { "agent_sees", SCHEMA_ARRAY, true,
			 .doc = "where the guest, reading its own text, does not see what was written: objects "
				"{patch, address, symbol, expected, found}; it may lie, so \"ok\" does not depend on it" } } },
	{ "query-history", "What was done to a VM, oldest first.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true, .to_worker = true,
	  .args = { ARG_VM,
		    { "limit", SCHEMA_INT, true, .min = 1, .max = 1000, .doc = "the last so many (100)" } },
	  .returns = { RET_VM,
		       { "entries", SCHEMA_ARRAY,
			 .doc = "objects {transaction?, time, operation: apply, revert, adopt or recover, patch, mode?, "
				"result: applied, reverted, undone, lost or attention, changed, sites, barriers, "
				"forced_exits, longest_pause_us, elapsed_us, error?, and where the mode is not "
				"stopped: traps, held, copied, kicked, already_out, waited_us, held_us}" } } },
	{ "query-trace", "When what happened on which vCPU in the last transaction of this worker.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true,
	  .to_worker = true,
	  .args = { ARG_VM,
		    { "format", SCHEMA_STR, .min = 1, .max = 16,
		      .doc = "json (Chrome's trace event format) or svg (a picture)" },
		    { "transaction", SCHEMA_INT, true, .max = INT64_C(1) << 53,
		      .doc = "refuse any but this one; see query-history" } },
	  .returns = { RET_VM,
		       { "transaction", SCHEMA_INT, .doc = "its number" },
		       { "operation", SCHEMA_STR, .doc = "apply or revert" },
		       { "patch", SCHEMA_STR, .doc = "name of the patch" },
		       { "mode", SCHEMA_STR, .doc = "flipped, staged, held or stopped" },
		       { "format", SCHEMA_STR, .doc = "as asked for" },
		       { "vcpus", SCHEMA_INT, .doc = "lanes" },
		       { "events", SCHEMA_INT, .doc = "in the text" },
		       { "lost", SCHEMA_INT, .doc = "not in the text: too many, or left out to keep the reply below 1 MiB" },
		       { "text", SCHEMA_STR, .doc = "the file" } } },

	{ "rule-add", "Installs a patch: applied to each VM whose name matches whenever it is up with a kernel that fits, also after a "
		      "boot. Kept with text and object. The rule of the same pattern and patch is changed.",
	  .class = SCHEMA_CLASS_RULES,
	  .args = { { "pattern", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "name of a VM, or a pattern of names: *, ?, [...]" },
		    { "text", SCHEMA_STR, .min = 1, .max = PATCHFILE_SIZE_MAX, .doc = "the patch file itself" },
		    ARG_OBJECT, ARG_FILENAME,
		    { "priority", SCHEMA_INT, true, .min = -1000, .max = 1000, .doc = "the higher goes in first (0); then the older rule" },
		    { "build-id", SCHEMA_STR, true, .min = 1, .max = 64,
		      .doc = "only kernels of this build-id, lower-case hex, or a pattern of it (any)" },
		    ARG_TIMEOUT, ARG_MODE, ARG_TRAPS, ARG_AGENT_USE, ARG_MANIFEST, ARG_SIGNATURE },
	  .returns = { RET_RULE,
		       { "changed", SCHEMA_BOOL, .doc = "false: it was so before" },
		       { "matches", SCHEMA_INT, .doc = "registered VMs it is about now" } } },
	{ "rule-remove", "Forgets a rule. What is applied stays applied.",
	  .class = SCHEMA_CLASS_RULES,
	  .args = { { "pattern", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "as it was given" },
		    { "patch", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "name of the patch" } },
	  .returns = { { "changed", SCHEMA_BOOL, .doc = "false: there was none" }, RET_RULE_OPTIONAL } },
	{ "query-rules", "The rules in order, higher priority first, with what each has come to.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true, .returns_array = true,
	  .args = { { "start", SCHEMA_INT, true, .max = 1000, .doc = "how many to leave out: the array ends before 1 MiB (0)" } },
	  .returns = { RET_RULE,
		       { "vms", SCHEMA_ARRAY, true,
			 .doc = "objects {vm, state: as of query-desired, why?, refusal?}; left out when it alone is too large" } } },
	{ "query-desired", "What the rules want of a VM, and what became of it. Never waits for anybody.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true,
	  .args = { ARG_VM },
	  .returns = { RET_VM, RET_DESIRED } },

	{ "query-jobs", "Running work, and concluded jobs that have a job-id.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true,
	  .returns_array = true,
	  .returns = { { "id", SCHEMA_STR, .doc = "job-id, or one made up" },
		       { "type", SCHEMA_STR, .doc = "the command" },
		       { "vm", SCHEMA_STR, .doc = "the VM it works on" },
		       { "status", SCHEMA_STR, .doc = "running, aborting or concluded" },
		       { "result", SCHEMA_OBJECT, true, .doc = "what the command returned" },
		       { "error", SCHEMA_STR, true, .doc = "why it failed" },
		       { "current_progress", SCHEMA_INT, .doc = "done" },
		       { "total_progress", SCHEMA_INT, .doc = "of so many" } } },
	{ "job-cancel", "Asks a running job to undo and stop.",
	  .class = SCHEMA_CLASS_JOB,
	  .args = { { "id", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "the job" } } },
	{ "job-dismiss", "Forgets a concluded job.",
	  .class = SCHEMA_CLASS_JOB,
	  .args = { { "id", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "the job" } } },

	{ "query-stats", "What was done and what it cost, counted since vmpoked was started.",
	  .class = SCHEMA_CLASS_MONITOR, .read_only = true,
	  .args = { { "vm", SCHEMA_STR, true, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "only this VM (all)" },
		    { "start", SCHEMA_INT, true, .max = INT32_MAX, .doc = "index of the first (0)" },
		    { "count", SCHEMA_INT, true, .min = 1, .max = 256, .doc = "how many VMs at most (256): a reply has 1 MiB" } },
	  .returns = { { "daemon", SCHEMA_OBJECT,
			 .doc = "{uptime_us, rss, vms, workers, clients, clients_read_only (of these), jobs, refused}: rss in bytes, "
				"refused counts requests" },
		       { "vms", SCHEMA_ARRAY,
			 .doc = "objects {vm, state, patches, worker_rss, worker_deaths, barriers, forced_exits, steps, retries, "
				"desired: [{state, count}] of install rules, changes: "
				"[{operation: apply, revert or replace, result: changed, unchanged, refused, timeout, attention or failed, "
				"mode (of changed), count}], pause: {count, sum_us, max_us, buckets: [{up_to_us, count}]}}: the longest "
				"pause of each change; what lies above the last bucket, 100000, is in count alone" },
		       { "next", SCHEMA_INT, .doc = "value of start for the rest; -1 at the end" } } },
	{ "query-keys", "The public keys whose signatures of patches count.",
	  .class = SCHEMA_CLASS_KEYS, .read_only = true, .returns_array = true,
	  .returns = { { "id", SCHEMA_STR, .doc = "as minisign prints it, but with leading zeros: 16 hex digits" },
		       { "file", SCHEMA_STR, .doc = "in the folder of keys" } } },
	{ "manifest-revoke", "From now on no manifest of this patch by this key with such a serial is taken, not even to apply "
			     "again what it was used for. What is applied stays.",
	  .class = SCHEMA_CLASS_KEYS,
	  .args = { { "patch", SCHEMA_STR, .min = 1, .max = PATCHFILE_NAME_MAX, .doc = "name of the patch" },
		    { "key", SCHEMA_STR, .min = 1, .max = 16, .doc = "id of the key, also of one that is not trusted any more" },
		    { "serial", SCHEMA_INT, true, .min = 1, .max = MANIFEST_SERIAL_MAX,
		      .doc = "this one and all below (the highest that was used here)" } },
	  .returns = { { "patch", SCHEMA_STR, .doc = "as given" },
		       { "key", SCHEMA_STR, .doc = "its id, 16 hex digits" },
		       { "serial", SCHEMA_INT, .doc = "this one and all below are revoked" } } },
	{ .name = NULL },
};

const struct schema_event schema_event_table[] = {
	{ "VM_ADDED", "A VM was registered.", .data = { RET_VM } },
	{ "VM_REMOVED", "A VM was forgotten.", .data = { RET_VM } },
	{ "VM_STATE_CHANGE", "The state of a VM changed.",
	  .data = { RET_VM,
		    { "state", SCHEMA_STR, .doc = "as in query-vm" },
		    { "reason", SCHEMA_STR, true, .doc = "why it is shut down, broken or unreachable" } } },
	{ "PATCH_STATUS_CHANGE", "A patch was applied, reverted, lost or needs attention.",
	  .data = { RET_VM,
		    { "patch", SCHEMA_STR, .doc = "name of the patch" },
		    { "state", SCHEMA_STR, .doc = "applied, reverted, lost or attention" },
		    { "changed", SCHEMA_BOOL, .doc = "false: it was so before" },
		    { "mode", SCHEMA_STR, true, .doc = "how vCPUs were kept away" },
		    { "sites", SCHEMA_INT, true, .doc = "places written" },
		    { "longest_pause_us", SCHEMA_INT, true, .doc = "longest time the guest stood still" },
		    { "elapsed_us", SCHEMA_INT, true, .doc = "wall time" } } },
	{ "RULE_STATUS_CHANGE", "What a rule wants of a VM has come to something else.",
	  .data = { RET_VM,
		    { "rule", SCHEMA_INT, .doc = "its number" },
		    { "patch", SCHEMA_STR, .doc = "name of the patch" },
		    { "state", SCHEMA_STR, .doc = "as of query-desired" },
		    { "why", SCHEMA_STR, true, .doc = "the sentence that goes with it" },
		    { "refusal", SCHEMA_STR, true, .doc = "the rule of a refusal" } } },
	{ "GUEST_RESET", "The guest was reset; its kernel boots anew.", .data = { RET_VM } },
	{ "COUNT_PROGRESS", "How far a vm-count has come; about once a second.",
	  .data = { RET_VM,
		    { "address", SCHEMA_ADDRESS, .doc = "where" },
		    { "symbol", SCHEMA_STR, .doc = "the same as symbol and offset" },
		    { "hits", SCHEMA_INT, .doc = "so far" },
		    { "elapsed_us", SCHEMA_INT, .doc = "since it began" } } },
	{ "JOB_PROGRESS", "Work on a patch comes to a phase; for a command with \"progress\". None is told while all vCPUs "
			  "stand still, and 100 a second at most.",
	  .data = { RET_VM,
		    { "id", SCHEMA_STR, true, .doc = "the job" },
		    { "phase", SCHEMA_STR, .doc = "resolve, check, trap, sync, write or verify" } } },
	{ "JOB_STATUS_CHANGE", "A job began, was asked to stop, or concluded.",
	  .data = { { "id", SCHEMA_STR, .doc = "the job" },
		    { "status", SCHEMA_STR, .doc = "running, aborting or concluded" },
		    RET_VM,
		    { "type", SCHEMA_STR, .doc = "the command" } } },
	{ "WORKER_DIED", "The worker of a VM ended; it will be restarted. Not of a machine, which ends with its worker.",
	  .data = { RET_VM, { "restart_ms", SCHEMA_INT, .doc = "delay until then" } } },
	{ "WORKER_READY", "A worker has finished recovery and answers requests.",
	  .data = { RET_VM,
		    { "state", SCHEMA_STR, .doc = "as in query-vm" },
		    { "reason", SCHEMA_STR, true, .doc = "as in query-vm" },
		    { "refusal", SCHEMA_STR, true, .doc = "the rule, where the VM is not reached because that is refused" },
		    { "recovered", SCHEMA_INT, .doc = "unfinished operations found and settled" } } },
	{ .name = NULL },
};
