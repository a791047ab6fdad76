// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The option table and its parser; see options.h. Written by hand because
 * getopt_long() takes abbreviations. Must never touch files, sockets or stdout.
 */
#include "cli/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/suggest.h"
#include "protocol/util.h"

#define SET_TEXT(field)                                                          \
	static int set_##field(struct cli_options *o, const char *value)         \
	{                                                                        \
		o->field = value;                                                \
		return *value ? 0 : -EINVAL;                                     \
	}
#define SET_INT(name, field, number)                                             \
	static int set_##name(struct cli_options *o, const char *value)          \
	{                                                                        \
		(void)value;                                                     \
		o->field = number;                                               \
		return 0;                                                        \
	}

SET_TEXT(socket)
SET_TEXT(qmp)
SET_TEXT(gdb)
SET_TEXT(agent)
SET_TEXT(agent_key)
SET_TEXT(set)
SET_TEXT(kernel)
SET_TEXT(initrd)
SET_TEXT(console)
SET_TEXT(trace)
SET_TEXT(kind)
SET_TEXT(manifest)
SET_TEXT(expires)
SET_INT(unsigned, unsigned_, 1)
SET_TEXT(connect)
SET_TEXT(monitor)
SET_TEXT(wait_for)
SET_INT(why, why, 1)
SET_INT(adopt, adopt, 1)
SET_INT(json, json, 1)
SET_INT(wait, no_wait, 0)
SET_INT(no_wait, no_wait, 1)
SET_INT(dry_run, dry_run, 1)
SET_INT(apply, apply, 1)
SET_INT(keep_patches, keep_patches, 1)
SET_INT(quiet, verbosity, -1)
SET_INT(verbose, verbosity, 1)
SET_INT(all, all, 1)
SET_INT(watch, watch, 1)
SET_INT(help, help, 1)
SET_INT(version, version, 1)

static int set_timeout(struct cli_options *o, const char *value)
{
	char *end = NULL;

	/* strtod() alone would also take "inf", "0x10" and leading blanks. */
	if (strspn(value, "0123456789.") != strlen(value))
		return -EINVAL;
	double seconds = strtod(value, &end);
	if (end == value || *end || seconds * 1000 > CLI_TIMEOUT_MS_MAX)
		return -EINVAL;
	o->timeout_ms = (uint64_t)(seconds * 1000 + 0.5);
	o->has_timeout = true;
	return 0;
}

static int set_limit(struct cli_options *o, const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (digits == 0 || digits > 4 || value[digits])
		return -EINVAL;
	o->limit = (int)strtol(value, NULL, 10);
	return o->limit >= 1 && o->limit <= CLI_LIMIT_MAX ? 0 : -EINVAL;
}

static int list_add(const char **list, size_t *n, const char *value)
{
	if (!*value || *n == CLI_LIST_MAX)
		return -EINVAL;
	list[(*n)++] = value;
	return 0;
}

static int set_build_id(struct cli_options *o, const char *value)
{
	return list_add(o->build_ids, &o->n_build_ids, value);
}

static int set_vm(struct cli_options *o, const char *value)
{
	return list_add(o->vms, &o->n_vms, value);
}

static int set_serial(struct cli_options *o, const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (digits == 0 || digits > 15 || value[digits])
		return -EINVAL;
	o->serial = strtoll(value, NULL, 10);
	return o->serial ? 0 : -EINVAL;
}

static int set_disk(struct cli_options *o, const char *value)
{
	if (!*value || o->n_disks == CLI_DISKS_MAX)
		return -EINVAL;
	o->disks[o->n_disks++] = value;
	return 0;
}

/* An empty command line is one. */
static int set_append(struct cli_options *o, const char *value)
{
	o->append = value;
	return 0;
}

static int set_vcpus(struct cli_options *o, const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (digits == 0 || digits > 3 || value[digits])
		return -EINVAL;
	o->vcpus = (unsigned)strtoul(value, NULL, 10);
	return o->vcpus >= 1 && o->vcpus <= CLI_VCPUS_MAX ? 0 : -EINVAL;
}

/* "536870912", "524288K", "512M", "2G". */
static int set_memory(struct cli_options *o, const char *value)
{
	static const char units[] = "KMG";
	size_t digits = strspn(value, "0123456789");
	const char *unit = value[digits] ? strchr(units, value[digits]) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;

	if (digits == 0 || digits > 15 || (value[digits] && (!unit || value[digits + 1])))
		return -EINVAL;
	uint64_t n = strtoull(value, NULL, 10);
	if (n == 0 || n > CLI_MEMORY_MAX >> shift)
		return -EINVAL;
	o->memory = n << shift;
	return 0;
}

