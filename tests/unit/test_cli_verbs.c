// SPDX-License-Identifier: GPL-2.0-or-later
/* The vmpoke program from outside, verb by verb: arguments to requests, answers to text and exit code. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/util.h"
#include "tests/fake/cli_program.h"

/* --- VMs --- */

#define WEB1 "{\"name\": \"web1\", \"qmp\": \"/run/web1.qmp\", \"state\": \"running\", \"pid\": 77, \"accel\": \"tcg\", " \
	     "\"version\": \"7.2.22\", \"vcpus\": 2, \"release\": \"6.1.0-56-cloud-amd64\", \"patches\": 1}"
#define WEB2 "{\"name\": \"web2\", \"qmp\": \"/run/web2.qmp\", \"state\": \"unreachable\", \"patches\": 0}"

static void test_vm(void **state)
{
	static const struct cli_case cases[] = {
		{ "no verb lists", { NULL }, { { "query-vms", NULL, "\"return\": [" WEB1 ", " WEB2 "]" } }, 0,
		  "web1\trunning\t2\ttcg\t1\t6.1.0-56-cloud-amd64\nweb2\tunreachable\t-\t-\t0\t-\n", "" },
		{ "list --json", { "list", "--json" }, { { "query-vms", NULL, "\"return\": [" WEB2 "]" } }, 0, "[" WEB2 "]\n", "" },
		{ "options before the verb", { "--json", "-q", "list" }, { { "query-vms", NULL, "\"return\": []" } }, 0, "[]\n", "" },
		{ "list of none", { "list" }, { { "query-vms", NULL, "\"return\": []" } }, 0, "", "" },
		{ "add", { "add", "web1", "--qmp", "/run/web1.qmp" },
		  { { "vm-add", "{\"name\": \"web1\", \"qmp\": \"/run/web1.qmp\"}", "\"return\": " WEB1 } }, 0, "added web1 (running)\n", "" },
		{ "add with gdb", { "add", "--gdb=/g", "--qmp=/q", "web1" },
		  { { "vm-add", "{\"name\": \"web1\", \"qmp\": \"/q\", \"gdb\": \"/g\"}", "\"return\": " WEB1 } }, 0, "added web1 (running)\n", "" },
		{ "add again", { "add", "web1", "--qmp", "/q" },
		  { { "vm-add", "{\"name\": \"web1\", \"qmp\": \"/q\"}", "\"return\": {\"name\": \"web1\", \"state\": \"paused\", \"changed\": false}" } },
		  0, "web1 is already registered (paused)\n", "" },
		{ "remove", { "remove", "web1" }, { { "vm-remove", "{\"vm\": \"web1\"}", "\"return\": {\"vm\": \"web1\", \"changed\": true}" } },
		  0, "removed web1\n", "" },
		{ "remove --keep-patches", { "remove", "web1", "--keep-patches", "--json" },
		  { { "vm-remove", "{\"vm\": \"web1\", \"keep-patches\": true}", "\"return\": {\"vm\": \"web1\", \"changed\": true}" } },
		  0, "{\"vm\": \"web1\", \"changed\": true}\n", "" },
		{ "remove refused", { "remove", "web1" },
		  { { "vm-remove", "{\"vm\": \"web1\"}", "\"error\": {\"class\": \"GenericError\", \"desc\": \"1 patch is applied\", \"detail\": "
		      "{\"kind\": \"refused\", \"errno\": 16, \"rule\": \"patched\", \"vm\": \"web1\", \"override\": \"keep-patches\"}}" } },
		  5, "", "vmpoke: web1: 1 patch is applied\noverride: --keep-patches\n" },
		{ "name behind --", { "remove", "--", "-x" }, { { "vm-remove", "{\"vm\": \"-x\"}", "\"return\": {}" } }, 0, "removed -x\n", "" },
		{ "info", { "info", "web1" }, { { "query-vm", "{\"vm\": \"web1\"}", "\"return\": " WEB1 } }, 0,
		  "vm: web1\n  state: running\n  monitor: /run/web1.qmp\n  process: 77\n  accelerator: tcg\n  version: 7.2.22\n"
		  "  vcpus: 2\n  release: 6.1.0-56-cloud-amd64\n  patches: 1\n", "" },
		{ "info --json", { "info", "web1", "--json" }, { { "query-vm", "{\"vm\": \"web1\"}", "\"return\": " WEB1 } }, 0, WEB1 "\n", "" },
		{ "escape sequences of a guest", { "info", "web1" },
		  { { "query-vm", "{\"vm\": \"web1\"}", "\"return\": {\"release\": \"6.1\\u001b[31m\\u009b\\n!\"}" } }, 0,
		  "vm: web1\n  release: 6.1\\x1b[31m\\xc2\\x9b\\x0a!\n", "" },
		{ "colour on demand", { "info", "web1", "--color=always" },
		  { { "query-vm", "{\"vm\": \"web1\"}", "\"return\": {\"state\": \"running\"}" } }, 0,
		  "\033[1mvm\033[0m: \033[1;32mweb1\033[0m\n  \033[1mstate\033[0m: running\n", "" },
		{ "probe", { "probe", "web1" },
		  { { "vm-probe", "{\"vm\": \"web1\"}", "\"return\": {\"vm\": \"web1\", \"release\": \"6.1.0\", \"kpti\": false, \"symbols\": 87347, "
		      "\"capabilities\": {\"live_read\": true, \"remap\": false, \"step\": true}, \"modes\": [\"stopped\"], "
		      "\"cached\": true, \"pause_us\": 900, \"elapsed_us\": 2000, \"cpu_us\": 1500}" } }, 0,
		  "vm: web1\n  release: 6.1.0\n  symbols: 87347\n  kpti: no\n  can: live_read, step\n  patch modes: stopped\n"
		  "  guest paused 900 us, 1500 us of CPU, 2000 us in all (from the cache)\n", "" },
		{ "probe of a machine of our own", { "probe", "-q", "web1" },
		  { { "vm-probe", "{\"vm\": \"web1\"}", "\"return\": {\"modes\": [\"flipped\", \"stopped\"], \"modes_detail\": ["
		      "{\"name\": \"flipped\", \"available\": true, \"why\": \"w\"}, {\"name\": \"held\", \"available\": false, \"why\": \"n\"}], "
		      "\"abilities\": [{\"name\": \"int3\", \"value\": \"reported\"}]}" } }, 0,
		  "vm: web1\n  patch modes: flipped, stopped\n    flipped: w\n    held: no: n\n  this KVM:\n    int3: reported\n", "" },
		{ "probe -q --json", { "probe", "-q", "web1", "--json" }, { { "vm-probe", "{\"vm\": \"web1\"}", "\"return\": {\"x\": [1, 2.5]}" } }, 0,
		  "{\"x\": [1, 2.5]}\n", "" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

#define M1 "{\"name\": \"m1\", \"kind\": \"machine\", \"state\": \"running\", \"kernel\": \"/boot/k\", \"vcpus\": 2, " \
	   "\"memory\": 2147483648, \"patches\": 0, \"changed\": true}"

/* Strings of the guest's own making, one with an escape sequence. */
static void test_agent(void **state)
{
	static const struct cli_case cases[] = {
		{ "add with an agent", { "add", "web1", "--qmp", "/run/q", "--agent", "unix:/run/a" },
		  { { "vm-add", "{\"name\": \"web1\", \"qmp\": \"/run/q\", \"agent\": \"unix:/run/a\"}", "\"return\": " WEB1 } }, 0, NULL, "" },
		{ "add with a key", { "add", "web1", "--qmp", "/run/q", "--agent=vsock:3", "--agent-key=/etc/passwd" },
		  { { "getfd", "{\"fdname\": \"agent-key\"}", "\"return\": {}" },
		    { "vm-add", "{\"name\": \"web1\", \"qmp\": \"/run/q\", \"agent\": \"vsock:3\", \"agent-key\": \"fd:agent-key\"}",
		      "\"return\": " WEB1 } }, 0, NULL, "" },
		{ "check with the kernel's file", { "check", "web1", "p1", "--vmlinux=/etc/passwd" },
		  { { "getfd", "{\"fdname\": \"vmlinux\"}", "\"return\": {}" },
		    { "patch-check", "{\"vm\": \"web1\", \"patch\": \"p1\", \"vmlinux\": \"fd:vmlinux\"}",
		      "\"error\": {\"class\": \"GenericError\", \"desc\": \"another kernel\", \"detail\": {\"kind\": \"refused\", "
		      "\"errno\": 116, \"rule\": \"build-id\"}}" } }, 3, "", "vmpoke: another kernel\n" },
		{ "no such file", { "apply", "web1", "p1", "--vmlinux", "/nowhere" }, { { 0 } }, 2, "",
		  "vmpoke: --vmlinux: /nowhere: No such file or directory\n" },
		{ "a file that revert does not need", { "revert", "web1", "p1", "--vmlinux", "/etc/passwd" }, { { 0 } }, 2, "",
		  "vmpoke: 'revert' has no option '--vmlinux'; see 'vmpoke help revert'\n" },
		{ "key without an agent", { "add", "web1", "--qmp", "/run/q", "--agent-key=/etc/passwd" }, { { 0 } }, 2, "",
		  "vmpoke: '--agent-key' goes with '--agent ADDRESS'\n" },
		{ "no such key", { "add", "web1", "--qmp", "/run/q", "--agent=vsock:3", "--agent-key=/nowhere" }, { { 0 } }, 2, "", NULL },
		{ "another place", { "agent", "web1", "--set", "unix:/run/b" },
		  { { "vm-set-agent", "{\"vm\": \"web1\", \"agent\": \"unix:/run/b\"}",
		      "\"return\": {\"vm\": \"web1\", \"agent\": \"unix:/run/b\", \"changed\": true}" } }, 0,
		  "web1: agent at unix:/run/b\n", "" },
		{ "none any more", { "agent", "web1", "--set=none" },
		  { { "vm-set-agent", "{\"vm\": \"web1\", \"agent\": \"none\"}", "\"return\": {\"vm\": \"web1\", \"changed\": false}" } }, 0,
		  "web1: no agent, as before\n", "" },
		{ "another key", { "agent", "web1", "--agent-key", "/etc/passwd" },
		  { { "getfd", "{\"fdname\": \"agent-key\"}", "\"return\": {}" },
		    { "vm-set-agent", "{\"vm\": \"web1\", \"agent-key\": \"fd:agent-key\"}",
		      "\"return\": {\"vm\": \"web1\", \"agent\": \"vsock:3\", \"changed\": true}" } }, 0, "web1: agent at vsock:3\n", "" },
		{ "no key", { "agent", "web1", "--set=vsock:3", "--agent-key=none", "--json" },
		  { { "vm-set-agent", "{\"vm\": \"web1\", \"agent\": \"vsock:3\", \"agent-key\": \"none\"}",
		      "\"return\": {\"vm\": \"web1\"}" } }, 0, "{\"vm\": \"web1\"}\n", "" },
		{ "a key that is not there", { "agent", "web1", "--agent-key", "/nowhere" }, { { 0 } }, 2, "",
		  "vmpoke: --agent-key: /nowhere: No such file or directory\n" },
		{ "agent that is ready", { "agent", "web1" },
		  { { "query-agent", "{\"vm\": \"web1\"}", "\"return\": {\"state\": \"ready\", \"link\": \"xdp\", \"release\": \"6\\u001b[2J\", "
		      "\"sources\": [\"kallsyms\", \"kprobes\"], \"round_trip_us\": 5, \"hello_us\": 7, \"agrees\": true}" } }, 0,
		  "vm: web1\n  state: ready\n  link: xdp\n  same kernel as in memory: yes\n  release: 6\\x1b[2J\n"
		  "  can read: kallsyms, kprobes\n  round trip: 5 us (hello: 7 us)\n", "" },
		{ "agent that is silent", { "agent", "web1" },
		  { { "query-agent", "{\"vm\": \"web1\"}", "\"return\": {\"state\": \"silent\", \"why\": \"nobody\"}" } }, 3,
		  "vm: web1\n  state: silent\n  why: nobody\n", "" },
		{ "what became of it", { "revert", "-q", "web1", "p", "--agent-use=none" },
		  { { "patch-revert", "{\"vm\": \"web1\", \"patch\": \"p\", \"agent-use\": \"none\"}",
		      "\"return\": {\"vm\": \"web1\", \"patch\": \"p\", \"state\": \"reverted\", \"changed\": true, \"mode\": \"stopped\", "
		      "\"agent\": {\"used\": false, \"why\": \"not wanted\", \"warnings\": [{\"rule\": \"r\", \"text\": \"t\"}]}}" } }, 0,
		  "reverted p on web1 (stopped)\n  warning (r): t\n  without the guest's agent: not wanted\n", "" },
		{ "no such use", { "apply", "web1", "p", "--agent-use=fully" }, { { 0 } }, 2, "", NULL },
		{ "text_mutex held", { "apply", "web1", "p", "--agent-use=full", "-v" },
		  { { "patch-apply", "{\"vm\": \"web1\", \"patch\": \"p\", \"agent-use\": \"full\"}",
		      "\"return\": {\"vm\": \"web1\", \"patch\": \"p\", \"state\": \"applied\", \"changed\": true, \"mode\": \"stopped\", "
		      "\"text_mutex\": true, \"quiescence\": \"scan\"}" } }, 0, NULL, NULL },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_machine(void **state)
{
	/* The kernel and the initrd are files that any system has; the console must be one that can be written. */
	static const struct cli_case cases[] = {
		{ "run", { "run", "m1", "--kernel", "/proc/self/exe" },
		  { { "getfd", "{\"fdname\": \"kernel\"}", "\"return\": {}" },
		    { "vm-run", "{\"name\": \"m1\", \"kernel\": \"fd:kernel\"}", "\"return\": " M1 } }, 0,
		  "started m1 (2 vCPUs, 2048 MiB)\n", "" },
		{ "run with all of it", { "run", "m1", "--kernel=/etc/passwd", "--initrd=/etc/group", "--append=", "--vcpus=2",
					  "--memory=2G", "--console=/dev/null", "--json" },
		  { { "getfd", "{\"fdname\": \"kernel\"}", "\"return\": {}" }, { "getfd", "{\"fdname\": \"initrd\"}", "\"return\": {}" },
		    { "getfd", "{\"fdname\": \"console\"}", "\"return\": {}" },
		    { "vm-run", "{\"name\": \"m1\", \"kernel\": \"fd:kernel\", \"initrd\": \"fd:initrd\", \"console\": \"fd:console\", "
				"\"append\": \"\", \"vcpus\": 2, \"memory\": 2147483648}", "\"return\": " M1 } }, 0, M1 "\n", "" },
		{ "run with disks", { "run", "m1", "--kernel=/etc/passwd", "--disk=/etc/passwd,ro", "--disk", "/dev/null" },
		  { { "getfd", "{\"fdname\": \"disk0\"}", "\"return\": {}" }, { "getfd", "{\"fdname\": \"disk1\"}", "\"return\": {}" },
		    { "getfd", "{\"fdname\": \"kernel\"}", "\"return\": {}" },
		    { "vm-run", "{\"name\": \"m1\", \"disks\": [\"fd:disk0\", \"fd:disk1\"], \"kernel\": \"fd:kernel\"}", "\"return\": " M1 } }, 0,
		  "started m1 (2 vCPUs, 2048 MiB)\n", "" },
		{ "run with a disk too many", { "run", "m1", "--disk=a", "--disk=b", "--disk=c", "--disk=d", "--disk=e" }, { { 0 } }, 2, "",
		  "vmpoke: 'e' is no value for option '--disk': raw image or block device as /dev/vda; again (up to 4 times) for the next\n" },
		{ "run without a kernel", { "run", "m1" }, { { 0 } }, 2, "", "vmpoke: 'run' needs --kernel FILE\n" },
		{ "run of a missing kernel", { "run", "m1", "--kernel", "/nowhere/k" }, { { 0 } }, 2, "",
		  "vmpoke: --kernel: /nowhere/k: No such file or directory\n" },
		{ "run refused", { "run", "m1", "--kernel", "/etc/passwd" },
		  { { "getfd", "{\"fdname\": \"kernel\"}", "\"return\": {}" },
		    { "vm-run", "{\"name\": \"m1\", \"kernel\": \"fd:kernel\"}", "\"error\": {\"class\": \"GenericError\", \"desc\": "
		      "\"no KVM\", \"detail\": {\"kind\": \"failed\", \"errno\": 13, \"rule\": \"no-kvm\"}}" } }, 1, "", "vmpoke: no KVM\n" },
		{ "sizes in K", { "run", "m1", "--kernel", "/etc/passwd", "--memory", "65536K" },
		  { { "getfd", "{\"fdname\": \"kernel\"}", "\"return\": {}" },
		    { "vm-run", "{\"name\": \"m1\", \"kernel\": \"fd:kernel\", \"memory\": 67108864}", "\"return\": " M1 } }, 0, NULL, "" },
		{ "size too large", { "run", "m1", "--kernel", "/etc/passwd", "--memory", "1025G" }, { { 0 } }, 2, "", NULL },
		{ "size of nothing", { "run", "m1", "--kernel", "/etc/passwd", "--memory", "0" }, { { 0 } }, 2, "", NULL },
		{ "size with a tail", { "run", "m1", "--kernel", "/etc/passwd", "--memory", "1Gb" }, { { 0 } }, 2, "", NULL },
		{ "negative size", { "run", "m1", "--kernel", "/etc/passwd", "--memory", "-1" }, { { 0 } }, 2, "", NULL },
		{ "too many vCPUs", { "run", "m1", "--kernel", "/etc/passwd", "--vcpus", "65" }, { { 0 } }, 2, "", NULL },
		{ "option of another verb", { "add", "m1", "--kernel", "/etc/passwd" }, { { 0 } }, 2, "",
		  "vmpoke: 'add' has no option '--kernel'; see 'vmpoke help add'\n" },
		{ "info of a machine", { "info", "m1" }, { { "query-vm", "{\"vm\": \"m1\"}", "\"return\": " M1 } }, 0,
		  "vm: m1\n  state: running\n  kind: machine\n  kernel: /boot/k\n  vcpus: 2\n  patches: 0\n  memory: 2048 MiB\n", "" },
		{ "status of all passes over a machine that is shut down", { "status" },
		  { { "query-vms", NULL, "\"return\": [{\"name\": \"m1\", \"kind\": \"machine\", \"state\": \"shutdown\"}]" } }, 0, "", "" },
		{ "destroy", { "destroy", "m1" }, { { "vm-destroy", "{\"vm\": \"m1\"}", "\"return\": {\"vm\": \"m1\", \"changed\": true}" } },
		  0, "destroyed m1\n", "" },
		{ "destroy again", { "destroy", "m1" },
		  { { "vm-destroy", "{\"vm\": \"m1\"}", "\"return\": {\"vm\": \"m1\", \"changed\": false}" } }, 0, "m1 is shut down already\n", "" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_relative_path(void **state)
{
	char cwd[256], want[512];
	struct cli_case t = { "relative socket", { "add", "web1", "--qmp", "q.sock" }, { { "vm-add", want, "\"return\": " WEB1 } }, 0,
			      "added web1 (running)\n", "" };

	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(want, sizeof(want), "{\"name\": \"web1\", \"qmp\": \"%s/q.sock\"}", cwd);
	cases_run(&t, 1);
}

/* --- symbols --- */

#define SYM(address, name) "{\"address\": \"" address "\", \"type\": \"T\", \"name\": \"" name "\"}"

static void test_symbols(void **state)
{
	static const char page1[] = "{\"vm\": \"web1\", \"start\": 0, \"count\": 1024}", page2[] = "{\"vm\": \"web1\", \"start\": 2, \"count\": 1024}";
	static const struct cli_case cases[] = {
		{ "pages", { "symbols", "web1" },
		  { { "query-symbols", page1, "\"return\": {\"symbols\": [" SYM("0x0", "cpu") ", " SYM("0xffffffff81000000", "_text") "], \"next\": 2, \"total\": 3}" },
		    { "query-symbols", page2, "\"return\": {\"symbols\": [" SYM("0xffffffff81000040", "x") "], \"next\": -1, \"total\": 3}" } },
		  0, "0000000000000000 T cpu\nffffffff81000000 T _text\nffffffff81000040 T x\n", "" },
		{ "pages --json", { "symbols", "web1", "--json" },
		  { { "query-symbols", page1, "\"return\": {\"symbols\": [" SYM("0x1", "a") "], \"next\": 2, \"total\": 2}" },
		    { "query-symbols", page2, "\"return\": {\"symbols\": [" SYM("0x2", "b") "], \"next\": -1, \"total\": 2}" } },
		  0, "{\"symbols\": [" SYM("0x1", "a") ", " SYM("0x2", "b") "], \"next\": -1, \"total\": 2}\n", "" },
		{ "count", { "count", "web1", "do_idle", "--seconds", "2.5", "--max-rate", "9" },
		  { { "vm-count", "{\"vm\": \"web1\", \"at\": \"do_idle\", \"timeout\": 2500, \"max-rate\": 9}",
		      "\"return\": {\"symbol\": \"do_idle\", \"hits\": 5, \"ended\": \"time\", \"elapsed_us\": 2500000, \"stops\": 0}" } },
		  0, "do_idle: 5 hits in 2.5 s, 2.0 a second\n", "" },
		{ "count of a storm that stops the VM", { "count", "web1", "do_idle" },
		  { { "vm-count", "{\"vm\": \"web1\", \"at\": \"do_idle\"}",
		      "\"return\": {\"symbol\": \"do_idle\", \"hits\": 13, \"ended\": \"rate\", \"elapsed_us\": 100000, \"max_rate\": 50, "
		      "\"stops\": 13, \"stopped_us\": 900, \"longest_pause_us\": 80}" } },
		  0, "do_idle: 13 hits in 0.1 s, 130.0 a second\n  ended: more than 50 hits a second (--max-rate)\n"
		  "  all vCPUs stopped 13 times, 900 us in all, longest 80 us\n", "" },
		{ "count for no time", { "count", "web1", "do_idle", "--seconds", "0" }, { { 0 } }, 2, "",
		  "vmpoke: '0' is no value for option '--seconds': count for so long (up to 600, fractions allowed; default 10)\n" },
		{ "one symbol", { "symbols", "web1", "_text" },
		  { { "query-symbols", "{\"vm\": \"web1\", \"symbol\": \"_text\"}", "\"return\": {\"symbols\": [" SYM("0xffffffff81000000", "_text") "], \"next\": -1, \"total\": 9}" } },
		  0, "ffffffff81000000 T _text\n", "" },
		{ "unknown symbol", { "symbols", "web1", "nix" },
		  { { "query-symbols", "{\"vm\": \"web1\", \"symbol\": \"nix\"}",
		      "\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no symbol 'nix'\", \"detail\": {\"kind\": \"not-found\", \"errno\": 2, \"vm\": \"web1\"}}" } },
		  4, "", "vmpoke: web1: no symbol 'nix'\n" },
		{ "pages that go in a circle", { "symbols", "web1" },
		  { { "query-symbols", page1, "\"return\": {\"symbols\": [], \"next\": 0, \"total\": 3}" } }, 7, "",
		  "vmpoke: the answer to 'query-symbols' from '..." },
		{ "address that is a number", { "symbols", "web1" },
		  { { "query-symbols", page1, "\"return\": {\"symbols\": [{\"address\": 5, \"type\": \"T\", \"name\": \"x\"}], \"next\": -1}" } }, 7, "",
		  "vmpoke: the answer to 'query-symbols' from '..." },
		{ "page too large for a message", { "symbols", "web1" },
		  { { "query-symbols", page1, "\"error\": {\"class\": \"GenericError\", \"desc\": \"too large\", \"detail\": {\"kind\": \"failed\", \"errno\": 90, \"rule\": \"reply-size\"}}" },
		    { "query-symbols", "{\"vm\": \"web1\", \"start\": 0, \"count\": 512}", "\"return\": {\"symbols\": [" SYM("0x1", "a\\n") "], \"next\": -1}" } },
		  0, "0000000000000001 T a\\x0a\n", "" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

/* --- sites --- */

#define SITE(address, more) "{\"address\": \"" address "\", \"kind\": \"static_key\", \"state\": \"nop\", \"symbol\": \"f+0x5\", \"key\": \"k\"" more "}"

static void test_sites(void **state)
{
	static const char page1[] = "{\"vm\": \"web1\", \"start\": 0, \"count\": 1024}", page2[] = "{\"vm\": \"web1\", \"start\": 1, \"count\": 1024}";
	static const struct cli_case cases[] = {
		{ "pages", { "sites", "web1" },
		  { { "query-sites", page1, "\"return\": {\"sites\": [" SITE("0xffffffff81000005", ", \"target\": \"f+0x10\"") "], \"next\": 1, \"total\": 2}" },
		    { "query-sites", page2, "\"return\": {\"sites\": [" SITE("0xffffffff81000009", ", \"tail\": true, \"init\": true") "], \"next\": -1, \"total\": 2}" } },
		  0, "ffffffff81000005 nop f+0x5 static_key k f+0x10\nffffffff81000009 nop f+0x5 static_key k - tail init\n", "" },
		{ "of a key", { "sites", "web1", "k", "--kind", "static_key", "--json" },
		  { { "query-sites", "{\"vm\": \"web1\", \"symbol\": \"k\", \"kind\": \"static_key\", \"start\": 0, \"count\": 1024}",
		      "\"return\": {\"sites\": [], \"next\": -1, \"total\": 0}" } },
		  0, "{\"sites\": [], \"next\": -1, \"total\": 0}\n", "" },
		{ "pages that go in a circle", { "sites", "web1" },
		  { { "query-sites", page1, "\"return\": {\"sites\": [], \"next\": 0, \"total\": 3}" } }, 7, "",
		  "vmpoke: the answer to 'query-sites' from '..." },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

/* --- patches --- */

#define APPLIED(state, changed) "\"return\": {\"vm\": \"web1\", \"patch\": \"p1\", \"state\": \"" state "\", \"changed\": " changed ", " \
	"\"mode\": \"stopped\", \"why\": \"no gentler road\", \"sites\": 1, \"barriers\": 1, \"forced_exits\": 2, \"steps\": 1, " \
	"\"retries\": 0, \"longest_pause_us\": 412, \"elapsed_us\": 2310}"
#define P1 "{\"vm\": \"web1\", \"patch\": \"p1\"}"
#define REFUSAL "\"error\": {\"class\": \"GenericError\", \"desc\": \"site 1 (do_idle+0x3c): byte 0xcc\", \"detail\": " \
	"{\"kind\": \"refused\", \"errno\": 16, \"rule\": \"kprobe\", \"address\": \"0xffffffff81000000\", \"vm\": \"web1\", \"override\": \"disable the kprobe\"}}"

static void test_patch(void **state)
{
	static const struct cli_case cases[] = {
		{ "apply", { "apply", "web1", "p1" }, { { "patch-apply", P1, APPLIED("applied", "true") } }, 0,
		  "applied p1 to web1 (stopped: no gentler road)\n"
		  "  1 site, 1 barrier, 2 forced exits, longest pause 412 us, 2310 us in all\n", "" },
		{ "load -q", { "load", "-q", "web1", "p1" }, { { "patch-apply", P1, APPLIED("applied", "true") } }, 0,
		  "applied p1 to web1 (stopped: no gentler road)\n", "" },
		{ "apply -v", { "apply", "-v", "web1", "p1" }, { { "patch-apply", P1, APPLIED("applied", "true") } }, 0,
		  "applied p1 to web1 (stopped: no gentler road)\n"
		  "  1 site, 1 barrier, 2 forced exits, longest pause 412 us, 2310 us in all\n"
		  "  1 single-step out of a range, 0 retries\n", "" },
		{ "apply again", { "apply", "web1", "p1" }, { { "patch-apply", P1, APPLIED("applied", "false") } }, 0,
		  "p1 is already applied to web1\n", "" },
		{ "apply --json", { "apply", "web1", "p1", "--json" },
		  { { "patch-apply", P1, "\"return\": {\"state\": \"applied\", \"changed\": false}" } }, 0,
		  "{\"state\": \"applied\", \"changed\": false}\n", "" },
		{ "timeout in milliseconds", { "apply", "web1", "p1", "--timeout", "2.5", "-q" },
		  { { "patch-apply", "{\"vm\": \"web1\", \"patch\": \"p1\", \"timeout\": 2500}", APPLIED("applied", "false") } }, 0,
		  "p1 is already applied to web1\n", "" },
		{ "dry run is a check", { "apply", "web1", "p1", "--dry-run" },
		  { { "patch-check", P1, "\"return\": {\"vm\": \"web1\", \"patch\": \"p1\", \"state\": \"applicable\", \"mode\": \"stopped\"}" } }, 0,
		  "p1 can be applied to web1 (stopped)\n", "" },
		{ "check", { "check", "web1", "p1" },
		  { { "patch-check", P1, "\"return\": {\"vm\": \"web1\", \"patch\": \"p1\", \"state\": \"applicable\", \"mode\": \"stopped\", \"why\": \"w\", "
		      "\"sites_detail\": [{\"address\": \"0xffffffff81000010\", \"symbol\": \"f+0x4\", \"old\": \"0f1f00\", \"new\": \"909090\"}]}" } }, 0,
		  "p1 can be applied to web1 (stopped: w)\n  f+0x4 (0xffffffff81000010): 0f 1f 00 -> 90 90 90\n", "" },
		{ "check of what is applied", { "check", "web1", "p1" },
		  { { "patch-check", P1, "\"return\": {\"vm\": \"web1\", \"patch\": \"p1\", \"state\": \"applied\", "
		      "\"sites_detail\": [{\"address\": \"0x1\", \"symbol\": \"f\", \"old\": \"90\", \"new\": \"cc\"}]}" } }, 0,
		  "p1 is already applied to web1\n  f (0x1): 90 -> cc\n", "" },
		{ "check refused", { "check", "web1", "p1" }, { { "patch-check", P1, REFUSAL } }, 3, "",
		  "vmpoke: web1: site 1 (do_idle+0x3c): byte 0xcc\noverride: disable the kprobe\n" },
		{ "dry run refused", { "apply", "--dry-run", "web1", "p1" }, { { "patch-check", P1, REFUSAL } }, 3, "",
		  "vmpoke: web1: site 1 (do_idle+0x3c): byte 0xcc\noverride: disable the kprobe\n" },
		{ "apply refused", { "apply", "-v", "web1", "p1" }, { { "patch-apply", P1, REFUSAL } }, 5, "",
		  "vmpoke: web1: site 1 (do_idle+0x3c): byte 0xcc\noverride: disable the kprobe\nrule: kprobe\n" },
		{ "revert", { "revert", "web1", "p1" }, { { "patch-revert", P1, APPLIED("reverted", "true") } }, 0,
		  "reverted p1 on web1 (stopped: no gentler road)\n"
		  "  1 site, 1 barrier, 2 forced exits, longest pause 412 us, 2310 us in all\n", "" },
		{ "revert, no reason for the mode", { "revert", "-q", "web1", "p1" },
		  { { "patch-revert", P1, "\"return\": {\"vm\": \"web1\", \"patch\": \"p1\", \"mode\": \"stopped\", \"why\": \"\"}" } }, 0,
		  "reverted p1 on web1 (stopped)\n", "" },
		{ "mode and traps", { "apply", "web1", "p1", "--mode", "held", "--traps=hw" },
		  { { "patch-apply", "{\"vm\": \"web1\", \"patch\": \"p1\", \"mode\": \"held\", \"traps\": \"hw\"}",
		      "\"return\": {\"vm\": \"web1\", \"patch\": \"p1\", \"mode\": \"held\", \"why\": \"w\", \"sites\": 2, \"barriers\": 3, "
		      "\"forced_exits\": 5, \"longest_pause_us\": 0, \"elapsed_us\": 90, \"trap\": \"hw\", \"traps\": 3, \"held\": 1, "
		      "\"copied\": 2, \"kicked\": 5, \"already_out\": 1, \"waited_us\": 40, \"held_us\": 33}" } }, 0,
		  "applied p1 to web1 (held: w)\n"
		  "  2 sites, 3 barriers, 5 forced exits, longest pause 0 us, 90 us in all\n"
		  "  5 vCPUs kicked, 1 already out, 40 us in barriers; 3 traps (hw), 2 copied, 1 held, longest 33 us\n", "" },
		{ "flipped has no traps", { "revert", "web1", "p1", "--mode=flipped" },
		  { { "patch-revert", "{\"vm\": \"web1\", \"patch\": \"p1\", \"mode\": \"flipped\"}",
		      "\"return\": {\"vm\": \"web1\", \"patch\": \"p1\", \"mode\": \"flipped\", \"sites\": 1, \"barriers\": 1, "
		      "\"forced_exits\": 1, \"longest_pause_us\": 0, \"elapsed_us\": 9, \"traps\": 0, \"held\": 0, "
		      "\"kicked\": 1, \"already_out\": 3, \"waited_us\": 4, \"held_us\": 0}" } }, 0,
		  "reverted p1 on web1 (flipped)\n"
		  "  1 site, 1 barrier, 1 forced exit, longest pause 0 us, 9 us in all\n"
		  "  1 vCPU kicked, 3 already out, 4 us in barriers\n", "" },
		{ "unload again", { "unload", "web1", "p1" }, { { "patch-revert", P1, APPLIED("reverted", "false") } }, 0,
		  "p1 is not applied to web1: nothing to revert\n", "" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void file_write(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, len), 0);
	close(fd);
}

static void test_patch_file(void **state)
{
	static const char text[] = "vmpoke: 1\nname: p1\nsites:\n  - { at: f, kind: return, value: 1 }\n";
	char path[128], nul[128], want[512], err[256];
	struct cli_case cases[] = {
		{ "text of a file", { "apply", "web1", path, "-q" }, { { "patch-apply", want, APPLIED("applied", "true") } }, 0,
		  "applied p1 to web1 (stopped: no gentler road)\n", "" },
		{ "status by file", { "status", "web1", path },
		  { { "query-patches", "{\"vm\": \"web1\"}", "\"return\": {\"vm\": \"web1\", \"patches\": []}" } }, 3, "p1 is not applied to web1\n", "" },
		{ "not text", { "apply", "web1", nul }, {}, 2, "", err },
	};
	json_auto_t *args = json_object();

	(void)state;
	snprintf(path, sizeof(path), "%s/p1.yaml", program_dir);
	snprintf(nul, sizeof(nul), "%s/nul.yaml", program_dir);
	snprintf(err, sizeof(err), "vmpoke: '%s' is not UTF-8 text: no patch file\n", nul);
	file_write(path, text, strlen(text));
	file_write(nul, "a\0b", 3);
	json_object_set_new(args, "vm", json_string("web1"));
	json_object_set_new(args, "text", json_string(text));
	json_object_set_new(args, "filename", json_string(path));
	char *dumped = json_dumps(args, 0);
	snprintf(want, sizeof(want), "%s", dumped);
	free(dumped);
	cases_run(cases, ARRAY_SIZE(cases));
	unlink(path);
	unlink(nul);
}

/* The object lies beside the patch file; revert has no use for it. */
static void test_object_file(void **state)
{
	static const char text[] = "vmpoke: 1\nname: p1\nsites:\n  - { at: f, kind: function, object: f.o, symbol: g }\n";
	static const char kept[] = "{\"vm\": \"web1\", \"patch\": \"p1\", \"state\": \"reverted\", \"changed\": true, \"mode\": \"stopped\", "
				   "\"why\": \"w\", \"sites\": 1, \"barriers\": 0, \"forced_exits\": 0, \"steps\": 0, \"retries\": 0, "
				   "\"longest_pause_us\": 1, \"elapsed_us\": 2, \"payloads\": [{\"patch\": \"p1\", \"address\": \"0xffffffffc0000000\", "
				   "\"size\": 4096, \"state\": \"kept\", \"why\": \"somebody is in it\"}]}";
	char path[128], object[128], want[1024], revert[1024], reply[1024], err[256];
	struct cli_case cases[] = {
		{ "object of a file", { "apply", "web1", path, "-q" }, { { "patch-apply", want, APPLIED("applied", "true") } }, 0,
		  "applied p1 to web1 (stopped: no gentler road)\n", "" },
		{ "payload kept", { "revert", "web1", path, "-q" }, { { "patch-revert", revert, reply } }, 0, NULL, "" },
		{ "unused", { "status", "web1" }, { { "query-patches", "{\"vm\": \"web1\"}", "\"return\": {\"vm\": \"web1\", \"patches\": [], "
		  "\"payloads\": [{\"patch\": \"a\", \"address\": \"0xffffffffc0000000\", \"size\": 4096, \"state\": \"in-use\"}, "
		  "{\"patch\": \"b\", \"address\": \"0xffffffffc0001000\", \"size\": 8192, \"state\": \"unused\"}]}" } }, 0,
		  "vm: web1\n  patches: none\n  kept: payload of b at 0xffffffffc0001000, 8192 bytes: no patch leads there any more\n", "" },
		{ "no object", { "apply", "web1", path }, {}, 4, "", err },
	};
	json_auto_t *args = json_pack("{s:s, s:s, s:s}", "vm", "web1", "text", text, "filename", "");

	(void)state;
	snprintf(path, sizeof(path), "%s/p1.yaml", program_dir);
	snprintf(object, sizeof(object), "%s/f.o", program_dir);
	snprintf(reply, sizeof(reply), "\"return\": %s", kept);
	file_write(path, text, strlen(text));
	file_write(object, "\x7f" "ELF", 4);
	json_object_set_new(args, "filename", json_string(path));
	char *without = json_dumps(args, 0);
	snprintf(revert, sizeof(revert), "%s", without);
	free(without);
	json_object_set_new(args, "object", json_string("7f454c46"));
	char *with = json_dumps(args, 0);
	snprintf(want, sizeof(want), "%s", with);
	free(with);
	cases_run(cases, 1);
	cases[1].out = "reverted p1 on web1 (stopped: w)\n  payload of p1 at 0xffffffffc0000000, 4096 bytes: kept: somebody is in it\n";
	cases_run(cases + 1, 1);
	unlink(object);
	snprintf(err, sizeof(err), "vmpoke: cannot read '%s': No such file or directory\n", object);
	cases_run(cases + 2, 2);
	unlink(path);
}

/* --- status, verify, history --- */

#define PATCHES1 "{\"vm\": \"web1\", \"release\": \"6.1.0\", \"patches\": [{\"name\": \"p1\", \"state\": \"applied\", \"applied_at\": 1795219200, " \
	"\"sites\": [{\"address\": \"0xffffffff81000010\", \"symbol\": \"f+0x4\", \"old\": \"0f1f00\", \"new\": \"909090\"}]}]}"
#define STATE_OF(state) "\"return\": {\"vm\": \"web1\", \"patches\": [{\"name\": \"p0\", \"state\": \"applied\"}, {\"name\": \"p1\", \"state\": \"" state "\"}]}"

static void test_status(void **state)
{
	static const char vm1[] = "{\"vm\": \"web1\"}", vm2[] = "{\"vm\": \"web2\"}";
	static const struct cli_case cases[] = {
		{ "tree", { "status", "web1" }, { { "query-patches", vm1, "\"return\": " PATCHES1 } }, 0,
		  "vm: web1\n  release: 6.1.0\n\n  patch: p1\n    state: applied\n    since: 2026-11-21T00:00:00Z\n    f+0x4: 0f 1f 00 -> 90 90 90\n", "" },
		{ "tree -v", { "status", "web1", "-v" }, { { "query-patches", vm1, "\"return\": " PATCHES1 } }, 0,
		  "vm: web1\n  release: 6.1.0\n\n  patch: p1\n    state: applied\n    since: 2026-11-21T00:00:00Z\n"
		  "    f+0x4 (0xffffffff81000010): 0f 1f 00 -> 90 90 90\n", "" },
		{ "none", { "status", "web1" }, { { "query-patches", vm1, "\"return\": {\"vm\": \"web1\", \"patches\": []}" } }, 0,
		  "vm: web1\n  patches: none\n", "" },
		{ "json", { "status", "web1", "--json" }, { { "query-patches", vm1, "\"return\": " PATCHES1 } }, 0, PATCHES1 "\n", "" },
		{ "one patch, applied", { "status", "web1", "p1", "--json" }, { { "query-patches", vm1, STATE_OF("applied") } }, 0,
		  "{\"vm\": \"web1\", \"patches\": [{\"name\": \"p1\", \"state\": \"applied\"}]}\n", "" },
		{ "one patch, lost", { "status", "web1", "p1" }, { { "query-patches", vm1, STATE_OF("lost") } }, 3, NULL, "" },
		{ "one patch, attention", { "status", "web1", "p1" }, { { "query-patches", vm1, STATE_OF("attention") } }, 9, NULL, "" },
		{ "one patch, unknown", { "status", "web1", "p9" }, { { "query-patches", vm1, STATE_OF("applied") } }, 3, "p9 is not applied to web1\n", "" },
		{ "every VM", { "status" },
		  { { "query-vms", NULL, "\"return\": [" WEB1 ", " WEB2 "]" },
		    { "query-patches", vm1, "\"return\": {\"vm\": \"web1\", \"patches\": []}" },
		    { "query-patches", vm2, "\"return\": {\"vm\": \"web2\", \"patches\": []}" } },
		  0, "vm: web1\n  patches: none\n\nvm: web2\n  patches: none\n", "" },
		{ "every VM, one silent", { "status", "--json" },
		  { { "query-vms", NULL, "\"return\": [" WEB1 ", " WEB2 "]" },
		    { "query-patches", vm1, "\"error\": {\"class\": \"DeviceNotActive\", \"desc\": \"gone\", \"detail\": {\"kind\": \"inactive\", \"errno\": 107, \"vm\": \"web1\"}}" },
		    { "query-patches", vm2, "\"return\": {\"vm\": \"web2\", \"patches\": []}" } },
		  8, "[{\"vm\": \"web2\", \"patches\": []}]\n", "vmpoke: web1: gone\nvmpoke: 1 of 2 VMs did not answer\n" },
		{ "no list of patches", { "status", "web1" }, { { "query-patches", vm1, "\"return\": {}" } }, 7, "",
		  "vmpoke: the answer to 'query-patches' from '..." },
		{ "verify", { "verify", "web1" },
		  { { "patch-verify", vm1, "\"return\": {\"vm\": \"web1\", \"ok\": true, \"patches\": 2, \"sites\": 3, \"differences\": []}" } }, 0,
		  "web1 is as journaled (patches: 2, sites: 3)\n", "" },
		{ "verify differs", { "verify", "web1" },
		  { { "patch-verify", vm1, "\"return\": {\"vm\": \"web1\", \"ok\": false, \"differences\": [{\"patch\": \"p1\", \"address\": \"0xffffffff81000010\", "
		      "\"symbol\": \"f+0x4\", \"expected\": \"9090\", \"found\": \"0f1f\", \"holds\": \"old\"}]}" } }, 9,
		  "p1: f+0x4 (0xffffffff81000010): expected 90 90, found 0f 1f (old)\n", "" },
		{ "verify --json differs", { "verify", "web1", "--json" }, { { "patch-verify", vm1, "\"return\": {\"ok\": false}" } }, 9, "{\"ok\": false}\n", "" },
		{ "verify without an answer", { "verify", "web1" }, { { "patch-verify", vm1, "\"return\": {}" } }, 7, "",
		  "vmpoke: the answer to 'patch-verify' from '..." },
		{ "history", { "history", "web1" },
		  { { "query-history", vm1, "\"return\": {\"vm\": \"web1\", \"entries\": [{\"time\": 1795219200, \"operation\": \"apply\", \"patch\": \"p1\", "
		      "\"transaction\": 7, \"mode\": \"flipped\", \"result\": \"applied\", \"longest_pause_us\": 412, \"elapsed_us\": 2310, \"by\": {\"uid\": 0, \"pid\": 7}}, {\"time\": 1795219201, \"operation\": \"revert\", \"patch\": \"p1\", "
		      "\"result\": \"undone\", \"error\": \"busy\"}]}" } }, 0,
		  "2026-11-21T00:00:00Z\t7\tapply\tp1\tapplied\tflipped\t412\t2310\troot\t-\n"
		  "2026-11-21T00:00:01Z\t-\trevert\tp1\tundone\t-\t-\t-\t-\tbusy\n", "" },
		{ "history --id alone", { "history", "web1", "--id", "3" }, {}, 2, "", "vmpoke: '--id' goes with '--trace FILE'\n" },
		{ "trace of no format", { "history", "web1", "--trace", "/tmp/x.png" }, {}, 2, "",
		  "vmpoke: '/tmp/x.png' must end in .json (for Perfetto) or .svg (a picture)\n" },
		{ "trace of another change", { "history", "web1", "--trace=/tmp/x.svg", "--id=3" },
		  { { "query-trace", "{\"vm\": \"web1\", \"format\": \"svg\", \"transaction\": 3}",
		      "\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"not kept\", \"detail\": {\"kind\": \"not-found\", \"errno\": 2}}" } },
		  4, "", "vmpoke: not kept\n" },
		{ "trace to nowhere", { "history", "web1", "--trace", "/nonexistent/x.json" },
		  { { "query-trace", "{\"vm\": \"web1\", \"format\": \"json\"}", "\"return\": {\"text\": \"{}\"}" } }, 1, "",
		  "vmpoke: cannot write '/nonexistent/x.json': No such file or directory\n" },
		{ "trace without text", { "history", "web1", "--trace", "/tmp/x.json" },
		  { { "query-trace", "{\"vm\": \"web1\", \"format\": \"json\"}", "\"return\": {}" } }, 7, "",
		  "vmpoke: the answer to 'query-trace' from '..." },
		{ "history --limit", { "history", "web1", "--limit=5", "--json" },
		  { { "query-history", "{\"vm\": \"web1\", \"limit\": 5}", "\"return\": {\"entries\": []}" } }, 0, "{\"entries\": []}\n", "" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_version_and_qmp(void **state)
{
	static const struct cli_case cases[] = {
		{ "version", { "version" }, { { "query-version", NULL, "\"return\": {\"qemu\": {\"major\": 0}, \"package\": \"vmpoke 0.1.0\"}" } }, 0,
		  "client: vmpoke 0.1.0\ndaemon: vmpoke 0.1.0\n", "" },
		{ "version --json", { "version", "--json" }, { { "query-version", NULL, "\"return\": {\"package\": \"p\"}" } }, 0,
		  "{\"client\": \"0.1.0\", \"daemon\": {\"package\": \"p\"}}\n", "" },
		{ "qmp", { "qmp", "{\"execute\": \"query-vm\", \"arguments\": {\"vm\": \"web1\"}}" },
		  { { "query-vm", "{\"vm\": \"web1\"}", "\"return\": {\"a\": 1}" } }, 0, "{\"return\": {\"a\": 1}}\n", "" },
		{ "qmp, any value", { "qmp", "{\"execute\": \"x\"}" }, { { "x", NULL, "\"return\": 7" } }, 0, "{\"return\": 7}\n", "" },
		{ "qmp error", { "qmp", "{\"execute\": \"nix\"}" },
		  { { "nix", NULL, "\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no nix\"}" } }, 2,
		  "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no nix\"...", "vmpoke: no nix\n" },
	};

	(void)state;
	cases_run(cases, ARRAY_SIZE(cases));
}

static void test_qmp_stdin(void **state)
{
	static const char *const argv[] = { "qmp", "-", NULL };
	static const struct step steps[] = { { "query-vms", NULL, "\"return\": []" }, { NULL, NULL, NULL } };
	static struct program r;
	struct fake f;

	(void)state;
	fake_start(&f, steps, NULL);
	/* Single quotes are legal in QMP as QEMU speaks it. */
	program_start(&r, f.path, argv, "{'execute': 'query-vms'}\n", -1);
	assert_int_equal(program_end(&r), 0);
	fake_stop(&f);
	assert_string_equal(f.wrong, "");
	assert_string_equal(r.out, "{\"return\": []}\n");
}

/* The id is made up by the client: read it from what it printed and look for it in the request. */
static void test_no_wait(void **state)
{
	static const char *const argv[] = { "apply", "web1", "p1", "--no-wait", NULL };
	static const struct step steps[] = { { "patch-apply", P1, "\"return\": {}" }, { NULL, NULL, NULL } };
	static struct program r;
	struct fake f;
	char want[256];

	(void)state;
	fake_start(&f, steps, NULL);
	program_start(&r, f.path, argv, NULL, -1);
	assert_int_equal(program_end(&r), 0);
	fake_stop(&f);
	assert_int_equal(strncmp(r.out, "cli-", 4), 0);
	r.out[strcspn(r.out, "\n")] = '\0';
	snprintf(want, sizeof(want), "\"job-id\": \"%s\"", r.out);
	/* The script expected no job-id: what it got is noted. */
	assert_non_null(strstr(f.wrong, want));
	assert_int_equal(f.done, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vm),
		cmocka_unit_test(test_agent),
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_relative_path),
		cmocka_unit_test(test_symbols),
		cmocka_unit_test(test_sites),
		cmocka_unit_test(test_patch),
		cmocka_unit_test(test_patch_file),
		cmocka_unit_test(test_object_file),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_version_and_qmp),
		cmocka_unit_test(test_qmp_stdin),
		cmocka_unit_test(test_no_wait),
	};

	return cmocka_run_group_tests(tests, program_dir_make, program_dir_remove);
}
