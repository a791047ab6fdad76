// SPDX-License-Identifier: GPL-2.0-or-later
/* Builds the image of guest_image.h. Knows the formats from their specifications, not from vmm/guest. */
#include "tests/fake/guest_image.h"

#include <elf.h>
#include <errno.h>
#include <linux/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAP	 0xffffffff80000000ull
#define SYMS_MAX 2048

struct sym {
	uint64_t addr;
	char type;
	char name[48];
};

struct builder {
	struct guest_image *g;
	uint64_t at; /* next free address */
	struct sym sym[SYMS_MAX];
	size_t n;
	const char *token[256];
	char single[256][2];
};

void guest_image_put64(struct guest_image *g, uint64_t gva, uint64_t value)
{
	memcpy(guest_image_at(g, gva), &value, sizeof(value));
}

void guest_image_put32(struct guest_image *g, uint64_t gva, uint32_t value)
{
	memcpy(guest_image_at(g, gva), &value, sizeof(value));
}

static int image_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct guest_image *g = container_of(m, struct guest_image, mem);

	g->reads++;
	if (gpa > IMAGE_RAM || len > IMAGE_RAM - gpa)
		return err_set_addr(e, ERR_FAILED, EFAULT, NULL, gpa, "not RAM");
	memcpy(buf, g->ram + gpa, len);
	return 0;
}

static void put(struct builder *b, const void *bytes, size_t len)
{
	memcpy(guest_image_at(b->g, b->at), bytes, len);
	b->at += len;
}

static void put8(struct builder *b, uint8_t v)
{
	put(b, &v, 1);
}
static void put32(struct builder *b, uint32_t v)
{
	put(b, &v, 4);
}
static void put64(struct builder *b, uint64_t v)
{
	put(b, &v, 8);
}

static void align(struct builder *b, uint64_t to)
{
	b->at = (b->at + to - 1) & ~(to - 1);
}

static void sym(struct builder *b, uint64_t addr, char type, const char *name)
{
	struct sym *s = &b->sym[b->n++];

	s->addr = addr;
	s->type = type;
	snprintf(s->name, sizeof(s->name), "%s", name);
}

