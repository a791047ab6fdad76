// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Struct offsets out of the guest's own BTF, parsed by libbpf. Every offset is bounded before
 * it is believed; nothing of the BTF is kept.
 */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/guest/guest.h"
#include "vmm/guest/layout.h"

#define PER_CPU_MAX (16u << 20)
#define NESTED_MAX  16 /* anonymous structs and unions looked into, all levels together */

struct nested {
	uint32_t id;
	uint64_t bits;
};

static int no_member(struct err *e, const char *type, const char *member)
{
	return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "the guest's BTF does not say where %s%s%s is", type,
		       *member ? "." : "", member);
}

static const struct btf_type *composite(const struct btf *btf, uint32_t id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	return t && btf_is_composite(t) ? t : NULL;
}

/* Byte offset of a member, looking into anonymous members; -ENOENT. */
static int64_t member_offset(const struct btf *btf, uint32_t id, const char *member)
{
	struct nested todo[NESTED_MAX] = { { .id = id } };
	size_t n = 1;

	for (size_t i = 0; i < n; i++) {
		const struct btf_type *t = composite(btf, todo[i].id);
		const struct btf_member *m = t ? btf_members(t) : NULL;
		for (uint32_t j = 0; t && j < btf_vlen(t); j++) {
			const char *name = btf__name_by_offset(btf, m[j].name_off);
			uint64_t bits = todo[i].bits + btf_member_bit_offset(t, j);
			if (name && strcmp(name, member) == 0)
				return bits % 8 ? -ENOENT : (int64_t)(bits / 8);
			if (name && !*name && n < NESTED_MAX)
				todo[n++] = (struct nested){ .id = m[j].type, .bits = bits };
		}
	}
	return -ENOENT;
}

static int offset_of(const struct btf *btf, const char *type, const char *member, uint32_t *ret, struct err *e)
{
	int32_t id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);
	int64_t offset = id < 0 ? -ENOENT : member_offset(btf, (uint32_t)id, member);

	if (offset < 0 || offset > LAYOUT_SPAN_MAX - 64)
		return no_member(e, type, member);
	*ret = (uint32_t)offset;
	return 0;
}

static int size_of(const struct btf *btf, const char *type, uint32_t *ret, struct err *e)
{
	int32_t id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, (uint32_t)id);

	if (!t || t->size < 4096 || t->size > LAYOUT_STACK_MAX || t->size % 4096)
		return no_member(e, type, "");
	*ret = t->size;
	return 0;
}

struct member_want {
	const char *type, *member;
	size_t to; /* offset of an uint32_t in struct offsets */
};

struct offsets {
	struct layout l;
	uint32_t thread, thread_sp, se, se_node, context, context_sp;
	struct layout_arm64 x;
};

#define WANT(type, member, to)                               \
	{                                                    \
#type, #member, offsetof(struct offsets, to) \
	}
static const struct member_want members[] = {
	WANT(task_struct, tasks, l.tasks),   WANT(task_struct, thread_node, l.thread_node),
	WANT(task_struct, signal, l.signal), WANT(task_struct, stack, l.stack),
	WANT(task_struct, pid, l.pid),	     WANT(task_struct, comm, l.comm),
	WANT(task_struct, on_cpu, l.on_cpu), WANT(task_struct, thread, thread),
	WANT(task_struct, se, se),	     WANT(sched_entity, group_node, se_node),
	WANT(rq, cfs_tasks, l.rq_cfs_tasks), WANT(signal_struct, thread_head, l.thread_head),
};
static const struct member_want x86_members[] = { WANT(thread_struct, sp, thread_sp) };
static const struct member_want arm64_members[] = {
	WANT(thread_struct, cpu_context, context),
	WANT(cpu_context, sp, context_sp),
	WANT(rq, cpu, x.rq_cpu),
	WANT(rq, idle, x.rq_idle),
};

static uint32_t max_of(const uint32_t *v, size_t n)
{
	uint32_t max = 0;

	for (size_t i = 0; i < n; i++)
		max = v[i] > max ? v[i] : max;
	return max;
}

static int members_load(const struct btf *btf, const struct member_want *want, size_t n, struct offsets *o,
			struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		uint32_t *to = (uint32_t *)(void *)((char *)o + want[i].to);
		r = offset_of(btf, want[i].type, want[i].member, to, e);
	}
	return r;
}

static int offsets_load(const struct btf *btf, const struct member_want *own, size_t n_own, struct offsets *o,
			struct err *e)
{
	int r = members_load(btf, members, ARRAY_SIZE(members), o, e);

