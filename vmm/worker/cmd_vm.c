// SPDX-License-Identifier: GPL-2.0-or-later
/* query-vm, vm-probe, query-symbols: what is known of the VM and its kernel. Changes nothing. */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "vmm/worker/choose.h"
#include "vmm/worker/commands.h"

#define SYMBOLS_PER_REPLY 1024
/* Names can be 511 bytes: stop a page before its JSON could pass QMP_MESSAGE_MAX. */
#define SYMBOLS_REPLY_BYTES (QMP_MESSAGE_MAX - 65536)

int command_query_vm(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	struct err ignored = { 0 };

	(void)args;
	(void)e;
	if (s->backend ? s->open || s->orphan_hold : now_us() >= s->no_attach_before)
		session_attach(s, &ignored);
	else
		session_events(s);
	const char *reason = session_reason(s);
	json_t *o = json_pack("{s:s, s:s, s:I}", "name", s->target.vm, "state", session_state(s),
			      "patches", (json_int_t)patch_list_count(&s->patches, PATCH_APPLIED));
	if (s->target.qmp)
		json_object_set_new(o, "qmp", json_string(s->target.qmp));
	if (s->target.gdb)
		json_object_set_new(o, "gdb", json_string(s->target.gdb));
	json_object_set_new(o, "agent_state", json_string(worker_agent_state(s)));
	if (reason)
		json_object_set_new(o, "reason", json_string(reason));
	if (s->backend) {
		json_object_set_new(o, "pid", json_integer(s->info.pid));
		json_object_set_new(o, "accel", json_string(s->info.accel));
		json_object_set_new(o, "version", json_string(s->info.version));
		json_object_set_new(o, "vcpus", json_integer((json_int_t)s->info.vcpus));
	}
	if (s->guest) {
		json_object_set_new(o, "release", json_string(guest_facts(s->guest)->release));
		json_object_set_new(o, "build_id", json_string(guest_facts(s->guest)->build_id_hex));
	}
	*ret = o;
	return 0;
}

static uint64_t cpu_time_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000u +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static json_t *capabilities(unsigned caps)
{
	static const struct {
		const char *name;
		unsigned cap;
	} names[] = {
		{ "live_read", BACKEND_LIVE_READ },   { "live_regs", BACKEND_LIVE_REGS },
		{ "step", BACKEND_STEP },	      { "trap_int3", BACKEND_TRAP_INT3 },
		{ "trap_hw", BACKEND_TRAP_HW },	      { "nonstop", BACKEND_NONSTOP },
		{ "remap", BACKEND_REMAP },
	};
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		json_object_set_new(o, names[i].name, json_boolean(caps & names[i].cap));
	return o;
}

static json_t *facts_to_json(const struct session *s)
{
	const struct guest_facts *f = guest_facts(s->guest);

	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:s, s:i, s:b, s:I, s:s, s:s, s:o, s:o, s:o}",
			 "vm", s->target.vm, "release", f->release, "banner", f->banner,
			 "build_id", f->build_id_hex, "kaslr_offset", qmp_address(f->kaslr_offset),
			 "base", qmp_address(f->base), "symbols", (json_int_t)f->symbols,
			 "kallsyms_layout", f->kallsyms_layout, "paging_levels", (int)f->paging_levels,
			 "kpti", (int)f->kpti, "vcpus", (json_int_t)s->info.vcpus, "accel", s->info.accel,
			 "version", s->info.version, "capabilities", capabilities(s->info.caps),
			 "modes", choose_mode_names_json(s->info.caps), "modes_detail", choose_modes_json(s->info.caps));
}

#define ABILITIES_MAX 32

/* Sets o["abilities"] where the backend has something to say. */
static int abilities_add_json(const struct session *s, json_t *o, struct err *e)
{
	struct backend_ability found[ABILITIES_MAX];
	int n = s->backend->ops->abilities ? s->backend->ops->abilities(s->backend, found, ABILITIES_MAX, e) : 0;

	if (n <= 0)
		return n;
	json_t *list = json_array();
	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", found[i].name, "value", found[i].value));
	json_object_set_new(o, "abilities", list);
	return 0;
}

/*
 * enum system_states (include/linux/kernel.h): the state before "running" came with 5.8. Before it runs, the kernel
 * still changes its own text and frees some. Not known where there is no such symbol.
 */
