// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The audit file and the journal; see audit.h. Must never let something be done that is
 * not written down, and never read or shorten the file.
 */
#include "vmm/control/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/util.h"
#include "vmm/control/log.h"

static const char *const result_names[] = {
	[AUDIT_ALLOWED] = "allowed", [AUDIT_REFUSED] = "refused", [AUDIT_DONE] = "done", [AUDIT_FAILED] = "failed",
};

/* For `journalctl MESSAGE_ID=...`; documented in docs/policy.md. */
static const char *const message_ids[] = {
	[AUDIT_ALLOWED] = "2c157a5110f6440bb870771eb614234e",
	[AUDIT_REFUSED] = "54be96e6afbd4f4da109804d8e6ecdba",
	[AUDIT_DONE] = "2059ca73bcfb463eac790cd5bf84c493",
	[AUDIT_FAILED] = "e3d4cb2afd2f4b45aaa976a58eadfe92",
};

static int file_open(const char *path, struct err *e)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	return fd < 0 ? err_set(e, ERR_FAILED, errno, NULL, "cannot open %.300s: %s", path, strerror(errno)) : fd;
}

int audit_open(struct audit *a, const char *state_dir, struct err *e)
{
	*a = (struct audit){ .fd = -1 };
	int n = snprintf(a->path, sizeof(a->path), "%s/audit.jsonl", state_dir);
	if (n < 0 || (size_t)n >= sizeof(a->path))
		return err_set(e, ERR_FAILED, ENAMETOOLONG, NULL, "the path of the state folder is too long");
	int fd = file_open(a->path, e);
	if (fd < 0)
		return fd;
	a->fd = fd;
	return 0;
}

static void file_close(struct audit *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

int audit_reopen(struct audit *a, struct err *e)
{
	int fd = file_open(a->path, e);

	if (fd < 0)
		return fd;
	file_close(a);
	a->fd = fd;
	return 0; /* torn stays: it may be the same file */
}

json_t *audit_by(const struct audit_entry *x)
{
	json_t *o = json_pack("{s:I, s:I}", "uid", (json_int_t)x->uid, "pid", (json_int_t)x->pid);

	if (x->serial) {
		json_object_set_new(o, "key", json_string(x->key));
		json_object_set_new(o, "serial", json_integer((json_int_t)x->serial));
	}
	return o;
}

static void set_text(json_t *o, const char *key, const char *text)
{
	if (text[0])
		json_object_set_new(o, key, json_string(text)); /* what is not UTF-8 is left out */
}

static char *record_format(const struct audit_entry *x, enum audit_result result, const struct err *why)
{
	json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:I}", "time", (json_int_t)time(NULL), "result", result_names[result],
			      "command", x->command, "class", schema_class_name(x->class), "uid", (json_int_t)x->uid, "gid",
			      (json_int_t)x->gid, "pid", (json_int_t)x->pid);

	set_text(o, "vm", x->vm);
	set_text(o, "patch", x->patch);
	set_text(o, "allowed_by", x->rule);
	set_text(o, "key", x->key);
	if (x->serial)
		json_object_set_new(o, "serial", json_integer((json_int_t)x->serial));
	if (why)
		set_text(o, "rule", why->rule);
	if (why)
		set_text(o, "text", why->text);
	char *line = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(o);
	return line;
}

static bool changes(const struct audit_entry *x)
{
	return x->class >= SCHEMA_CLASS_APPLY;
}

/*
 * One write: a line is whole or not there, unless the disk is full. Then the next one that can be written begins a line
 * of its own: not even a line end may have had room before.
 */
static int line_write(struct audit *a, const char *text)
{
	_cleanup_free_ char *line = NULL;
	int n = text ? asprintf(&line, "%s%s\n", a->torn ? "\n" : "", text) : -1;

	if (n < 0)
		return -ENOMEM;
	ssize_t written = write(a->fd, line, (size_t)n);
	if (written != n) {
		a->torn |= written > 0;
		return written < 0 ? -errno : -ENOSPC;
	}
	a->torn = false;
	return 0;
}