	if (r == 0)
		r = members_load(btf, own, n_own, o, e);
	if (r < 0)
		return r;
	/* 6.2 to 6.14 keep these two in struct pcpu_hot; elsewhere they are per-cpu symbols. */
	o->l.has_hot = offset_of(btf, "pcpu_hot", "current_task", &o->l.hot_current, NULL) == 0 &&
		       offset_of(btf, "pcpu_hot", "hardirq_stack_ptr", &o->l.hot_irq_stack, NULL) == 0;
	struct layout *l = &o->l;
	l->sp = o->thread + o->context + (o->context_sp ? o->context_sp : o->thread_sp);
	l->group_node = o->se + o->se_node;
	/* comm is the longest of them: 16 bytes */
	l->task_span = 16 + max_of((uint32_t[]){ l->tasks, l->thread_node, l->signal, l->stack, l->sp, l->pid, l->comm,
						 l->on_cpu },
				   8);
	return l->task_span <= LAYOUT_SPAN_MAX ? 0 : no_member(e, "task_struct", "thread.sp");
}

/* Owned by the caller, or NULL. */
static struct btf *btf_parse(const void *data, uint32_t len, struct err *e)
{
	libbpf_set_print(NULL); /* it prints its opinion of malformed BTF to stderr */
	struct btf *btf = btf__new(data, len);
	if (!btf)
		err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "the guest's BTF is malformed");
	return btf;
}

static int any_size_of(const struct btf *btf, const char *type, uint32_t *ret, struct err *e)
{
	int32_t id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, (uint32_t)id);

	if (!t || t->size > LAYOUT_SPAN_MAX)
		return no_member(e, type, "");
	*ret = t->size;
	return 0;
}

int layout_members(const void *data, uint32_t len, const struct layout_member *wants, size_t n, struct err *e)
{
	int r = 0;

	struct btf *btf = btf_parse(data, len, e);

	if (!btf)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < n && r == 0; i++) {
		struct err missing;

		r = wants[i].member ? offset_of(btf, wants[i].type, wants[i].member, wants[i].to, &missing) :
				      any_size_of(btf, wants[i].type, wants[i].to, &missing);
		if (r < 0 && !wants[i].required)
			r = 0;
		else if (r < 0 && e)
			*e = missing;
	}
	btf__free(btf);
	return r;
}

int layout_from_btf(struct layout *l, const void *data, uint32_t len, struct err *e)
{
	struct offsets o = { .l = *l };
	struct btf *btf = btf_parse(data, len, e);

	if (!btf)
		return -EOPNOTSUPP;
	int r = offsets_load(btf, x86_members, ARRAY_SIZE(x86_members), &o, e);
	if (r == 0)
		r = size_of(btf, "irq_stack", &o.l.irq_size, e);
	if (r == 0)
		r = size_of(btf, "exception_stacks", &o.l.exception_size, e);
	btf__free(btf);
	if (r == 0)
		*l = o.l;
	return r;
}

int members_from_btf(struct guest_member *wants, size_t n, const void *data, uint32_t len, struct err *e)
{
	int r = 0;

	libbpf_set_print(NULL);
	struct btf *btf = btf__new(data, len);
	if (!btf)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "the guest's BTF is malformed");
	for (size_t i = 0; i < n && r == 0; i++)
		r = offset_of(btf, wants[i].type, wants[i].member, &wants[i].offset, e);
	btf__free(btf);
	return r;
}

/* Offset of a per-cpu variable in its section (pahole writes them there). */
static int per_cpu_offset(const struct btf *btf, const char *name, uint32_t *ret, struct err *e)
{
	int32_t id = btf__find_by_name_kind(btf, ".data..percpu", BTF_KIND_DATASEC);
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, (uint32_t)id);
	const struct btf_var_secinfo *var = t ? btf_var_secinfos(t) : NULL;

	for (uint32_t i = 0; t && i < btf_vlen(t); i++) {
		const struct btf_type *v = btf__type_by_id(btf, var[i].type);
		const char *found = v ? btf__name_by_offset(btf, v->name_off) : NULL;
		if (found && strcmp(found, name) == 0 && var[i].offset < PER_CPU_MAX) {
			*ret = var[i].offset;
			return 0;
		}
	}
	return no_member(e, ".data..percpu", name);
}

static int arm64_load(const struct btf *btf, struct offsets *o, struct err *e)
{
	uint32_t ignored;

	if (offset_of(btf, "thread_info", "scs_sp", &ignored, NULL) == 0)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-stack-scan",
			       "this kernel keeps return addresses on shadow call stacks, which are not scanned here");
	int r = offsets_load(btf, arm64_members, ARRAY_SIZE(arm64_members), o, e);
	if (r == 0)
		r = per_cpu_offset(btf, "runqueues", &o->x.runqueues, e);
	return r < 0 ? r : per_cpu_offset(btf, "irq_stack_ptr", &o->x.irq_stack_ptr, e);
}

int layout_arm64_from_btf(struct layout *l, struct layout_arm64 *x, const void *data, uint32_t len, struct err *e)
{
	struct offsets o = { .l = *l };
	struct btf *btf = btf_parse(data, len, e);

	if (!btf)
		return -EOPNOTSUPP;
	int r = arm64_load(btf, &o, e);
	btf__free(btf);
	if (r < 0)
		return r;
	o.l.context = o.thread + o.context;
	o.l.context_len = 13 * 8; /* x19 to x28, fp, sp, pc */
	*l = o.l;
	*x = o.x;
	return 0;
}
