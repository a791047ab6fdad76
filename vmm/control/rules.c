// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See rules.h. Of the files only the heads are kept in memory; a text is read when it is needed. An operator may
 * read, copy and delete the files by hand, so what is read back is checked like any other input. Must never
 * leave a half-written file under a rule's name.
 */
#include "vmm/control/rules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/control/durable.h"

#define RULE_FILE_MAX (2u << 20) /* bytes; text and object in hex, escaped, have about 1 MiB */
#define RULE_SUFFIX ".json"

static bool pattern_valid(const char *pattern)
{
	size_t len = strlen(pattern);

	return len >= 1 && len <= RULE_PATTERN_MAX &&
	       strspn(pattern, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-*?[]!^") == len;
}

int rule_check(const struct rule *r, struct err *e)
{
	if (!pattern_valid(r->pattern))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'pattern' must be the name of a VM or a pattern of names: letters, digits, "
			       "'.', '_', '-', and '*', '?', '[...]' (at most %d)", RULE_PATTERN_MAX);
	if (strspn(r->build_id, "0123456789abcdef*?[]!-") != strlen(r->build_id))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'build-id' must be lower-case hex or a pattern of it, not '%s'", r->build_id);
	if (r->priority < -RULE_PRIORITY_MAX || r->priority > RULE_PRIORITY_MAX)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'priority' must be between -%d and %d", RULE_PRIORITY_MAX, RULE_PRIORITY_MAX);
	return 0;
}

bool rule_matches(const struct rule *r, const char *vm)
{
	return fnmatch(r->pattern, vm, 0) == 0;
}

bool rule_fits_kernel(const struct rule *r, const char *build_id)
{
	return !r->build_id[0] || fnmatch(r->build_id, build_id, 0) == 0;
}

struct rule *rules_find(const struct rules *rules, unsigned number)
{
	struct rule *r;

	TAILQ_FOREACH(r, &rules->list, link)
		if (r->number == number)
			return r;
	return NULL;
}

struct rule *rules_find_patch(const struct rules *rules, const char *pattern, const char *patch)
{
	struct rule *r;

	TAILQ_FOREACH(r, &rules->list, link)
		if (strcmp(r->pattern, pattern) == 0 && strcmp(r->patch, patch) == 0)
			return r;
	return NULL;
}

json_t *rule_json(const struct rule *r)
{
	json_t *o = json_pack("{s:I, s:s, s:s, s:i, s:I}", "rule", (json_int_t)r->number, "pattern", r->pattern, "patch", r->patch,
			      "priority", r->priority, "added_at", r->added_at);

	if (r->has_author)
		json_object_set_new(o, "added_by", json_integer((json_int_t)r->author));
	if (r->build_id[0])
		json_object_set_new(o, "build_id", json_string(r->build_id));
	if (r->description[0])
		json_object_set_new(o, "description", json_string(r->description));
	return o;
}

/* --- files --- */

static void file_name(unsigned number, char *buf, size_t cap)
{
	snprintf(buf, cap, "%u" RULE_SUFFIX, number);
}

static int rule_save(const struct rules *rules, const struct rule *r, json_t *apply, struct err *e)
{
	json_auto_t *o = rule_json(r);
	char file[32];

	if (!o || json_object_set(o, "apply", apply) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	_cleanup_free_ char *text = json_dumps(o, JSON_INDENT(2));
	if (!text || strlen(text) >= RULE_FILE_MAX)
		return err_set(e, ERR_USAGE, EFBIG, NULL, "the rule is larger than %u bytes", RULE_FILE_MAX);
	file_name(r->number, file, sizeof(file));
	int error = durable_write(rules->dirfd, ".rule.tmp", file, text);
	return error < 0 ? err_set(e, ERR_FAILED, -error, NULL, "cannot write rules/%s: %s", file, strerror(-error)) : 0;
}

/* O_NONBLOCK: a FIFO somebody put there must not hang us. */
static int file_read(int dirfd, const char *file, json_t **ret, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	json_error_t je;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > RULE_FILE_MAX)
		return err_set(e, ERR_FAILED, EINVAL, NULL, "not a regular file of at most %u bytes", RULE_FILE_MAX);
	json_t *o = json_loadfd(fd, JSON_REJECT_DUPLICATES, &je);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "line %d: %s", je.line, o ? "not an object" : je.text);
	}
	*ret = o;
	return 0;
}