static int by_addr(const void *a, const void *b)
{
	const struct sym *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

/* --- kallsyms --- */

static void tokens_fill(struct builder *b)
{
	for (int i = 0; i < 256; i++) {
		b->single[i][0] = i > 0x20 && i < 0x7f ? (char)i : '\0';
		b->token[i] = b->single[i];
	}
	b->token[0x01] = "init";
	b->token[0x80] = "_task";
	b->token[0x81] = "Tdo_";
	b->token[0x82] = "filler_";
}

static size_t compress(struct builder *b, const char *text, uint8_t *out)
{
	size_t n = 0;

	while (*text) {
		int best = (uint8_t)*text;
		for (int i = 0; i < 256; i++)
			if (strlen(b->token[i]) > strlen(b->token[best]) &&
			    strncmp(text, b->token[i], strlen(b->token[i])) == 0)
				best = i;
		text += strlen(b->token[best]);
		out[n++] = (uint8_t)best;
	}
	return n;
}

static void names_put(struct builder *b)
{
	uint32_t markers[SYMS_MAX / 256 + 1];

	align(b, 8);
	b->g->num_syms = b->at;
	put32(b, (uint32_t)b->n);
	align(b, 8);
	b->g->names = b->at;
	for (size_t i = 0; i < b->n; i++) {
		char text[64];
		uint8_t out[64];
		if (i % 256 == 0)
			markers[i / 256] = (uint32_t)(b->at - b->g->names);
		snprintf(text, sizeof(text), "%c%s", b->sym[i].type, b->sym[i].name);
		size_t n = compress(b, text, out);
		put8(b, (uint8_t)n);
		put(b, out, n);
	}
	align(b, 8);
	b->g->markers = b->at;
	put(b, markers, (b->n + 255) / 256 * 4);
	align(b, 8);
}

static void tokens_put(struct builder *b)
{
	uint16_t index[256];

	align(b, 8);
	b->g->token_table = b->at;
	for (int i = 0; i < 256; i++) {
		index[i] = (uint16_t)(b->at - b->g->token_table);
		put(b, b->token[i], strlen(b->token[i]) + 1);
	}
	align(b, 8);
	put(b, index, sizeof(index));
	align(b, 8);
}

static void offsets_put(struct builder *b)
{
	align(b, 8);
	b->g->offsets = b->at;
	for (size_t i = 0; i < b->n; i++)
		put32(b, b->sym[i].addr < MAP ? (uint32_t)b->sym[i].addr : (uint32_t)(IMAGE_BASE - 1 - b->sym[i].addr));
	align(b, 8);
	b->g->relative_base = b->at;
	put64(b, IMAGE_BASE);
}

static void seqs_put(struct builder *b)
{
	for (size_t i = 0; i < 3 * b->n; i++)
		put8(b, (uint8_t)(i * 7));
	align(b, 8);
}

static void kallsyms_put(struct builder *b, const struct guest_image_options *o)
{
	qsort(b->sym, b->n, sizeof(b->sym[0]), by_addr);
	tokens_fill(b);
	if (o->layout != IMAGE_64)
		offsets_put(b);
	names_put(b);
	if (o->layout == IMAGE_61)
		seqs_put(b);
	tokens_put(b);
	if (o->layout == IMAGE_64) {
		offsets_put(b);
		seqs_put(b);
	}
}

/* --- notes and BTF --- */

static void notes_put(struct builder *b)
{
	const Elf64_Nhdr salt = { 6, 4, 256 }, id = { 4, 20, NT_GNU_BUILD_ID };

	align(b, 4);
	b->g->notes = b->at;
	sym(b, b->at, 'R', "__start_notes");
	put(b, &salt, sizeof(salt));
	put(b, "Linux\0\0\0salt", 12);
	put(b, &id, sizeof(id));
	put(b, "GNU", 4);
	for (int i = 0; i < 20; i++)
		put8(b, (uint8_t)(0xa0 + i));
	sym(b, b->at, 'R', "__stop_notes");
}

struct btf_builder {
	uint8_t types[2048];
	char strings[1024];
	uint32_t n_types, n_strings;
};

static uint32_t btf_string(struct btf_builder *t, const char *s)
{
	uint32_t at = t->n_strings;

	strcpy(t->strings + at, s);
	t->n_strings += (uint32_t)strlen(s) + 1;
	return at;
}

static void btf_struct(struct btf_builder *t, const char *name, uint32_t size, uint32_t n_members)
{
	struct btf_type type = { .name_off = *name ? btf_string(t, name) : 0,
				 .info = (uint32_t)BTF_KIND_STRUCT << 24 | n_members,
				 .size = size };

	memcpy(t->types + t->n_types, &type, sizeof(type));
	t->n_types += (uint32_t)sizeof(type);
}

static void btf_field(struct btf_builder *t, const char *name, uint32_t offset, uint32_t type)
{
	struct btf_member m = { .name_off = *name ? btf_string(t, name) : 0, .type = type, .offset = offset * 8 };

	memcpy(t->types + t->n_types, &m, sizeof(m));
	t->n_types += (uint32_t)sizeof(m);
}

static void btf_types(struct btf_builder *t)
{
	btf_struct(t, "irq_stack", 4096, 0);
	btf_struct(t, "exception_stacks", 4096, 0);
	btf_struct(t, "", 64, 2); /* type 3 */
	btf_field(t, "current_task", 0, 1);
	btf_field(t, "hardirq_stack_ptr", PCPU_HARDIRQ - PCPU_CURRENT, 1);
	btf_struct(t, "pcpu_hot", 64, 1);
	btf_field(t, "", 0, 3);
	btf_struct(t, "thread_struct", 16, 1);
	btf_field(t, "sp", 8, 1);
	btf_struct(t, "sched_entity", 24, 1);
	btf_field(t, "group_node", 8, 1);
	btf_struct(t, "signal_struct", 16, 1);
	btf_field(t, "thread_head", 0, 1);
	btf_struct(t, "rq", 64, 1);
	btf_field(t, "cfs_tasks", PCPU_CFS - PCPU_RQ, 1);
	btf_struct(t, "task_struct", TASK_BYTES, 9);
	btf_field(t, "stack", TASK_STACK, 1);
	btf_field(t, "on_cpu", TASK_ON_CPU, 1);
	btf_field(t, "pid", TASK_PID, 1);
	btf_field(t, "comm", TASK_COMM, 1);
	btf_field(t, "tasks", TASK_TASKS, 1);
	btf_field(t, "thread_node", TASK_NODE, 1);
	btf_field(t, "signal", TASK_SIGNAL, 1);
	btf_field(t, "thread", TASK_THREAD_SP - 8, 4);
	btf_field(t, "se", TASK_GROUP - 8, 5);
	btf_struct(t, "module", MODULE_BYTES, 7);
	btf_field(t, "state", MODULE_STATE, 1);
	btf_field(t, "list", MODULE_LIST, 1);
	btf_field(t, "jump_entries", MODULE_KEYS, 1);
	btf_field(t, "num_jump_entries", MODULE_N_KEYS, 1);
	btf_field(t, "static_call_sites", MODULE_CALLS, 1);
	btf_field(t, "num_static_call_sites", MODULE_N_CALLS, 1);
	btf_field(t, "mem", MODULE_MEM, 1);
	btf_struct(t, "ftrace_page", 24, 3);
	btf_field(t, "next", 0, 1);
	btf_field(t, "records", 8, 1);
	btf_field(t, "index", 16, 1);
	btf_struct(t, "dyn_ftrace", FTRACE_BYTES, 1);
	btf_field(t, "ip", 0, 1);
	btf_struct(t, "kprobe", KPROBE_BYTES, 2);
	btf_field(t, "hlist", KPROBE_LINK, 1);
	btf_field(t, "addr", KPROBE_ADDR, 1);
	btf_struct(t, "module_memory", 16, 2);
	btf_field(t, "base", 0, 1);
	btf_field(t, "size", 8, 1);
}

static void btf_put(struct builder *b)
{
	struct btf_builder t = { .n_strings = 1 };
	struct btf_header h = { .magic = BTF_MAGIC, .version = BTF_VERSION, .hdr_len = sizeof(h) };

	btf_types(&t);
	h.type_len = t.n_types;
	h.str_off = t.n_types;
	h.str_len = t.n_strings;
	align(b, 8);
	b->g->btf = b->at;
	sym(b, b->at, 'R', "__start_BTF");
	put(b, &h, sizeof(h));
	put(b, t.types, t.n_types);
	put(b, t.strings, t.n_strings);
	sym(b, b->at, 'R', "__stop_BTF");
}

/* --- data --- */

static void ring(struct guest_image *g, const uint64_t *node, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		guest_image_put64(g, node[i], node[(i + 1) % n]);
		guest_image_put64(g, node[i] + 8, node[(i + n - 1) % n]);
	}
}

