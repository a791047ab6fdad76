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

#define NESTED_MAX 16 /* anonymous structs and unions looked into, all levels together */

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
	uint32_t thread, thread_sp, se, se_node;
};

#define WANT(type, member, to)                               \
	{                                                    \
#type, #member, offsetof(struct offsets, to) \
	}
static const struct member_want members[] = {
	WANT(task_struct, tasks, l.tasks),	 WANT(task_struct, thread_node, l.thread_node),
	WANT(task_struct, signal, l.signal),	 WANT(task_struct, stack, l.stack),
	WANT(task_struct, pid, l.pid),		 WANT(task_struct, comm, l.comm),
	WANT(task_struct, on_cpu, l.on_cpu),	 WANT(task_struct, thread, thread),
	WANT(thread_struct, sp, thread_sp),	 WANT(task_struct, se, se),
	WANT(sched_entity, group_node, se_node), WANT(signal_struct, thread_head, l.thread_head),
	WANT(rq, cfs_tasks, l.rq_cfs_tasks),
};

static uint32_t max_of(const uint32_t *v, size_t n)
{
	uint32_t max = 0;

	for (size_t i = 0; i < n; i++)
		max = v[i] > max ? v[i] : max;
	return max;
}

static int offsets_load(const struct btf *btf, struct offsets *o, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(members) && r == 0; i++) {
		uint32_t *to = (uint32_t *)(void *)((char *)o + members[i].to);
		r = offset_of(btf, members[i].type, members[i].member, to, e);
	}
	if (r < 0)
		return r;
	/* 6.2 to 6.14 keep these two in struct pcpu_hot; elsewhere they are per-cpu symbols. */
	o->l.has_hot = offset_of(btf, "pcpu_hot", "current_task", &o->l.hot_current, NULL) == 0 &&
		       offset_of(btf, "pcpu_hot", "hardirq_stack_ptr", &o->l.hot_irq_stack, NULL) == 0;
	struct layout *l = &o->l;
	l->sp = o->thread + o->thread_sp;
	l->group_node = o->se + o->se_node;
	/* comm is the longest of them: 16 bytes */
	l->task_span = 16 + max_of((uint32_t[]){ l->tasks, l->thread_node, l->signal, l->stack, l->sp, l->pid, l->comm,
						 l->on_cpu },
				   8);
	return l->task_span <= LAYOUT_SPAN_MAX ? 0 : no_member(e, "task_struct", "thread.sp");
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

	libbpf_set_print(NULL);
	struct btf *btf = btf__new(data, len);
	if (!btf)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "the guest's BTF is malformed");
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

	libbpf_set_print(NULL); /* it prints its opinion of malformed BTF to stderr */
	struct btf *btf = btf__new(data, len);
	if (!btf)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-btf", "the guest's BTF is malformed");
	int r = offsets_load(btf, &o, e);
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
