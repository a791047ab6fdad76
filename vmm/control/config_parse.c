// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One configuration file, read with inih. What inih would pass over in silence (long
 * lines, empty sections, a section begun twice) is an error here, because a rule that
 * is half read allows something else than what was written.
 */
#include "vmm/control/config_parse.h"

#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>

#include "protocol/manifest.h"
#include "vmm/control/log.h"

#define LINE_MAX_LEN 190   /* inih cuts lines at 200 bytes, without a word */
#define SECTION_MAX_LEN 45 /* and the name of a section at 50 */

struct parser {
	struct config *config;
	struct err *e;
	const char *file, *at; /* at: the rest of the text */
	int line;	       /* the last one inih was given */
	int section_line;      /* where the section that it is in begins */
	int taken_line;	       /* the section_line the last key was taken for */
	struct policy_rule *rule; /* of an [allow] section */
	bool failed;
};

static int fail_at(struct parser *p, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int fail_at(struct parser *p, int line, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (p->failed) /* inih goes on; the first mistake is the one to tell */
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->failed = true;
	return err_set(p->e, ERR_USAGE, EINVAL, "config", "%.200s:%d: %s", p->file, line, text);
}

/* --- values --- */

static int set_path(struct parser *p, char *dst, const char *name, const char *value)
{
	if (value[0] != '/' || strlen(value) >= PATH_MAX)
		return fail_at(p, p->line, "'%s' must be an absolute path", name);
	strcpy(dst, value);
	return 0;
}

int config_seconds_parse(const char *text, uint64_t *ret_us)
{
	char *end;

	errno = 0;
	unsigned long s = strtoul(text, &end, 10);
	if (errno || *end || end == text || text[0] == '-' || s < 1 || s > 86400)
		return -EINVAL;
	*ret_us = s * 1000000ull;
	return 0;
}

static int set_mode(struct parser *p, const char *value)
{
	if (strcmp(value, "0666") != 0 && strcmp(value, "0660") != 0 && strcmp(value, "0600") != 0)
		return fail_at(p, p->line, "'read-only-socket-mode' must be 0666, 0660 or 0600");
	p->config->read_only_mode = (mode_t)strtoul(value, NULL, 8);
	return 0;
}

static int set_vmpoked(struct parser *p, const char *name, const char *value)
{
	struct config *c = p->config;

	if (strcmp(name, "state-dir") == 0)
		return set_path(p, c->state_dir, name, value);
	if (strcmp(name, "runtime-dir") == 0)
		return set_path(p, c->runtime_dir, name, value);
	if (strcmp(name, "worker") == 0)
		return set_path(p, c->worker, name, value);
	if (strcmp(name, "keys-dir") == 0)
		return set_path(p, c->keys_dir, name, value);
	if (strcmp(name, "read-only-socket-mode") == 0)
		return set_mode(p, value);
	if (strcmp(name, "client-timeout") == 0)
		return config_seconds_parse(value, &c->client_stall_us) == 0 ? 0 :
			fail_at(p, p->line, "'client-timeout' must be 1 to 86400 seconds");
	if (strcmp(name, "log-level") == 0) {
		c->log_level = log_level_parse(value);
		return c->log_level >= 0 ? 0 : fail_at(p, p->line, "unknown log level '%.32s'", value);
	}
	return fail_at(p, p->line, "unknown key '%.32s' in [vmpoked]", name);
}

static int parse_unsigned(struct parser *p, const char *value, bool *ret)
{
	*ret = strcmp(value, "allow") == 0;
	return *ret || strcmp(value, "refuse") == 0 ? 0 : fail_at(p, p->line, "'unsigned' must be allow or refuse");
}

static int set_policy(struct parser *p, const char *name, const char *value)
{
	if (strcmp(name, "unsigned") != 0)
		return fail_at(p, p->line, "unknown key '%.32s' in [policy]", name);
	p->config->unsigned_set = true;
	return parse_unsigned(p, value, &p->config->policy.unsigned_ok);
}

/* --- lists of an [allow] section --- */

static bool id_parse(const char *word, unsigned *ret)
{
	char *end;

	errno = 0;
	unsigned long id = strtoul(word, &end, 10);
	*ret = (unsigned)id;
	return !errno && !*end && word[0] >= '0' && word[0] <= '9' && id < UINT32_MAX;
}

static int add_user(struct parser *p, const char *word)
{
	struct policy_rule *rule = p->rule;
	const struct passwd *pw;
	unsigned id;

	if (strcmp(word, "*") == 0) {
		rule->everybody = true;
		return 0;
	}
	if (rule->n_uids == POLICY_LIST_MAX)
		return fail_at(p, p->line, "more than %d users", POLICY_LIST_MAX);
	if (!id_parse(word, &id)) {
		pw = getpwnam(word);
		if (!pw)
			return fail_at(p, p->line, "no user '%.32s' on this machine", word);
		id = pw->pw_uid;
	}
	rule->uids[rule->n_uids++] = id;
	return 0;
}

static int add_group(struct parser *p, const char *word)
{
	struct policy_rule *rule = p->rule;
	const struct group *gr;
	unsigned id;

	if (rule->n_gids == POLICY_LIST_MAX)
		return fail_at(p, p->line, "more than %d groups", POLICY_LIST_MAX);
	if (!id_parse(word, &id)) {
		gr = getgrnam(word);
		if (!gr)
			return fail_at(p, p->line, "no group '%.32s' on this machine", word);
		id = gr->gr_gid;
	}
	rule->gids[rule->n_gids++] = id;
	return 0;
}

/* "session" and "job" are not for rules to give. */
static int add_class(struct parser *p, const char *word)
{
	int class = schema_class_from_name(word);

	if (strcmp(word, "*") == 0) {
		p->rule->classes = ~0u;
		return 0;
	}
	if (class < SCHEMA_CLASS_MONITOR || class > SCHEMA_CLASS_KEYS)
		return fail_at(p, p->line, "unknown class '%.32s'; there are monitor, check, apply, revert, manage, rules, keys and *", word);
	p->rule->classes |= 1u << class;
	return 0;
}

static int add_vm(struct parser *p, const char *word)
{
	struct policy_rule *rule = p->rule;

	if (!manifest_vm_pattern_valid(word))
		return fail_at(p, p->line, "'%.32s' is neither the name of a VM nor a pattern of names", word);
	if (rule->n_vms == POLICY_LIST_MAX)
		return fail_at(p, p->line, "more than %d VMs", POLICY_LIST_MAX);
	strcpy(rule->vms[rule->n_vms++], word); /* the check above bounds the length */
	return 0;
}

static int add_override(struct parser *p, const char *word)
{
	unsigned bits = policy_override_from_name(word);

	if (!bits)
		return fail_at(p, p->line, "unknown override '%.32s'", word);
	p->rule->overrides |= bits;
	return 0;
}

/* Words between blanks and commas. */
static int each_word(struct parser *p, const char *name, const char *value, int (*add)(struct parser *p, const char *word))
{
	_cleanup_free_ char *copy = strdup(value);
	char *save = NULL;
	int n = 0, r = copy ? 0 : -ENOMEM;

	for (char *word = copy ? strtok_r(copy, " \t,", &save) : NULL; word && r == 0; word = strtok_r(NULL, " \t,", &save), n++)
		r = add(p, word);
	return r == 0 && n == 0 ? fail_at(p, p->line, "'%s' is empty", name) : r;
}

static int set_allow(struct parser *p, const char *name, const char *value)
{
	static const struct {
		const char *name;
		int (*add)(struct parser *p, const char *word);
	} lists[] = {
		{ "users", add_user }, { "groups", add_group },	      { "may", add_class },
		{ "vms", add_vm },     { "overrides", add_override },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (strcmp(lists[i].name, name) == 0)
			return each_word(p, name, value, lists[i].add);
	if (strcmp(name, "unsigned") != 0)
		return fail_at(p, p->line, "unknown key '%.32s' in [allow %s]", name, p->rule->name);
	p->rule->unsigned_set = true;
	return parse_unsigned(p, value, &p->rule->unsigned_ok);
}

/* --- sections --- */

static int rule_begin(struct parser *p, const char *name)
{
	struct policy *policy = &p->config->policy;

	if (!patch_name_valid(name))
		return fail_at(p, p->section_line, "an [allow] section needs a name of letters and digits: [allow operators]");
	for (size_t i = 0; i < policy->n_rules; i++)
		if (strcmp(policy->rules[i].name, name) == 0)
			return fail_at(p, p->section_line, "there is an [allow %s] already", name);
	if (policy->n_rules == POLICY_RULES_MAX)
		return fail_at(p, p->section_line, "more than %d [allow] sections", POLICY_RULES_MAX);
	struct policy_rule *grown = reallocarray(policy->rules, policy->n_rules + 1, sizeof(*grown));
	if (!grown)
		return fail_at(p, p->section_line, "out of memory");
	policy->rules = grown;
	p->rule = &grown[policy->n_rules++];
	*p->rule = (struct policy_rule){ 0 };
	strcpy(p->rule->name, name); /* patch_name_valid() bounds the length */
	return 0;
}

/* What a rule must say, and what it need not. */
static int rule_end(struct parser *p)
{
	struct policy_rule *rule = p->rule;

	p->rule = NULL;
	if (!rule || p->failed)
		return 0;
	if (!rule->everybody && !rule->n_uids && !rule->n_gids)
		return fail_at(p, p->taken_line, "[allow %s] names neither users nor groups ('users = *' is everybody)", rule->name);
	if (!rule->classes)
		return fail_at(p, p->taken_line, "[allow %s] does not say what they may ('may = monitor check')", rule->name);
	if (!rule->n_vms)
		strcpy(rule->vms[rule->n_vms++], "*");
	return 0;
}

/* A key is the first one of its section. */
static int section_begin(struct parser *p, const char *section)
{
	int r = rule_end(p);

	p->taken_line = p->section_line;
	if (r < 0 || strcmp(section, "vmpoked") == 0 || strcmp(section, "policy") == 0)
		return r;
	if (strncmp(section, "allow ", 6) == 0)
		return rule_begin(p, section + 6 + strspn(section + 6, " "));
	return section[0] ? fail_at(p, p->section_line, "unknown section [%.50s]; there are [vmpoked], [policy] and [allow NAME]", section) :
			    fail_at(p, p->line, "a key before the first section");
}

static int on_key(void *user, const char *section, const char *name, const char *value)
{
	struct parser *p = user;
	int r = 0;

	if (p->failed)
		return 0;
	if (p->taken_line != p->section_line || p->section_line == 0)
		r = section_begin(p, section);
	if (r == 0 && p->rule)
		r = set_allow(p, name, value);
	else if (r == 0 && strcmp(section, "policy") == 0)
		r = set_policy(p, name, value);
	else if (r == 0)
		r = set_vmpoked(p, name, value);
	return r == 0;
}

/* A section that nothing was taken from: inih would not tell. */
static void section_check(struct parser *p)
{
	if (p->section_line && p->taken_line != p->section_line)
		fail_at(p, p->section_line, "the section is empty");
}

/* inih's fgets(): lines are counted here, and what it would cut is refused. */
static char *next_line(char *buf, int cap, void *stream)
{
	struct parser *p = stream;
	size_t len = strcspn(p->at, "\n");
	const char *word = p->at + strspn(p->at, " \t");

	if (p->failed || !*p->at)
		return NULL;
	p->line++;
	if (len > LINE_MAX_LEN || len + 2 > (size_t)cap) {
		fail_at(p, p->line, "longer than %d bytes; a list may go on in the next line, which then begins with a blank", LINE_MAX_LEN);
		return NULL;
	}
	if (*word == '[') {
		section_check(p);
		p->section_line = p->line;
		if (word[strcspn(word, "]\n")] != ']')
			fail_at(p, p->line, "neither a section, nor KEY = VALUE, nor a comment");
		else if (strcspn(word, "]") > SECTION_MAX_LEN)
			fail_at(p, p->line, "the name of the section is longer than %d bytes", SECTION_MAX_LEN);
	}
	memcpy(buf, p->at, len);
	memcpy(buf + len, "\n", 2);
	p->at += len + (p->at[len] == '\n');
	return buf;
}

int config_parse(struct config *c, const char *text, const char *file, struct err *e)
{
	struct parser p = { .config = c, .e = e, .file = file, .at = text };
	int r = ini_parse_stream(next_line, &p, on_key, &p);

	if (r > 0)
		fail_at(&p, r, "neither a section, nor KEY = VALUE, nor a comment");
	else if (r < 0)
		fail_at(&p, p.line, "out of memory");
	section_check(&p);
	rule_end(&p);
	return p.failed ? -EINVAL : 0;
}