static void task_put(struct builder *b, enum image_task i, int pid, const char *comm)
{
	struct guest_image *g = b->g;

	guest_image_put64(g, g->task[i] + TASK_STACK, g->stack[i]);
	guest_image_put64(g, g->task[i] + TASK_THREAD_SP, g->stack[i] + IMAGE_STACK - 256);
	guest_image_put32(g, g->task[i] + TASK_PID, (uint32_t)pid);
	guest_image_put64(g, g->task[i] + TASK_SIGNAL, g->signal[0]);
	memcpy(guest_image_at(g, g->task[i] + TASK_COMM), comm, strlen(comm));
	ring(g, (uint64_t[]){ g->task[i] + TASK_TASKS }, 1);
	ring(g, (uint64_t[]){ g->task[i] + TASK_NODE }, 1);
}

static void tasks_put(struct builder *b)
{
	struct guest_image *g = b->g;

	for (int i = 0; i < TASK_COUNT; i++) {
		g->task[i] = b->at;
		b->at += TASK_BYTES;
	}
	g->signal[0] = b->at;
	g->signal[1] = b->at + 16;
	align(b, 4096);
	for (int i = 0; i < TASK_COUNT; i++, b->at += IMAGE_STACK)
		g->stack[i] = b->at;
	sym(b, g->task[TASK_INIT], 'D', "init_task");
	sym(b, g->stack[TASK_INIT], 'D', "__start_init_task");
	sym(b, g->stack[TASK_INIT] + IMAGE_STACK, 'D', "__end_init_task");
	task_put(b, TASK_INIT, 0, "swapper/0");
	task_put(b, TASK_ONE, 1, "one");
	task_put(b, TASK_TWO, 2, "two");
	task_put(b, TASK_THREAD, 3, "thread");
	task_put(b, TASK_IDLE, 0, "swapper/1");
	guest_image_put64(g, g->task[TASK_ONE] + TASK_SIGNAL, g->signal[1]);
	guest_image_put32(g, g->task[TASK_TWO] + TASK_ON_CPU, 1);
	guest_image_put32(g, g->task[TASK_IDLE] + TASK_ON_CPU, 1);
	ring(g,
	     (uint64_t[]){ g->task[TASK_INIT] + TASK_TASKS, g->task[TASK_ONE] + TASK_TASKS,
			   g->task[TASK_TWO] + TASK_TASKS },
	     3);
	ring(g, (uint64_t[]){ g->signal[1], g->task[TASK_ONE] + TASK_NODE, g->task[TASK_THREAD] + TASK_NODE }, 3);
}

