// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of verbs: parser, help and "did you mean" all read it. Nothing else knows the list. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/suggest.h"
#include "protocol/util.h"

static const struct cli_verb verbs[] = {
	{ "list", NULL, "", 0, 0, CLI_OPT_WATCH, "the registered VMs (what 'vmpoke' alone does)", cmd_list },
	{ "add", NULL, "NAME --qmp PATH", 1, 1, CLI_OPT_ADD, "register a VM by its QMP socket", cmd_add },
	{ "run", NULL, "NAME --kernel FILE", 1, 1, CLI_OPT_RUN, "start a machine: a VM of vmpoke's own", cmd_run },
	{ "destroy", NULL, "VM", 1, 1, 0, "end such a machine at once; it stays registered", cmd_destroy },
	{ "remove", NULL, "VM", 1, 1, CLI_OPT_REMOVE, "forget a VM", cmd_remove },
	{ "info", NULL, "VM", 1, 1, 0, "what is known of a VM", cmd_info },
	{ "probe", NULL, "VM", 1, 1, CLI_OPT_JOB | CLI_OPT_TARGETS, "find the guest's kernel and what can be done with it", cmd_probe },
	{ "agent", NULL, "VM", 1, 1, CLI_OPT_AGENT, "the agent in the guest, as it describes itself; or where it is from now on",
	  cmd_agent },
	{ "symbols", NULL, "VM [SYMBOL]", 1, 2, 0, "the guest kernel's symbols, as in /proc/kallsyms", cmd_symbols },
	{ "sites", NULL, "VM [SYMBOL]", 1, 2, CLI_OPT_SITES,
	  "the places in its text that the guest itself rewrites: all, of a function, or of a key", cmd_sites },
	{ "count", NULL, "VM PLACE", 2, 2, CLI_OPT_JOB | CLI_OPT_COUNT, "how often is an instruction of the kernel executed?",
	  cmd_count },
	{ "check", NULL, "VM PATCH", 2, 2, CLI_OPT_JOB | CLI_OPT_TARGETS | CLI_OPT_MODE | CLI_OPT_VMLINUX | CLI_OPT_SIGNED, "would this patch apply? changes nothing", cmd_check },
	{ "apply", "load", "VM PATCH", 2, 2, CLI_OPT_JOB | CLI_OPT_TARGETS | CLI_OPT_DRY_RUN | CLI_OPT_MODE | CLI_OPT_VMLINUX | CLI_OPT_SIGNED,
	  "apply a patch", cmd_apply },
	{ "revert", "unload", "VM PATCH", 2, 2, CLI_OPT_JOB | CLI_OPT_TARGETS | CLI_OPT_MODE, "take a patch back out", cmd_revert },
	{ "replace", NULL, "VM OLD NEW", 3, 3, CLI_OPT_JOB | CLI_OPT_MODE | CLI_OPT_SIGNED, "one patch out, another in; the old one comes back when that fails",
	  cmd_replace },
	{ "export", NULL, "VM", 1, 1, 0, "the patches that are in, as records for the host the guest moves to", cmd_export },
	{ "adopt", NULL, "VM FILE", 2, 2, 0, "take over patches that came with the guest; writes nothing to it", cmd_adopt },
	{ "install", NULL, "PATTERN PATCH", 2, 2, CLI_OPT_RULE | CLI_OPT_MODE | CLI_OPT_SIGNED,
	  "have a patch applied to these VMs whenever they are up, also after a boot", cmd_install },
	{ "uninstall", NULL, "PATTERN PATCH | RULE", 1, 2, 0, "forget such a rule; what is applied stays", cmd_uninstall },
	{ "rules", NULL, "", 0, 0, 0, "the installed patches, and what became of each", cmd_rules },
	{ "wait", NULL, "VM", 1, 1, CLI_OPT_WAIT, "wait until a VM runs, its kernel is up, or its patches are in", cmd_wait },
	{ "status", NULL, "[VM [PATCH]]", 0, 2, CLI_OPT_TARGETS | CLI_OPT_STATUS, "applied patches, their sites and bytes", cmd_status },
	{ "verify", NULL, "VM", 1, 1, CLI_OPT_JOB | CLI_OPT_TARGETS, "compare the guest's text with the journal", cmd_verify },
	{ "history", NULL, "VM", 1, 1, CLI_OPT_HISTORY, "what was done to a VM, oldest first; or one change's timeline",
	  cmd_history },
	{ "events", NULL, "", 0, 0, 0, "print events as they happen, until interrupted", cmd_events },
	{ "stats", NULL, "[VM]", 0, 1, 0, "what was done since vmpoked was started, and what it cost", cmd_stats },
	{ "keys", NULL, "", 0, 0, 0, "the keys whose signatures of patches count", cmd_keys },
	{ "manifest", NULL, "PATCH", 1, 1, CLI_OPT_MANIFEST, "print the manifest of a patch file, to be signed with 'minisign -S'",
	  cmd_manifest },
	{ "revoke", NULL, "PATCH KEY", 2, 2, CLI_OPT_SERIAL, "take no manifests of a patch by a key any more, up to a serial", cmd_revoke },
	{ "setup-domain", NULL, "DOMAIN", 1, 1, CLI_OPT_SETUP, "what to add to a libvirt domain for its agent; writes it with --apply",
	  cmd_setup_domain },
	{ "qmp", NULL, "JSON", 1, 1, 0, "send one QMP command ('-' reads it from standard input)", cmd_qmp },
	{ "version", NULL, "", 0, 0, 0, "versions of this program and of vmpoked", cmd_version },
	{ "help", NULL, "[VERB]", 0, 1, 0, "this text, or the help of one verb", cmd_help },
};

const struct cli_verb *cli_verbs(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(verbs);
	return verbs;
}

const struct cli_verb *cli_verb_find(const char *name, struct err *e)
{
	struct suggest s = suggest_begin(name);

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		const struct cli_verb *v = &verbs[i];

		if (strcmp(name, v->name) == 0 || (v->alias && strcmp(name, v->alias) == 0))
			return v;
		suggest_consider(&s, v->name);
		suggest_consider(&s, v->alias);
	}
	if (s.best)
		err_set(e, ERR_USAGE, EINVAL, "", "unknown verb '%s'; did you mean '%s'?", name, s.best);
	else
		err_set(e, ERR_USAGE, EINVAL, "", "unknown verb '%s'; see 'vmpoke help'", name);
	return NULL;
}