static int set_id(struct cli_options *o, const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (digits == 0 || digits > 15 || value[digits])
		return -EINVAL;
	o->id = strtoll(value, NULL, 10);
	return o->id >= 1 ? 0 : -EINVAL;
}

static bool is_one_of(const char *value, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(value, words[i]) == 0)
			return true;
	return false;
}

static int set_mode(struct cli_options *o, const char *value)
{
	static const char *const words[] = { "flipped", "staged", "held", "stopped" };

	o->mode = value;
	return is_one_of(value, words, ARRAY_SIZE(words)) ? 0 : -EINVAL;
}

static int set_traps(struct cli_options *o, const char *value)
{
	static const char *const words[] = { "int3", "hw" };

	o->traps = value;
	return is_one_of(value, words, ARRAY_SIZE(words)) ? 0 : -EINVAL;
}

static int set_agent_use(struct cli_options *o, const char *value)
{
	static const char *const words[] = { "none", "facts", "full" };

	o->agent_use = value;
	return is_one_of(value, words, ARRAY_SIZE(words)) ? 0 : -EINVAL;
}

static int set_vmlinux(struct cli_options *o, const char *value)
{
	o->vmlinux = value;
	return *value ? 0 : -EINVAL;
}

static int set_color(struct cli_options *o, const char *value)
{
	static const char *const names[] = { "auto", "always", "never" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			o->color = (enum cli_color)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_max_rate(struct cli_options *o, const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (digits == 0 || digits > 7 || value[digits])
		return -EINVAL;
	o->max_rate = atoi(value);
	return o->max_rate >= 1 && o->max_rate <= CLI_RATE_MAX ? 0 : -EINVAL;
}

/* How long the work takes, which is what --timeout is for others. */
static int set_seconds(struct cli_options *o, const char *value)
{
	int r = set_timeout(o, value);

	return r < 0 ? r : o->timeout_ms > 0 ? 0 : -EINVAL;
}

static int set_priority(struct cli_options *o, const char *value)
{
	const char *digits = value + (*value == '-');
	size_t n = strspn(digits, "0123456789");

	if (n == 0 || n > 4 || digits[n])
		return -EINVAL;
	o->priority = (int)strtol(value, NULL, 10);
	return abs(o->priority) <= CLI_PRIORITY_MAX ? 0 : -EINVAL;
}

static const struct cli_option options[] = {
	{ 'c', "socket", "SOCKET", 0, "vmpoked's socket ($VMPOKE_SOCKET, else /run/vmpoke/control.sock)", set_socket },
	{ 0, "json", NULL, 0, "print the answer as one JSON document (events: one per line)", set_json },
	{ 0, "timeout", "SECONDS", 0, "give up after this long (0 to 600, fractions allowed)", set_timeout },
	{ 'q', "quiet", NULL, 0, "no measured figures", set_quiet },
	{ 'v', "verbose", NULL, 0, "more detail", set_verbose },
	{ 0, "color", "WHEN", 0, "auto (default), always or never", set_color },
	{ 'h', "help", NULL, 0, "show help and exit", set_help },
	{ 0, "version", NULL, 0, "show the version of this program and exit", set_version },
	{ 0, "all", NULL, CLI_OPT_TARGETS, "for all VMs, instead of VM", set_all },
	{ 0, "watch", NULL, CLI_OPT_WATCH, "show it again whenever it changes, until interrupted", set_watch },
	{ 0, "wait", NULL, CLI_OPT_JOB, "wait for the result (default)", set_wait },
	{ 0, "no-wait", NULL, CLI_OPT_JOB, "start it as a job, print the job's id and return", set_no_wait },
	{ 0, "dry-run", NULL, CLI_OPT_DRY_RUN, "check only, change nothing", set_dry_run },
	{ 0, "qmp", "PATH", CLI_OPT_ADD, "QMP socket of the VM's QEMU", set_qmp },
	{ 0, "gdb", "PATH", CLI_OPT_ADD, "gdbstub socket of the VM, when it has one already", set_gdb },
	{ 0, "agent", "ADDRESS", CLI_OPT_ADD, "guest's agent: unix:PATH, vsock:CID[:PORT] or xdp:IFNAME,MAC", set_agent },
	{ 0, "agent-key", "FILE", CLI_OPT_ADD | CLI_OPT_RUN | CLI_OPT_AGENT, "key the agent must have too: 64 hex digits, file mode 0600", set_agent_key },
	{ 0, "set", "ADDRESS", CLI_OPT_AGENT, "the agent is there from now on, as of 'add --agent'; or 'none'", set_set },
	{ 0, "keep-patches", NULL, CLI_OPT_REMOVE, "remove the VM although patches are applied", set_keep_patches },
	{ 0, "kernel", "FILE", CLI_OPT_RUN, "bzImage, vmlinux or bare ELF64 image", set_kernel },
	{ 0, "initrd", "FILE", CLI_OPT_RUN, "initial RAM disk", set_initrd },
	{ 0, "append", "TEXT", CLI_OPT_RUN, "kernel command line", set_append },
	{ 0, "vcpus", "N", CLI_OPT_RUN, "number of vCPUs (1 to 64, default 1)", set_vcpus },
	{ 0, "memory", "SIZE", CLI_OPT_RUN, "memory: 512M (default), 2G, or bytes", set_memory },
	{ 0, "console", "FILE", CLI_OPT_RUN, "what the serial console is appended to", set_console },
	{ 0, "disk", "FILE[,ro]", CLI_OPT_RUN, "raw image or block device as /dev/vda; again (up to 4 times) for the next",
	  set_disk },
	{ 0, "mode", "MODE", CLI_OPT_MODE, "insist on flipped, staged, held or stopped", set_mode },
	{ 0, "traps", "KIND", CLI_OPT_MODE, "insist on int3 or hw (debug registers), for staged and held", set_traps },
	{ 0, "agent-use", "HOW", CLI_OPT_MODE, "where the guest has an agent: facts (default: ask it), full (also hold text_mutex) or none", set_agent_use },
	{ 0, "kind", "KIND", CLI_OPT_SITES, "only static_key, static_call, fentry or fixup", set_kind },
	{ 0, "vmlinux", "FILE", CLI_OPT_VMLINUX, "the guest kernel's file (vmlinuz or vmlinux), for kinds that need it", set_vmlinux },
	{ 0, "seconds", "N", CLI_OPT_COUNT, "count for so long (up to 600, fractions allowed; default 10)", set_seconds },
	{ 0, "max-rate", "N", CLI_OPT_COUNT,
	  "end when more hits a second come (default 20000; 50 where each stops the VM)", set_max_rate },
	{ 0, "trace", "FILE", CLI_OPT_HISTORY, "write the last change's timeline to FILE.json or FILE.svg", set_trace },
	{ 0, "id", "N", CLI_OPT_HISTORY, "with --trace: only if that change is number N", set_id },
	{ 0, "manifest", "FILE", CLI_OPT_SIGNED,
	  "the patch's manifest, FILE.minisig its signature (default: PATCH.manifest, if it is there)", set_manifest },
	{ 0, "unsigned", NULL, CLI_OPT_SIGNED, "send no manifest", set_unsigned },
	{ 0, "build-id", "HEX", CLI_OPT_MANIFEST | CLI_OPT_RULE, "a kernel it is for (default: any); manifest: again for the next; "
	  "install: or a pattern ('3f2a*')", set_build_id },
	{ 0, "vm", "PATTERN", CLI_OPT_MANIFEST, "VMs it is for (default: any); again for the next", set_vm },
	{ 0, "expires", "TIME", CLI_OPT_MANIFEST, "not to be applied from then on: 2027-01-31 or 2027-01-31T12:00:00Z", set_expires },
	{ 0, "serial", "N", CLI_OPT_MANIFEST | CLI_OPT_SERIAL, "number of the manifest: only newer ones are taken afterwards "
	  "(default: seconds since 1970; revoke: the highest used)", set_serial },
	{ 0, "connect", "URI", CLI_OPT_SETUP, "libvirt's URI (qemu:///system)", set_connect },
	{ 0, "monitor", "PATH", CLI_OPT_SETUP, "also a monitor of vmpoke's own, a socket whose name begins with 'vmpoke'", set_monitor },
	{ 0, "apply", NULL, CLI_OPT_SETUP, "write it into the domain, for its next start", set_apply },
	{ 0, "priority", "N", CLI_OPT_RULE, "the higher goes in first (-1000 to 1000, default 0)", set_priority },
	{ 0, "why", NULL, CLI_OPT_STATUS, "what speaks for what is said of installed patches", set_why },
	{ 0, "adopt", NULL, CLI_OPT_ADD, "patches come with this guest: install rules wait for 'vmpoke adopt', a minute at most", set_adopt },
	{ 0, "for", "WHAT", CLI_OPT_WAIT, "applied:PATCH, running, kernel or settled (default)", set_wait_for },
	{ 0, "limit", "N", CLI_OPT_HISTORY, "show at most the last N entries (1 to 1000, default 100)", set_limit },
};

const struct cli_option *cli_options(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(options);
	return options;
}

struct parser {
	int argc, next; /* argv[next] is the next word */
	char **argv;
	struct cli_options *o;
};

/* shown: the option as the user wrote it. inline_value: from "--name=value" or "-cvalue". */
static int option_take(struct parser *p, size_t row, const char *shown, const char *inline_value, struct err *e)
{
	const struct cli_option *opt = &options[row];
	const char *value = inline_value;

	if (!opt->arg && inline_value)
		return err_set(e, ERR_USAGE, EINVAL, "", "option '%s' takes no argument", shown);
	if (opt->arg && !value) {
		if (p->next >= p->argc)
			return err_set(e, ERR_USAGE, EINVAL, "", "option '%s' needs an argument: %s", shown, opt->arg);
		value = p->argv[p->next++];
	}
	if (opt->set(p->o, value ? value : "") < 0)
		return err_set(e, ERR_USAGE, EINVAL, "", "'%s' is no value for option '%s': %s", value, shown, opt->help);
	p->o->seen |= UINT64_C(1) << row;
	return 0;
}

static int option_unknown(const char *shown, struct err *e)
{
	struct suggest s = suggest_begin(shown);

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		suggest_consider(&s, options[i].name);
	if (s.best)
		return err_set(e, ERR_USAGE, EINVAL, "", "unknown option '--%s'; did you mean '--%s'?", shown, s.best);
	return err_set(e, ERR_USAGE, EINVAL, "", "unknown option '--%s'; see 'vmpoke help'", shown);
}

static int parse_long(struct parser *p, const char *word, struct err *e)
{
	const char *equals = strchr(word, '=');
	_cleanup_free_ char *name = equals ? strndup(word, (size_t)(equals - word)) : strdup(word);
	char shown[64];

	if (!name)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (strcmp(options[i].name, name) != 0)
			continue;
		snprintf(shown, sizeof(shown), "--%s", name);
		return option_take(p, i, shown, equals ? equals + 1 : NULL, e);
	}
	return option_unknown(name, e);
}

static int letter_find(char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].letter == letter)
			return (int)i;
	return -ENOENT;
}