int rule_arguments(const struct rules *rules, const struct rule *r, json_t **ret, struct err *e)
{
	json_auto_t *o = NULL;
	char file[32];

	file_name(r->number, file, sizeof(file));
	int error = file_read(rules->dirfd, file, &o, e);
	if (error < 0) {
		err_prefix(e, "rules/%s", file);
		return error;
	}
	json_t *apply = json_object_get(o, "apply");
	if (!json_is_object(apply))
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "rules/%s does not say what to apply", file);
	*ret = json_incref(apply);
	return 0;
}

static bool text_take(json_t *o, const char *key, char *out, size_t cap)
{
	json_t *value = json_object_get(o, key);

	if (value && (!json_is_string(value) || json_string_length(value) >= cap))
		return false;
	snprintf(out, cap, "%s", value ? json_string_value(value) : "");
	return true;
}

/* A file that names nobody is older than this; one that names no user is none of ours. */
static bool author_take(json_t *o, struct rule *r)
{
	json_t *value = json_object_get(o, "added_by");
	json_int_t uid = json_integer_value(value);

	r->has_author = value;
	r->author = (uid_t)uid;
	return !value || (json_is_integer(value) && uid >= 0 && uid < UINT32_MAX);
}

static int rule_parse(json_t *o, unsigned number, struct rule *ret, struct err *e)
{
	json_int_t named = json_integer_value(json_object_get(o, "rule"));
	struct rule r = { .number = number, .added_at = json_integer_value(json_object_get(o, "added_at")),
			  .priority = (int)json_integer_value(json_object_get(o, "priority")) };

	if (!text_take(o, "pattern", r.pattern, sizeof(r.pattern)) || !text_take(o, "patch", r.patch, sizeof(r.patch)) ||
	    !text_take(o, "build_id", r.build_id, sizeof(r.build_id)) ||
	    !text_take(o, "description", r.description, sizeof(r.description)) || !patch_name_valid(r.patch) || !author_take(o, &r) ||
	    named != (json_int_t)number || !json_is_string(json_object_get(json_object_get(o, "apply"), "text")))
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "not an install rule");
	int error = rule_check(&r, e);
	if (error == 0)
		*ret = r;
	return error;
}

/* --- the list --- */

static void rule_insert(struct rules *rules, struct rule *r)
{
	struct rule *at;

	TAILQ_FOREACH(at, &rules->list, link)
		if (at->priority < r->priority || (at->priority == r->priority && at->number > r->number))
			break;
	if (at)
		TAILQ_INSERT_BEFORE(at, r, link);
	else
		TAILQ_INSERT_TAIL(&rules->list, r, link);
	rules->n++;
	if (r->number >= rules->next)
		rules->next = r->number + 1;
}

static struct rule *rule_dup(const struct rule *r)
{
	struct rule *copy = malloc(sizeof(*copy));

	if (copy)
		*copy = *r;
	return copy;
}

/* "12.json" and nothing else. */
static unsigned number_of(const char *file)
{
	size_t digits = strspn(file, "0123456789");

	if (digits < 1 || digits > 9 || file[0] == '0' || strcmp(file + digits, RULE_SUFFIX) != 0)
		return 0;
	return (unsigned)strtoul(file, NULL, 10);
}

static int rule_load(struct rules *rules, const char *file, struct err *e)
{
	json_auto_t *o = NULL;
	struct rule r = { 0 };
	int error = rules->n < RULES_MAX ? file_read(rules->dirfd, file, &o, e) :
					   err_set(e, ERR_FAILED, E2BIG, NULL, "more than %d rules", RULES_MAX);

	if (error == 0)
		error = rule_parse(o, number_of(file), &r, e);
	if (error < 0)
		return error;
	struct rule *copy = rule_dup(&r);
	if (!copy)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	rule_insert(rules, copy);
	return 0;
}