/* How it ended is in the journal of the VM as well, on the disk. */
static int file_write(struct audit *a, const struct audit_entry *x, enum audit_result result, const struct err *why)
{
	_cleanup_free_ char *text = record_format(x, result, why);
	int r = line_write(a, text);

	if (r == 0 && result == AUDIT_ALLOWED && changes(x) && fdatasync(a->fd) < 0)
		return -errno;
	return r;
}

static void log_entry(const struct audit_entry *x, enum audit_result result, const struct err *why)
{
	char uid[16], pid[16], serial[24] = "", text[900];
	const struct log_field fields[] = {
		{ "MESSAGE_ID", message_ids[result] },
		{ "VMPOKE_VM", x->vm },	      { "VMPOKE_PATCH", x->patch },
		{ "VMPOKE_UID", uid },	      { "VMPOKE_PID", pid },
		{ "VMPOKE_COMMAND", x->command }, { "VMPOKE_CLASS", schema_class_name(x->class) },
		{ "VMPOKE_RESULT", result_names[result] }, { "VMPOKE_ALLOWED_BY", x->rule },
		{ "VMPOKE_RULE", why ? why->rule : "" },   { "VMPOKE_KEY", x->key },
		{ "VMPOKE_SERIAL", serial },
	};

	snprintf(uid, sizeof(uid), "%u", x->uid);
	snprintf(pid, sizeof(pid), "%d", x->pid);
	if (x->serial)
		snprintf(serial, sizeof(serial), "%llu", (unsigned long long)x->serial);
	snprintf(text, sizeof(text), "%s%s%s, asked by uid %u pid %d: %s%s%s", x->command, x->patch[0] ? " of " : "", x->patch, x->uid,
		 x->pid, result_names[result], why ? ": " : "", why ? why->text : "");
	log_fields(result == AUDIT_ALLOWED || result == AUDIT_DONE ? LOG_NOTICE : LOG_WARNING, x->vm, text, fields,
		   ARRAY_SIZE(fields));
}

static void log_left_out(uid_t uid, uint64_t n)
{
	if (uid == AUDIT_LIMIT_SEVERAL)
		log_msg(LOG_WARNING, NULL, "%llu more requests of several users were refused", (unsigned long long)n);
	else
		log_msg(LOG_WARNING, NULL, "%llu more requests of uid %u were refused", (unsigned long long)n, uid);
}

/* A record without a command, once an interval is over and anybody is written down. */
static void left_out_write(struct audit *a, bool all)
{
	uint64_t n;
	uid_t uid;

	while (a->fd >= 0 && audit_limit_over(&a->limit, now_us(), all, &uid, &n)) {
		json_t *o = json_pack("{s:I, s:s, s:I}", "time", (json_int_t)time(NULL), "result", result_names[AUDIT_REFUSED],
				      "suppressed", (json_int_t)n);
		if (uid != AUDIT_LIMIT_SEVERAL)
			json_object_set_new(o, "uid", json_integer((json_int_t)uid));
		_cleanup_free_ char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
		json_decref(o);
		line_write(a, text);
		log_left_out(uid, n);
	}
}

void audit_close(struct audit *a)
{
	left_out_write(a, true);
	file_close(a);
}

static void refusal_write(struct audit *a, const struct audit_entry *x, const struct err *why)
{
	a->total_refused++;
	if (!audit_limit_take(&a->limit, x->uid, now_us()))
		return;
	file_write(a, x, AUDIT_REFUSED, why);
	log_entry(x, AUDIT_REFUSED, why);
}

int audit_write(struct audit *a, const struct audit_entry *entry, enum audit_result result, const struct err *why,
		struct err *e)
{
	left_out_write(a, false);
	if (result == AUDIT_REFUSED) {
		refusal_write(a, entry, why);
		return 0;
	}
	int r = file_write(a, entry, result, why);
	log_entry(entry, result, why);
	if (r == 0)
		return 0;
	log_msg(LOG_ERR, entry->vm[0] ? entry->vm : NULL, "cannot write %s: %s", a->path, strerror(-r));
	return err_set(e, ERR_FAILED, -r, "audit", "cannot write the audit record (%s), so nothing is done", strerror(-r));
}
