// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * __complete: what could stand where the cursor is, for the shells' completion. Made from
 * the tables of verbs and options; names of VMs and patches are asked of vmpoked. Must
 * never print an error, and never keep a shell waiting: without vmpoked there are no names.
 */
#include "cli/complete.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/targets.h"
#include "protocol/util.h"

#define ASK_MS 2000 /* for all that is asked of vmpoked: a person waits at the prompt, and hosts have much to do */

const struct cli_words cli_option_words[] = {
	{ "color", "auto always never" },
	{ "mode", "flipped staged held stopped" },
	{ "traps", "int3 hw" },
	{ "agent-use", "none facts full" },
	{ "kind", "static_key static_call fentry fixup" },
	{ NULL, NULL },
};

/* What the words before the cursor say. */
struct line {
	const char *typed;		/* so far, of the word at the cursor */
	const struct cli_option *value; /* of which option it is the value; NULL: of none */
	const struct cli_verb *verb;	/* NULL: not yet there */
	const char *args[3];		/* positional ones after the verb */
	int n_args;
	bool only_args;			/* after "--" */
	bool unknown;			/* a verb that there is not */
};

static void candidate(struct cli *c, const struct line *l, const char *word, const char *help)
{
	if (strncmp(word, l->typed, strlen(l->typed)) == 0)
		fprintf(c->out.stream, "%s%s%s\n", word, *help ? "\t" : "", help);
}

/* The shell then offers files. */
static void files(struct cli *c)
{
	fputs(":files\n", c->out.stream);
}

static const struct cli_option *option_find(const char *word)
{
	size_t n, len = strcspn(word, "=");
	const struct cli_option *o = cli_options(&n);

	for (; n > 0; n--, o++) {
		bool is_long = strncmp(word, "--", 2) == 0 && strlen(o->name) == len - 2 && memcmp(o->name, word + 2, len - 2) == 0;

		if (is_long || (o->letter && word[0] == '-' && word[1] == o->letter && !word[2]))
			return o;
	}
	return NULL;
}

static const struct cli_verb *verb_find(const char *word)
{
	struct err ignored;

	return cli_verb_find(word, &ignored);
}

static void option_take(struct cli *c, const struct cli_option *o, const char *value)
{
	/* Of all options only these matter here: whom to ask, and that there is no VM to come. */
	if (strcmp(o->name, "socket") == 0)
		c->options.socket = value;
	if (strcmp(o->name, "all") == 0)
		c->options.all = 1;
}

/* Bash splits "--mode=held" into three words. */
static bool is_equals(const char *word)
{
	return strcmp(word, "=") == 0;
}

/* A word left of the cursor. */
static void word_take(struct cli *c, struct line *l, const char *word)
{
	const struct cli_option *o = !l->only_args && word[0] == '-' ? option_find(word) : NULL;
	const char *equals = strchr(word, '=');

	if (l->value && is_equals(word))
		return;
	if (l->value) {
		option_take(c, l->value, word);
		l->value = NULL;
	} else if (!l->only_args && strcmp(word, "--") == 0) {
		l->only_args = true;
	} else if (o) {
		l->value = o->arg && !equals ? o : NULL;
		option_take(c, o, equals ? equals + 1 : NULL);
	} else if (l->only_args || word[0] != '-') {
		if (!l->verb && !l->unknown)
			l->unknown = !(l->verb = verb_find(word));
		else if (l->verb && l->n_args < (int)ARRAY_SIZE(l->args))
			l->args[l->n_args++] = word;
	}
}

static void complete_verbs(struct cli *c, const struct line *l)
{
	size_t n;
	const struct cli_verb *v = cli_verbs(&n);

	for (; n > 0; n--, v++) {
		candidate(c, l, v->name, v->help);
		if (v->alias)
			candidate(c, l, v->alias, v->help);
	}
}

static void complete_options(struct cli *c, const struct line *l)
{
	size_t n;
	const struct cli_option *o = cli_options(&n);

	for (; n > 0; n--, o++)
		if (!o->group || (l->verb && l->verb->options & o->group))
			candidate(c, l, output_format(&c->out, "--%s", o->name), o->help);
}

static void complete_words(struct cli *c, const struct line *l, const char *words)
{
	for (const char *w = words; *w; w += strcspn(w, " "), w += *w == ' ')
		candidate(c, l, output_format(&c->out, "%.*s", (int)strcspn(w, " "), w), "");
}