static void add_booted(struct session *s, json_t *o)
{
	struct err ignored = { 0 };
	unsigned major = 0, minor = 0;
	uint64_t place;
	uint32_t state;

	if (guest_symbol_find(s->guest, "system_state", &place, NULL, NULL) < 0 ||
	    guest_read(s->guest, place, &state, sizeof(state), &ignored) < 0 ||
	    sscanf(guest_facts(s->guest)->release, "%3u.%3u", &major, &minor) != 2)
		return;
	bool freeing_is_a_state = major > 5 || (major == 5 && minor >= 8);
	json_object_set_new(o, "booted", json_boolean(state >= (freeing_is_a_state ? 3 : 2)));
}

int command_vm_probe(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	uint64_t start = now_us(), cpu = cpu_time_us();
	bool cached = false;
	int r;

	(void)args;
	r = session_guest(s, &cached, e);
	if (r == 0)
		r = s->backend->ops->info(s->backend, &s->info, e);
	if (r < 0)
		return r;
	json_t *o = facts_to_json(s);
	if (!o)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	r = abilities_add_json(s, o, e);
	if (r < 0) {
		json_decref(o);
		return r;
	}
	if (s->info.live_read_why[0])
		json_object_set_new(o, "live_read_why", json_string(s->info.live_read_why));
	add_booted(s, o);
	json_object_set_new(o, "pid", json_integer(s->info.pid));
	json_object_set_new(o, "agent", worker_agent_json(s));
	json_object_set_new(o, "cached", json_boolean(cached));
	json_object_set_new(o, "pause_us", json_integer((json_int_t)s->info.read_pause_us));
	json_object_set_new(o, "elapsed_us", json_integer((json_int_t)(now_us() - start)));
	json_object_set_new(o, "cpu_us", json_integer((json_int_t)(cpu_time_us() - cpu)));
	*ret = o;
	return 0;
}

static json_t *symbol_to_json(const struct guest_symbol *sym)
{
	char type[2] = { sym->type, '\0' };

	return json_pack("{s:o, s:s, s:s}", "address", qmp_address(sym->addr), "type", type, "name", sym->name);
}

/* The guest chooses the names; what is not UTF-8 cannot be said in JSON and is left out. */
static void add_symbol(json_t *array, const struct guest_symbol *sym)
{
	json_t *o = symbol_to_json(sym);

	if (o)
		json_array_append_new(array, o);
}

static size_t page_of_symbols(const struct guest *g, size_t start, size_t count, json_t *array)
{
	struct guest_symbol_cursor cursor = { 0 };
	struct guest_symbol sym;
	size_t bytes = 0, i = start;

	if (guest_symbol_seek(g, start, &cursor) < 0)
		return start;
	for (; i < start + count && bytes < SYMBOLS_REPLY_BYTES; i++) {
		if (guest_symbol_next(g, &cursor, &sym) <= 0)
			break;
		add_symbol(array, &sym);
		bytes += strlen(sym.name) + 80;
	}
	return i;
}

static int named_symbols(const struct guest *g, const char *name, json_t *array)
{
	struct guest_symbol_cursor cursor = { 0 };
	struct guest_symbol sym;
	int found = 0;

	while (guest_symbol_next(g, &cursor, &sym) > 0 && found < SYMBOLS_PER_REPLY)
		if (strcmp(sym.name, name) == 0) {
			add_symbol(array, &sym);
			found++;
		}
	return found;
}

int command_query_symbols(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	const char *name = json_string_value(json_object_get(args, "symbol"));
	size_t start = (size_t)json_integer_value(json_object_get(args, "start"));
	json_t *count = json_object_get(args, "count");
	int r = session_guest(s, NULL, e);

	if (r < 0)
		return r;
	size_t total = guest_facts(s->guest)->symbols, next = total;
	json_t *array = json_array();
	if (name) {
		if (named_symbols(s->guest, name, array) == 0) {
			json_decref(array);
			return err_set(e, ERR_NOT_FOUND, ENOENT, "unknown-symbol", "there is no symbol '%s' in %s",
				       name, guest_facts(s->guest)->release);
		}
	} else if (start < total) {
		next = page_of_symbols(s->guest, start,
				       count ? (size_t)json_integer_value(count) : SYMBOLS_PER_REPLY, array);
	}
	*ret = json_pack("{s:o, s:I, s:I}", "symbols", array, "next",
			 next < total ? (json_int_t)next : (json_int_t)-1, "total", (json_int_t)total);
	return 0;
}
