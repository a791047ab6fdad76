// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What vmpoked is told about a domain, one call at a time; see domain.h. Must never have vmpoked forget a patch
 * that is in a running guest, and never send two calls for one domain.
 */
#include <errno.h>
#include <libvirt/virterror.h>
#include <string.h>

#include "vmm/control/log.h"
#include "vmm/libvirt/domain.h"
#include "vmm/libvirt/travel.h"

#define NOT_FOUND_TRIES 5 /* 15 s: vmpoked lets go of a VM within that */

static void call(struct domain *d, enum domain_call what, const char *command, json_t *args)
{
	d->serial = args ? service_call(d->manager, command, args) : 0;
	if (d->serial)
		d->call = what;
}

/* The records that came with the domain, or NULL. */
static json_t *records_read(struct domain *d)
{
	_cleanup_free_ char *xml = virDomainGetMetadata(d->dom, VIR_DOMAIN_METADATA_ELEMENT, TRAVEL_NS, VIR_DOMAIN_AFFECT_LIVE);
	json_t *records = NULL;
	struct err e;

	if (!xml) {
		if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_METADATA)
			log_msg(LOG_WARNING, d->vm, "whether patches came with it cannot be read: %s", virGetLastErrorMessage());
	} else if (travel_parse(xml, &records, &e) < 0) {
		log_msg(LOG_WARNING, d->vm, "the patches that came with it cannot be read: %s", e.text);
	}
	return records;
}

/* What came with it is not to be applied a second time: rules wait until it was adopted. */
static bool brings_patches(struct domain *d)
{
	json_t *records = records_read(d);
	bool some = json_array_size(records) > 0;

	json_decref(records);
	return some;
}

static void call_add(struct domain *d)
{
	json_t *args = json_pack("{s:s, s:s, s:s, s:s}", "name", d->vm, "qmp", d->qmp, "uuid", d->uuid, "origin", d->manager->origin);

	if (args && d->gdb[0])
		json_object_set_new(args, "gdb", json_string(d->gdb));
	if (args && d->facts.agent[0])
		json_object_set_new(args, "agent", json_sprintf("unix:%s", d->facts.agent));
	if (args && brings_patches(d))
		json_object_set_new(args, "adopt", json_true());
	call(d, CALL_ADD, "vm-add", args);
}

/* The patches that may be in the guest go with it: they are not ours to wait for. */
static void call_remove(struct domain *d)
{
	call(d, CALL_REMOVE, "vm-remove", json_pack("{s:s, s:b, s:s}", "vm", d->vm, "keep-patches", 1, "origin", d->manager->origin));
}

static void call_adopt(struct domain *d)
{
	json_t *records = records_read(d);

	if (json_array_size(records) > 0) {
		call(d, CALL_ADOPT, "patch-adopt", json_pack("{s:s, s:o}", "vm", d->vm, "records", records));
		return;
	}
	json_decref(records);
	d->adopt = false;
}

static void call_export(struct domain *d)
{
	d->export = false; /* what changes from here on is seen anew */
	call(d, CALL_EXPORT, "patch-export", json_pack("{s:s}", "vm", d->vm));
}

void domain_advance(struct domain *d)
{
	if (d->call != CALL_NONE || d->waiting)
		return;
	if (!d->active && !d->registered) {
		struct manager *m = d->manager;
		char uuid[37];

		/* It may have been started again meanwhile. */
		memcpy(uuid, d->uuid, sizeof(uuid));
		domain_free(d);
		manager_look(m, uuid);
		return;
	}
	if (!d->manager->synced)
		return;
	if (!d->active || d->in_the_way)
		return call_remove(d);
	if (!d->ready || d->foreign || d->dismissed)
		return;
	if (!d->registered)
		return call_add(d);
	if (d->adopt)
		call_adopt(d);
	if (d->call == CALL_NONE && !d->adopt && d->export)
		call_export(d);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct domain *d = userdata;

	(void)s, (void)usec;
	d->waiting = false;
	domain_advance(d);
	return 0;
}

/* Again, later. */
static void postpone(struct domain *d)
{
	static const uint64_t us[] = { 500000, 1000000, 2000000, 4000000, 8000000, 15000000, 30000000 };
	size_t i = d->retry.failures < ARRAY_SIZE(us) ? d->retry.failures : ARRAY_SIZE(us) - 1;

	d->retry.failures++;
	retry_done(&d->retry);
	d->waiting = sd_event_add_time_relative(d->manager->event, &d->retry.timer, CLOCK_MONOTONIC, us[i], 1000, on_retry, d) >= 0;
}