static void complete_value(struct cli *c, const struct line *l)
{
	static const char *const paths[] = { "FILE", "PATH", "SOCKET", "FILE[,ro]" };

	for (const struct cli_words *w = cli_option_words; w->option; w++)
		if (strcmp(w->option, l->value->name) == 0)
			complete_words(c, l, w->words);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (l->value->arg && strcmp(l->value->arg, paths[i]) == 0)
			files(c);
}

static json_t *ask(struct cli *c, const char *command, json_t *args, json_type type)
{
	json_t *answer = NULL;
	struct err ignored;

	cli_call(c, command, args, type, &answer, &ignored);
	return answer;
}

static void complete_vms(struct cli *c, const struct line *l)
{
	json_auto_t *vms = ask(c, "query-vms", json_object(), JSON_ARRAY);
	json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm)
		candidate(c, l, output_safe(&c->out, target_name(vm)), output_field(&c->out, vm, "state"));
}

static bool named_before(json_t *list, size_t i, const char *key)
{
	const char *name = json_string_value(json_object_get(json_array_get(list, i), key));

	for (size_t k = 0; name && k < i; k++) {
		const char *other = json_string_value(json_object_get(json_array_get(list, k), key));
		if (other && strcmp(other, name) == 0)
			return true;
	}
	return false;
}

/* Each value of key in a list of objects once. */
static void complete_members(struct cli *c, const struct line *l, json_t *list, const char *key)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!named_before(list, i, key))
			candidate(c, l, output_field(&c->out, json_array_get(list, i), key), "");
}

/* Those that are in; what can be put in again as well, and files. */
static void complete_patches(struct cli *c, const struct line *l, bool puts_in)
{
	json_auto_t *answer = NULL;

	if (puts_in || !cli_verb_takes_vm(l->verb))
		files(c);
	if (l->n_args == 0 || !cli_verb_takes_vm(l->verb))
		return;
	answer = ask(c, puts_in ? "query-history" : "query-patches", json_pack("{s:s}", "vm", l->args[0]), JSON_OBJECT);
	if (puts_in)
		complete_members(c, l, json_object_get(answer, "entries"), "patch");
	else
		complete_members(c, l, json_object_get(answer, "patches"), "name");
}

/* The i-th word of "VM [PATCH]", brackets apart; its length, 0 when there is none. */
static size_t arg_word(const char *args, int i, const char **ret)
{
	const char *p = args + strspn(args, "[ ");

	for (; i > 0 && *p; i--) {
		p += strcspn(p, " ");
		p += strspn(p, "[ ");
	}
	*ret = p;
	return strcspn(p, " ]");
}

static bool is_word(const char *word, size_t len, const char *what)
{
	return strlen(what) == len && memcmp(word, what, len) == 0;
}

static void complete_arg(struct cli *c, const struct line *l)
{
	const char *word;
	size_t len = arg_word(l->verb->args, l->n_args + c->options.all, &word);

	if (is_word(word, len, "VM"))
		complete_vms(c, l);
	else if (is_word(word, len, "PATCH") || is_word(word, len, "NEW"))
		complete_patches(c, l, is_word(word, len, "NEW") || l->verb->options & CLI_OPT_VMLINUX);
	else if (is_word(word, len, "OLD"))
		complete_patches(c, l, false);
	else if (is_word(word, len, "FILE"))
		files(c);
	else if (is_word(word, len, "VERB"))
		complete_verbs(c, l);
}

static void complete(struct cli *c, struct line *l)
{
	if (l->value && is_equals(l->typed))
		l->typed = "";
	if (l->value)
		complete_value(c, l);
	else if (l->typed[0] == '-' && !l->only_args)
		complete_options(c, l);
	else if (!l->verb && !l->unknown)
		complete_verbs(c, l);
	else if (l->verb)
		complete_arg(c, l);
}

int cmd_complete(struct cli *c, int n, char **words)
{
	static const struct cli_verb self = { .name = "__complete", .args = "" };
	struct line l = { .typed = n > 0 ? words[n - 1] : "" };
	const char *equals;

	c->verb = &self;
	c->options.has_timeout = true;
	c->options.timeout_ms = ASK_MS;
	for (int i = 0; i + 1 < n; i++)
		word_take(c, &l, words[i]);
	/* "--mode=he" as one word, as zsh has it: the value alone is completed. */
	equals = l.value || l.only_args ? NULL : strchr(l.typed, '=');
	if (equals && strncmp(l.typed, "--", 2) == 0 && (l.value = option_find(l.typed)) && l.value->arg)
		l.typed = equals + 1;
	cli_socket_default(c);
	complete(c, &l);
	return 0;
}