static void per_cpu_put(struct builder *b)
{
	struct guest_image *g = b->g;
	const enum image_task current[] = { TASK_TWO, TASK_IDLE }, idle[] = { TASK_INIT, TASK_IDLE };

	for (int i = 0; i < IMAGE_CPUS; i++, b->at += PCPU_BYTES) {
		uint64_t p = g->per_cpu[i] = b->at;
		guest_image_put64(g, p + PCPU_CURRENT, g->task[current[i]]);
		guest_image_put64(g, p + PCPU_HARDIRQ, p + PCPU_IRQ + 4096 - 8);
		guest_image_put64(g, p + PCPU_IDLE, g->task[idle[i]]);
		ring(g, (uint64_t[]){ p + PCPU_CFS }, 1);
	}
	ring(g, (uint64_t[]){ g->per_cpu[0] + PCPU_CFS, g->task[TASK_TWO] + TASK_GROUP }, 2);
}

static void per_cpu_symbols(struct builder *b, bool hot)
{
	sym(b, PCPU_IRQ, 'A', "irq_stack_backing_store");
	sym(b, PCPU_EXCEPTION, 'A', "exception_stacks");
	sym(b, PCPU_ENTRY, 'A', "entry_stack_storage");
	sym(b, PCPU_CURRENT, 'A', hot ? "pcpu_hot" : "current_task");
	if (!hot)
		sym(b, PCPU_HARDIRQ, 'A', "hardirq_stack_ptr");
	sym(b, PCPU_IDLE, 'A', "idle_threads");
	sym(b, PCPU_RQ, 'A', "runqueues");
}

static void text_symbols(struct builder *b)
{
	sym(b, IMAGE_BASE, 'T', "_text");
	sym(b, IMAGE_BASE, 'T', "_stext");
	sym(b, IMAGE_BASE + 0x100, 't', "twin");
	sym(b, IMAGE_BASE + 0x180, 't', "twin");
	sym(b, IMAGE_FUNC, 'T', "do_nothing");
	sym(b, IMAGE_FUNC, 't', "__alias_of_nothing");
	sym(b, IMAGE_FUNC_END, 'T', "do_something");
	sym(b, IMAGE_HANDLER, 'T', "asm_exc_page_fault");
	sym(b, IMAGE_BASE + 0x900, 'T', "return_to_handler");
	sym(b, IMAGE_ETEXT, 'T', "_etext");
}

/* Variables of fixed size, in one page; the GDT-like rest of a kernel does not matter here. */
static void data_put(struct builder *b)
{
	struct guest_image *g = b->g;

	g->phys_base = b->at;
	sym(b, b->at, 'D', "phys_base");
	put64(b, IMAGE_PA - (IMAGE_BASE - MAP));
	sym(b, b->at, 'D', "nr_cpu_ids");
	put64(b, IMAGE_CPUS);
	sym(b, b->at, 'D', "__per_cpu_offset");
	for (int i = 0; i < IMAGE_CPUS; i++)
		put64(b, g->per_cpu[i]);
	align(b, 16);
	g->regs[0].idt_base = b->at;
	for (int i = 0; i < 32; i++) {
		put64(b, (IMAGE_HANDLER & 0xffff) | 0x8e0000100000ull | (IMAGE_HANDLER >> 16 & 0xffff) << 48);
		put64(b, IMAGE_HANDLER >> 32);
	}
	sym(b, b->at, 'T', "_sinittext");
	sym(b, b->at, 'T', "_einittext");
}