/* "-qv", "-c PATH", "-cPATH". */
static int parse_letters(struct parser *p, const char *letters, struct err *e)
{
	for (; *letters; letters++) {
		char shown[] = { '-', *letters, '\0' };
		int row = letter_find(*letters);

		if (row < 0)
			return err_set(e, ERR_USAGE, EINVAL, "", "unknown option '%s'; see 'vmpoke help'", shown);
		bool rest_is_value = options[row].arg && letters[1];
		int r = option_take(p, (size_t)row, shown, rest_is_value ? letters + 1 : NULL, e);
		if (r < 0 || rest_is_value)
			return r;
	}
	return 0;
}

int cli_options_parse(int argc, char **argv, struct cli_options *o, const char **args, int *ret_n_args,
		      struct err *e)
{
	struct parser p = { .argc = argc, .next = 1, .argv = argv, .o = o };
	bool only_args = false;
	int n = 0, r;

	while (p.next < p.argc) {
		const char *word = p.argv[p.next++];

		if (only_args || word[0] != '-' || word[1] == '\0') {
			args[n++] = word;
			continue;
		}
		if (strcmp(word, "--") == 0) {
			only_args = true;
			continue;
		}
		r = word[1] == '-' ? parse_long(&p, word + 2, e) : parse_letters(&p, word + 1, e);
		if (r < 0)
			return r;
	}
	*ret_n_args = n;
	return 0;
}

int cli_options_check(const struct cli_options *o, const char *verb, unsigned groups, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if ((o->seen >> i & 1) && options[i].group && !(options[i].group & groups))
			return err_set(e, ERR_USAGE, EINVAL, "", "'%s' has no option '--%s'; see 'vmpoke help %s'",
				       verb, options[i].name, verb);
	return 0;
}
