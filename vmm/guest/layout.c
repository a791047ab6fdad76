// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Gathers what a stack scan needs before the guest is paused for it; see layout.h.
 * Must never guess: what BTF or kallsyms do not say makes the scan unsupported.
 */
#include "vmm/guest/layout.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "vmm/guest/guest_arch.h"
#include "vmm/guest/image.h"
#include "vmm/guest/scratch.h"

#define PER_CPU_MAX (16u << 20)

enum {
	W_BTF,
	W_BTF_END,
	W_INIT_TASK,
	W_PER_CPU,
	W_NR_CPUS,
	W_IRQ,
	W_EXCEPTION,
	W_ENTRY,
	W_IDLE,
	W_RQ,
	W_REQUIRED, /* the rest exists in some kernels only */
	W_CURRENT = W_REQUIRED,
	W_HARDIRQ,
	W_HOT,
	W_STACK_61,
	W_STACK_61_END,
	W_STACK,
	W_STACK_END,
	W_HIDERS,
	W_HIDER_1,
	W_HIDER_2,
	W_HIDER_3,
	W_COUNT,
};

static int missing(struct err *e, const char *what)
{
	return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-stack-scan",
		       "this kernel's stacks cannot be scanned: it has no usable %s", what);
}

static bool usable(const struct symbol_want *w, bool per_cpu)
{
	static const struct image_window window = { IMAGE_MAP, IMAGE_MAP_END };

	return w->found && (per_cpu ? w->addr < PER_CPU_MAX : image_holds(&window, w->addr));
}

static int btf_load(struct guest *g, struct layout *l, const struct symbol_want *want, struct err *e)
{
	_cleanup_scratch_ struct scratch btf = { 0 };
	uint32_t len;
	int r = btf_copy(g, want[W_BTF].addr, want[W_BTF_END].addr, &btf, &len, e);

	return r < 0 ? r : layout_from_btf(l, btf.p, len, e);
}

/* current_task and hardirq_stack_ptr are symbols of their own or members of pcpu_hot. */
static int hot_place(struct layout *l, const struct symbol_want *want, struct err *e)
{
	if (usable(&want[W_CURRENT], true) && usable(&want[W_HARDIRQ], true)) {
		l->current_task = want[W_CURRENT].addr;
		l->hardirq_stack_ptr = want[W_HARDIRQ].addr;
		return 0;
	}
	if (!l->has_hot || !usable(&want[W_HOT], true))
		return missing(e, "current_task");
	l->current_task = want[W_HOT].addr + l->hot_current;
	l->hardirq_stack_ptr = want[W_HOT].addr + l->hot_irq_stack;
	return 0;
}

/* init_stack is as large as every other task's (6.1 and 6.12 name its bounds differently), and init_task runs on it. */
static int stack_size(struct guest *g, struct layout *l, const struct symbol_want bounds[static 2], struct err *e)
{
	uint64_t size = bounds[1].addr - bounds[0].addr, stack;

	if (!usable(&bounds[0], false) || !usable(&bounds[1], false) || size < 4096 || size > LAYOUT_STACK_MAX ||
	    size & (size - 1))
		return missing(e, "stack size");
	int r = walk_read_u64(&g->walk, l->init_task + l->stack, &stack, e);
	if (r < 0)
		return r;
	if (stack != bounds[0].addr)
		return missing(e, "init_task.stack");
	l->thread_size = (uint32_t)size;
	return 0;
}

static int layout_place(struct layout *l, const struct symbol_want *want, struct err *e)
{
	for (size_t i = 0; i < W_REQUIRED; i++)
		if (!usable(&want[i], i >= W_IRQ))
			return missing(e, want[i].name);
	l->init_task = want[W_INIT_TASK].addr;
	l->per_cpu_offset = want[W_PER_CPU].addr;
	l->nr_cpu_ids = want[W_NR_CPUS].addr;
	l->irq_stack = want[W_IRQ].addr;
	l->exception_stacks = want[W_EXCEPTION].addr;
	l->entry_stack = want[W_ENTRY].addr;
	l->idle_threads = want[W_IDLE].addr;
	l->runqueues = want[W_RQ].addr;
	l->n_hiders = 0;
	for (size_t i = W_HIDERS; i < W_HIDERS + LAYOUT_HIDERS_MAX; i++)
		if (usable(&want[i], false))
			l->hiders[l->n_hiders++] = want[i].addr;
	return 0;
}

int layout_load(struct guest *g, struct layout *ret, struct err *e)
{
	struct layout l = { 0 };
	struct symbol_want want[W_COUNT] = {
		[W_BTF] = { .name = "__start_BTF" },
		[W_BTF_END] = { .name = "__stop_BTF" },
		[W_INIT_TASK] = { .name = "init_task" },
		[W_PER_CPU] = { .name = "__per_cpu_offset" },
		[W_NR_CPUS] = { .name = "nr_cpu_ids" },
		[W_IRQ] = { .name = "irq_stack_backing_store" },
		[W_EXCEPTION] = { .name = "exception_stacks" },
		[W_ENTRY] = { .name = "entry_stack_storage" },
		[W_IDLE] = { .name = "idle_threads" },
		[W_RQ] = { .name = "runqueues" },
		[W_CURRENT] = { .name = "current_task" },
		[W_HARDIRQ] = { .name = "hardirq_stack_ptr" },
		[W_HOT] = { .name = "pcpu_hot" },
		[W_STACK_61] = { .name = "__start_init_task" },
		[W_STACK_61_END] = { .name = "__end_init_task" },
		[W_STACK] = { .name = "__start_init_stack" },
		[W_STACK_END] = { .name = "__end_init_stack" },
		[W_HIDERS] = { .name = "arch_rethook_trampoline" },
		[W_HIDER_1] = { .name = "__kretprobe_trampoline" },
		[W_HIDER_2] = { .name = "kretprobe_trampoline" },
		[W_HIDER_3] = { .name = "return_to_handler" },
	};

	symbols_resolve(&g->syms, want, W_COUNT);
	int r = layout_place(&l, want, e);
	if (r == 0)
		r = btf_load(g, &l, want, e);
	if (r == 0)
		r = hot_place(&l, want, e);
	if (r == 0)
		r = stack_size(g, &l, want[W_STACK].found ? &want[W_STACK] : &want[W_STACK_61], e);
	malloc_trim(0); /* libbpf needed several MiB; a worker per VM must stay small */
	if (r < 0)
		return r;
	l.ready = true;
	*ret = l;
	return 0;
}

int guest_stacks_prepare(struct guest *g, struct err *e)
{
	if (g->layout.ready)
		return 0;
	walk_flush(&g->walk);
	return g->arch->layout(g, &g->layout, e);
}
