// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Gathers what a stack scan of an arm64 guest needs, see layout.h, from its BTF alone: it has the
 * offsets of per-cpu variables in their section, and where that section lies is told by the one place
 * at which every vCPU's runqueue is that CPU's and leads to its idle task. Must never guess: what
 * is not found makes the scan unsupported.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/guest/arm64.h"
#include "vmm/guest/scratch.h"

#define BTF_MIN	     256u
#define BTF_MAX	     (64u << 20)   /* 4 MiB in Debian's kernels */
#define PER_CPU_SPAN (32ull << 20) /* behind the initialisation code; 2 MiB in Debian's kernels */
#define PAGE	     4096ull

static int missing(struct err *e, const char *what)
{
	return err_set(e, ERR_FAILED, EOPNOTSUPP, "no-stack-scan",
		       "this kernel's stacks cannot be scanned: it has no usable %s", what);
}

struct btf_head {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t hdr_len, type_off, type_len, str_off, str_len;
};

/* 0 when it is none, or reaches beyond the run. */
static uint32_t btf_size(struct walk *w, const struct image_run *run, uint64_t gva)
{
	struct btf_head h;

	if (walk_read(w, gva, &h, sizeof(h), NULL) < 0 || h.type_off != 0 || h.str_off != h.type_len ||
	    h.type_len > BTF_MAX || h.str_len > BTF_MAX || h.type_len < BTF_MIN)
		return 0;
	uint64_t size = (uint64_t)sizeof(h) + h.type_len + h.str_len;
	return run && size > run->end - gva ? 0 : (uint32_t)size;
}

static bool is_btf(struct walk *w, const struct image_run *run, uint64_t gva)
{
	return btf_size(w, run, gva) != 0;
}

static int btf_load(struct guest *g, struct layout *l, struct layout_arm64 *x, struct err *e)
{
	static const uint8_t head[] = { 0x9f, 0xeb, 1, 0, sizeof(struct btf_head), 0, 0, 0 };
	struct data_want want = { .bytes = head, .len = sizeof(head), .accept = is_btf };
	_cleanup_free_ struct image *image = calloc(1, sizeof(*image));
	_cleanup_scratch_ struct scratch btf = { 0 };

	if (!image)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	image->window = g->window;
	int r = image_runs_collect(image, &g->walk, e);
	if (r == 0)
		r = arm64_data_find(&g->walk, image, &want, 1, e);
	if (r < 0)
		return r;
	uint32_t size = want.found ? btf_size(&g->walk, NULL, want.found) : 0;
	if (!size)
		return missing(e, "BTF");
	if (!scratch_alloc(&btf, size))
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	r = walk_read(&g->walk, want.found, btf.p, size, e);
	return r < 0 ? r : layout_arm64_from_btf(l, x, btf.p, size, e);
}

/* The runqueue at rq is the one of the CPU it says, and that CPU's idle task is what it says. */
static bool runqueue_accept(struct guest *g, const struct layout *l, const struct layout_arm64 *x, uint64_t rq,
			    uint32_t *ret_cpu, uint64_t *ret_idle)
{
	char comm[16], expected[32];
	uint64_t idle;
	uint32_t cpu, pid;

	if (walk_read_u32(&g->walk, rq + x->rq_cpu, &cpu, NULL) < 0 || cpu >= LAYOUT_CPUS_MAX ||
	    walk_read_u64(&g->walk, rq + x->rq_idle, &idle, NULL) < 0 || !(idle >> 63) ||
	    walk_read_u32(&g->walk, idle + l->pid, &pid, NULL) < 0 || pid != 0 ||
	    walk_read(&g->walk, idle + l->comm, comm, sizeof(comm), NULL) < 0)
		return false;
	snprintf(expected, sizeof(expected), "swapper/%u", cpu);
	*ret_cpu = cpu;
	*ret_idle = idle;
	return strncmp(comm, expected, sizeof(comm)) == 0;
}

/* Every vCPU's runqueue is in order when the section lies at start. *ret_init: CPU 0's idle task, part of the image. */
static bool section_accept(struct guest *g, const struct layout *l, const struct layout_arm64 *x, uint64_t start,
			   uint64_t *ret_init)
{
	uint64_t init = 0;

	for (size_t i = 0; i < g->n_cpu_bases; i++) {
		uint64_t idle;
		uint32_t cpu;
		if (!runqueue_accept(g, l, x, g->cpu_base[i] + start + x->runqueues, &cpu, &idle))
			return false;
		if (cpu == 0 && image_holds(&g->window, idle))
			init = idle;
	}
	*ret_init = init;
	return init != 0;
}

static int section_find(struct guest *g, struct layout *l, const struct layout_arm64 *x, struct err *e)
{
	uint64_t first = (g->facts.inittext_end + PAGE - 1) & ~(PAGE - 1);

	for (uint64_t start = first; start < first + PER_CPU_SPAN; start += PAGE) {
		if (!g->n_cpu_bases || !section_accept(g, l, x, start, &l->init_task))
			continue;
		l->runqueues = start + x->runqueues;
		l->hardirq_stack_ptr = start + x->irq_stack_ptr;
		l->idle_threads = l->runqueues + x->rq_idle;
		return 0;
	}
	return missing(e, "per-cpu areas");
}

/*
 * A task's stack in the vmalloc area ends at a page that is not mapped (CONFIG_VMAP_STACK). The task is
 * the one after init_task, which every running kernel has.
 */
static int stack_size(struct guest *g, struct layout *l, struct err *e)
{
	uint64_t task, stack, size = 0;
	struct walk_page page;

	if (walk_read_u64(&g->walk, l->init_task + l->tasks, &task, NULL) < 0 ||
	    walk_read_u64(&g->walk, task - l->tasks + l->stack, &stack, NULL) < 0)
		return missing(e, "list of tasks");
	while (size <= LAYOUT_STACK_MAX && walk_translate(&g->walk, stack + size, &page, NULL) == 0)
		size += PAGE;
	if (stack % PAGE || size < PAGE || size > LAYOUT_STACK_MAX || size & (size - 1))
		return missing(e, "stack size");
	l->thread_size = (uint32_t)size;
	return 0;
}

static void hiders_find(struct guest *g, struct layout *l)
{
	struct symbol_want want[] = {
		{ .name = "arch_rethook_trampoline" },
		{ .name = "__kretprobe_trampoline" },
		{ .name = "kretprobe_trampoline" },
		{ .name = "return_to_handler" },
	};

	symbols_resolve(&g->syms, want, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		if (want[i].found && image_holds(&g->window, want[i].addr))
			l->hiders[l->n_hiders++] = want[i].addr;
}

void arm64_bases_note(struct guest *g, const struct vcpu_regs *regs, size_t n_regs)
{
	g->n_cpu_bases = 0;
	for (size_t i = 0; i < n_regs && i < VCPU_MAX; i++)
		if (regs[i].arm64.tpidr)
			g->cpu_base[g->n_cpu_bases++] = regs[i].arm64.tpidr;
}

int arm64_layout(struct guest *g, struct layout *ret, struct err *e)
{
	struct layout_arm64 x = { 0 };
	struct layout l = { 0 };
	int r = btf_load(g, &l, &x, e);

	malloc_trim(0); /* libbpf needed several MiB; a worker per VM must stay small */
	if (r == 0)
		r = section_find(g, &l, &x, e);
	if (r == 0)
		r = stack_size(g, &l, e);
	if (r < 0)
		return r;
	hiders_find(g, &l);
	l.ready = true;
	*ret = l;
	return 0;
}