static void entry(struct guest_image *g, uint64_t table, uint64_t index, uint64_t value)
{
	memcpy(g->ram + table + index * 8, &value, 8);
}

/* Text is executable, what lies before rodata_end read-only, all else writable; the top table as last page. */
static void tables_put(struct guest_image *g, const struct guest_image_options *o, uint64_t rodata_end)
{
	const uint64_t p4d = 0x4000, pud = 0x5000, pmd = 0x6000, pt = 0x7000, rw = 3, nx = 1ull << 63;

	entry(g, IMAGE_PGD, 511, (o->five_levels ? p4d : pud) | rw);
	if (o->kpti) /* the user half maps the same in this small guest: only that it exists matters */
		entry(g, IMAGE_PGD + 4096, 511, (o->five_levels ? p4d : pud) | rw);
	entry(g, p4d, 511, pud | rw);
	entry(g, pud, 510, pmd | rw);
	entry(g, pmd, (IMAGE_BASE >> 21) & 511, pt | rw);
	for (uint64_t at = IMAGE_BASE; at < g->end; at += 4096) {
		uint64_t flags = at < IMAGE_ETEXT ? 1 : at < rodata_end ? 1 | nx : rw | nx;
		entry(g, pt, (at >> 12) & 511, (IMAGE_PA + at - IMAGE_BASE) | flags);
	}
	entry(g, pt, (g->end >> 12) & 511, IMAGE_PGD | rw | nx);
}

static void regs_put(struct guest_image *g, const struct guest_image_options *o)
{
	for (int i = 0; i < IMAGE_CPUS; i++) {
		struct vcpu_regs *r = &g->regs[i];
		*r = (struct vcpu_regs){
			.rip = IMAGE_BASE + 0x400,
			.cs = 0x10,
			.ss = 0x18,
			.gs_base = g->per_cpu[i],
			.cr0 = 0x80050033,
			.cr3 = IMAGE_PGD,
			.cr4 = 0x6b0 | (o->five_levels ? 0x1000 : 0),
			.efer = 0xd01,
			.idt_base = g->regs[0].idt_base,
			.has_idt = true,
		};
		r->gpr[VCPU_RSP] = g->stack[i ? TASK_IDLE : TASK_TWO] + IMAGE_STACK - 512;
	}
}

void guest_image_build(struct guest_image *g, const struct guest_image_options *o)
{
	static const char banner[] = "Linux version 6.1.0-test (nobody) #1 SMP\n";
	static struct builder b; /* too big for a small stack */

	memset(g, 0, sizeof(*g));
	memset(&b, 0, sizeof(b));
	g->mem.read = image_read;
	b.g = g;
	b.at = IMAGE_ETEXT + 0x2000 + (o->fillers * 16 + 4095) / 4096 * 4096; /* room for tables before the data */
	uint64_t rodata_end = b.at + 0x2000;
	b.at = rodata_end;
	tasks_put(&b);
	per_cpu_put(&b);
	data_put(&b);
	align(&b, 4096);
	g->end = b.at;
	sym(&b, g->end, 'D', "init_top_pgt");
	sym(&b, g->end + 0x1000, 'B', "_end");
	text_symbols(&b);
	per_cpu_symbols(&b, o->hot);
	b.at = IMAGE_ETEXT;
	g->banner = b.at;
	sym(&b, b.at, 'D', "linux_banner");
	put(&b, banner, sizeof(banner));
	b.at += 64; /* a gap for tests to use */
	notes_put(&b);
	btf_put(&b);
	for (size_t i = 0; i < o->fillers; i++) {
		char name[32];
		snprintf(name, sizeof(name), "filler_%zu", i);
		sym(&b, IMAGE_BASE + 0xa00 + i % 0x500, 't', name);
	}
	for (size_t i = 0; i < o->n_extra; i++)
		sym(&b, o->extra[i].addr, 'T', o->extra[i].name);
	kallsyms_put(&b, o);
	if (b.at > rodata_end || b.n > SYMS_MAX || IMAGE_PA + g->end - IMAGE_BASE > IMAGE_RAM)
		abort(); /* the image outgrew its plan */
	tables_put(g, o, rodata_end);
	regs_put(g, o);
}