static void on_added(struct domain *d, json_t *value, const struct err *e)
{
	if (value) {
		d->registered = true;
		d->retry.failures = 0;
		/* Also where vmpoked has known it: a predecessor may have died before. What is known already stays so. */
		d->adopt = true;
		d->export = true;
		log_msg(LOG_INFO, d->vm, "is registered");
	} else if (strcmp(e->rule, "exists") == 0) {
		d->in_the_way = true;
	} else {
		if (d->retry.failures == 0)
			log_msg(LOG_WARNING, d->vm, "is not registered yet: %s", e->text);
		postpone(d);
	}
}

static void on_removed(struct domain *d, json_t *value, const struct err *e)
{
	bool was_in_the_way = d->in_the_way;

	d->in_the_way = false;
	if (value || (e->kind == ERR_NOT_FOUND && !was_in_the_way)) {
		d->registered = false;
		return;
	}
	/* One of ours that has another name meanwhile may be on its way out (service.c, sync_one()): added again. */
	if (e->kind == ERR_NOT_FOUND && d->retry.failures < NOT_FOUND_TRIES)
		return postpone(d);
	if (strcmp(e->rule, "origin") == 0 || e->kind == ERR_NOT_FOUND) {
		if (d->active)
			log_msg(LOG_WARNING, d->vm, "is left alone: vmpoked has a VM of its name or sockets that was registered otherwise");
		d->foreign = true;
		d->registered = false;
		return;
	}
	d->in_the_way = was_in_the_way;
	if (d->retry.failures == 0)
		log_msg(LOG_WARNING, d->vm, "is not forgotten yet: %s", e->text);
	postpone(d);
}

static void say_adopted(struct domain *d, json_t *value)
{
	json_t *record;
	size_t i;

	json_array_foreach(json_object_get(value, "records"), i, record) {
		const char *state = json_string_value(json_object_get(record, "state")), *patch = json_string_value(json_object_get(record, "patch"));
		const char *why = json_string_value(json_object_get(record, "why"));

		log_msg(state && !strcmp(state, "already") ? LOG_DEBUG : LOG_NOTICE, d->vm, "the patch %.64s that came with it: %.32s%s%.256s",
			patch ? patch : "?", state ? state : "?", why ? ": " : "", why ? why : "");
	}
}

static void on_adopted(struct domain *d, json_t *value, const struct err *e)
{
	/*
	 * The guest's kernel may not be found at once after a move; what was refused stays so. Never given up: the
	 * export that follows replaces the records, which are all that is known of these patches.
	 */
	bool again = e && (e->kind == ERR_TIMEOUT || e->kind == ERR_INACTIVE);

	if (value)
		say_adopted(d, value);
	else if (d->retry.failures == 0 || !again)
		log_msg(LOG_WARNING, d->vm, "the patches that came with it are not taken over%s: %s", again ? " yet" : "", e->text);
	if (again)
		return postpone(d);
	d->adopt = false;
	d->retry.failures = 0;
}

static void on_exported(struct domain *d, json_t *value, const struct err *e)
{
	json_t *records = json_object_get(value, "records");
	_cleanup_free_ char *xml = NULL;
	struct err why;

	if (e && (e->kind == ERR_TIMEOUT || e->kind == ERR_INACTIVE)) {
		d->export = true; /* what is written stays until more is known */
		return postpone(d);
	}
	d->retry.failures = 0;
	if (e || (json_array_size(records) > 0 && travel_format(records, &xml, &why) < 0))
		log_msg(LOG_WARNING, d->vm, "its patches will not go along with it: %s", e ? e->text : why.text);
	/* Records that are not true any more must not stay. */
	if (d->helper)
		helper_metadata(d->helper, xml);
}

void domain_reply(struct domain *d, json_t *value, const struct err *error)
{
	enum domain_call what = d->call;

	d->call = CALL_NONE;
	d->serial = 0;
	switch (what) {
	case CALL_ADD: on_added(d, value, error); break;
	case CALL_REMOVE: on_removed(d, value, error); break;
	case CALL_ADOPT: on_adopted(d, value, error); break;
	case CALL_EXPORT: on_exported(d, value, error); break;
	case CALL_NONE: break;
	}
	domain_advance(d);
}