static int rules_load(struct rules *rules, struct rules_report *report, struct err *e)
{
	int fd = openat(rules->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (!dir) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		return err_set(e, ERR_FAILED, error, NULL, "cannot read the folder of rules: %s", strerror(error));
	}
	while ((de = readdir(dir))) {
		struct err why = { 0 };

		if (number_of(de->d_name) && rule_load(rules, de->d_name, &why) < 0)
			report->broken(report, de->d_name, &why);
	}
	closedir(dir);
	return 0;
}

int rules_open(struct rules *rules, const char *state_dir, struct rules_report *report, struct err *e)
{
	*rules = (struct rules){ .dirfd = -1, .next = 1 };
	TAILQ_INIT(&rules->list);
	rules->dirfd = durable_folder(state_dir, "rules", e);
	if (rules->dirfd < 0)
		return rules->dirfd;
	return rules_load(rules, report, e);
}

void rules_done(struct rules *rules)
{
	struct rule *r;

	while (rules->list.tqh_last && (r = TAILQ_FIRST(&rules->list))) {
		TAILQ_REMOVE(&rules->list, r, link);
		free(r);
	}
	if (rules->list.tqh_last && rules->dirfd >= 0)
		close(rules->dirfd);
	*rules = (struct rules){ .dirfd = -1 };
}

/* The patch's own name and description. Bounded input, and a parser that is fuzzed. */
static int read_patch(json_t *apply, struct rule *r, struct err *e)
{
	_cleanup_(patchfile_free) struct patchfile *patch = NULL;
	json_t *text = json_object_get(apply, "text"), *object = json_object_get(apply, "object");
	const char *name = json_string_value(json_object_get(apply, "filename"));
	int error = patchfile_parse(json_string_value(text), json_string_length(text), name ? name : "text", &patch, e);

	if (error < 0)
		return error;
	if (!patch->object[0] != !object)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'object' goes with sites of kind function, and only with those");
	strcpy(r->patch, patch->name);
	strcpy(r->description, patch->description);
	return 0;
}

static bool same_rule(const struct rules *rules, const struct rule *a, const struct rule *b, json_t *apply)
{
	json_auto_t *stored = NULL;
	struct err ignored;

	return a->priority == b->priority && a->has_author == b->has_author && a->author == b->author && strcmp(a->build_id, b->build_id) == 0 &&
	       rule_arguments(rules, a, &stored, &ignored) == 0 && json_equal(stored, apply);
}

static int rule_put(struct rules *rules, struct rule *old, struct rule *r, json_t *apply, struct rule **ret, struct err *e)
{
	int error = rule_save(rules, r, apply, e);

	if (error < 0) {
		free(r);
		return error;
	}
	if (old) {
		TAILQ_REMOVE(&rules->list, old, link);
		rules->n--;
		free(old);
	}
	rule_insert(rules, r);
	*ret = r;
	return 1;
}

int rules_add(struct rules *rules, const struct rule *want, json_t *apply, struct rule **ret, struct err *e)
{
	struct rule r = *want;
	int error = rule_check(&r, e);

	if (error == 0)
		error = read_patch(apply, &r, e);
	if (error < 0)
		return error;
	struct rule *old = rules_find_patch(rules, r.pattern, r.patch);
	if (old && same_rule(rules, old, &r, apply)) {
		*ret = old;
		return 0;
	}
	if (!old && rules->n >= RULES_MAX)
		return err_set(e, ERR_REFUSED, ENOSPC, "limit", "%d patches are installed already", RULES_MAX);
	r.number = old ? old->number : rules->next;
	struct rule *copy = rule_dup(&r);
	return copy ? rule_put(rules, old, copy, apply, ret, e) : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
}

int rules_remove(struct rules *rules, struct rule *r, struct err *e)
{
	char file[32];

	file_name(r->number, file, sizeof(file));
	int error = durable_remove(rules->dirfd, file);
	if (error < 0)
		return err_set(e, ERR_FAILED, -error, NULL, "cannot remove rules/%s: %s", file, strerror(-error));
	TAILQ_REMOVE(&rules->list, r, link);
	rules->n--;
	free(r);
	return 0;
}
