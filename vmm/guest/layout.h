/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where this guest's kernel keeps what a stack scan needs: struct offsets from its
 * own BTF, per-cpu and global addresses from kallsyms.
 */
#ifndef VMPOKE_VMM_GUEST_LAYOUT_H
#define VMPOKE_VMM_GUEST_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

#define LAYOUT_SPAN_MAX	  65536 /* bytes of one structure that are read at once */
#define LAYOUT_STACK_MAX  65536
#define LAYOUT_CPUS_MAX	  8192 /* NR_CPUS of Debian's kernels */
#define LAYOUT_HIDERS_MAX 4

struct guest;

struct layout {
	bool ready;
	/* offsets in task_struct; sp is thread.sp */
	uint32_t tasks, thread_node, signal, stack, sp, pid, comm, on_cpu;
	uint32_t task_span;		   /* bytes of task_struct that hold them all */
	uint32_t thread_head;		   /* in signal_struct */
	uint32_t rq_cfs_tasks, group_node; /* runqueue's list of runnable tasks, through task_struct.se */
	bool has_hot;
	uint32_t hot_current, hot_irq_stack; /* in pcpu_hot */
	uint32_t irq_size, exception_size;
	uint32_t thread_size;	       /* of a task's stack */
	uint32_t context, context_len; /* arm64: registers of a sleeping task, in task_struct; 0: all on its stack */
	/* addresses; per_cpu_offset 0: the bases are those of the vCPUs, struct guest's cpu_base */
	uint64_t init_task, per_cpu_offset, nr_cpu_ids;
	/* per-cpu offsets; arm64: hardirq_stack_ptr points at the lowest byte, idle_threads into the runqueue */
	uint64_t current_task, hardirq_stack_ptr, irq_stack, exception_stacks, entry_stack, idle_threads, runqueues;
	/* words that stand for a return address kept elsewhere (kretprobes, function graph tracer) */
	uint64_t hiders[LAYOUT_HIDERS_MAX];
	unsigned n_hiders;
};

/* arm64: what BTF says besides; offsets of per-cpu variables in their section, and members of struct rq. */
struct layout_arm64 {
	uint32_t runqueues, irq_stack_ptr;
	uint32_t rq_cpu, rq_idle;
};

/* Fills l from the guest's BTF and symbols. -EOPNOTSUPP when it has no BTF or lacks something. */
int layout_load(struct guest *g, struct layout *l, struct err *e);

/* Where struct module keeps what sites.c needs of it; see modules.c. */
#define LAYOUT_NONE UINT32_MAX /* a member that this kernel does not have */
struct module_layout {
	bool ready;
	uint32_t span; /* bytes of it that hold them all */
	union {
		uint32_t at[8];
		struct {
			uint32_t list, state, keys, n_keys, calls, n_calls, text, text_len;
		};
	};
};

struct layout_member {
	const char *type, *member; /* member NULL: the size of the type */
	uint32_t *to; /* offset in bytes; untouched when an optional one is missing */
	bool required;
};

/* Offsets of members by a copy of the guest's BTF. -EOPNOTSUPP. */
int layout_members(const void *btf, uint32_t len, const struct layout_member *members, size_t n, struct err *e);
/* The same by the guest's BTF where it is. */
int layout_members_read(struct guest *g, const struct layout_member *members, size_t n, struct err *e);

/* Of ftrace's records; see fentry.c. */
struct fentry_layout {
	bool ready;
	uint32_t next, records, index, ip, record_size;
};

/* Of kprobes; see kprobes.c. Addresses are 0 where the kernel does not have them or does not tell. */
struct kprobe_layout {
	bool ready;
	uint32_t link, addr; /* in struct kprobe */
	uint64_t table, mutex;
};

/* BTF part: offsets and sizes only. btf is a copy of the guest's bytes. */
int layout_from_btf(struct layout *l, const void *btf, uint32_t len, struct err *e);
int layout_arm64_from_btf(struct layout *l, struct layout_arm64 *x, const void *btf, uint32_t len, struct err *e);

/* The same for members that others ask for; see guest_member_offsets(). */
struct guest_member;
int members_from_btf(struct guest_member *wants, size_t n, const void *btf, uint32_t len, struct err *e);

/* members.c: a copy of the guest's BTF, which is at [start, end). -EOPNOTSUPP when that cannot be. */
struct scratch;
int btf_copy(struct guest *g, uint64_t start, uint64_t end, struct scratch *ret, uint32_t *ret_len, struct err *e);

#endif
