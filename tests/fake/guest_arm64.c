// SPDX-License-Identifier: GPL-2.0-or-later
/* Builds the image of guest_arm64.h. Knows the formats from their specifications, not from vmm/guest. */
#include "tests/fake/guest_arm64.h"

#include <elf.h>
#include <errno.h>
#include <linux/btf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYMS	   320
#define SECTION	   (ARM_DATA + 0x60000) /* where the linker put per-cpu data; freed after boot */
#define INIT_TEXT  (ARM_DATA + 0x50000)
#define FUNC_JUMP  (ARM_TEXT + 0x1000)
#define FUNC_EX	   (ARM_TEXT + 0x1100)
#define FUNC_LOCK  (ARM_TEXT + 0x1200)
#define PAGE_RO	   (3 | 1ull << 7 | 1ull << 53 | 1ull << 54 | 1ull << 10)
#define PAGE_RW	   (3 | 1ull << 53 | 1ull << 54 | 1ull << 10)
#define BLOCK_EXEC (1 | 1ull << 7 | 1ull << 54 | 1ull << 10)

struct arm_builder {
	struct guest_arm64 *g;
	uint64_t at;
	struct {
		uint64_t addr;
		char type;
		char name[40];
	} sym[SYMS];
	size_t n;
};

void guest_arm64_put64(struct guest_arm64 *g, uint64_t gva, uint64_t value)
{
	memcpy(guest_arm64_at(g, gva), &value, sizeof(value));
}

static void arm_put32(struct guest_arm64 *g, uint64_t gva, uint32_t value)
{
	memcpy(guest_arm64_at(g, gva), &value, sizeof(value));
}

uint64_t *guest_arm64_pte(struct guest_arm64 *g, uint64_t gva)
{
	return (uint64_t *)(void *)(g->ram + ARM_TABLES + 0x3000) + (gva >> 12 & 511);
}

static int arm_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct guest_arm64 *g = container_of(m, struct guest_arm64, mem);

	if (gpa > ARM_RAM || len > ARM_RAM - gpa)
		return err_set_addr(e, ERR_FAILED, EFAULT, NULL, gpa, "not RAM");
	memcpy(buf, g->ram + gpa, len);
	return 0;
}

static void arm_put(struct arm_builder *b, const void *bytes, size_t len)
{
	memcpy(guest_arm64_at(b->g, b->at), bytes, len);
	b->at += len;
}

static void arm_align(struct arm_builder *b, uint64_t to)
{
	b->at = (b->at + to - 1) & ~(to - 1);
}

/* In ascending order of addresses. */
static void arm_sym(struct arm_builder *b, uint64_t addr, char type, const char *name)
{
	b->sym[b->n].addr = addr;
	b->sym[b->n].type = type;
	snprintf(b->sym[b->n++].name, sizeof(b->sym[0].name), "%s", name);
}

static void symbols(struct arm_builder *b)
{
	char name[32];

	arm_sym(b, ARM_TEXT, 'T', "_stext");
	arm_sym(b, ARM_TEXT + 0x800, 'T', "vectors");
	arm_sym(b, FUNC_JUMP, 'T', "jump_label_text_reserved");
	arm_sym(b, FUNC_EX, 'T', "search_kernel_exception_table");
	arm_sym(b, FUNC_EX + 0x80, 'T', "return_to_handler");
	arm_sym(b, FUNC_LOCK, 'T', "jump_label_lock");
	arm_sym(b, FUNC_LOCK + 0x20, 'T', "jump_label_unlock");
	arm_sym(b, FUNC_LOCK + 0x40, 'T', "__request_module");
	arm_sym(b, ARM_FUNC, 'T', "do_nothing");
	arm_sym(b, ARM_FUNC_END, 'T', "do_something");
	for (unsigned i = 0; b->n < SYMS - 3; i++) {
		snprintf(name, sizeof(name), "filler_%u", i);
		arm_sym(b, ARM_TEXT + 0x3000 + 16 * i, 't', name);
	}
	arm_sym(b, ARM_ETEXT, 'D', "_etext");
	arm_sym(b, INIT_TEXT, 'T', "_sinittext");
	arm_sym(b, INIT_TEXT + 0x1000, 'T', "_einittext");
}

/* Tokens are characters. Linux 6.1: offsets, base, count, names, markers, sequence numbers, tokens, index. */
static void kallsyms(struct arm_builder *b)
{
	uint32_t markers[SYMS / 256 + 1] = { 0 };
	uint16_t index[256];

	arm_align(b, 8);
	for (size_t i = 0; i < b->n; i++)
		arm_put(b, &(uint32_t){ (uint32_t)(b->sym[i].addr - ARM_TEXT) }, 4);
	arm_align(b, 8);
	arm_put(b, &(uint64_t){ ARM_TEXT }, 8);
	b->g->num_syms = b->at;
	arm_put(b, &(uint64_t){ b->n }, 8);
	uint64_t names = b->at;
	for (size_t i = 0; i < b->n; i++) {
		size_t len = strlen(b->sym[i].name) + 1;
		if (i % 256 == 0)
			markers[i / 256] = (uint32_t)(b->at - names);
		arm_put(b, &(uint8_t){ (uint8_t)len }, 1);
		arm_put(b, &b->sym[i].type, 1);
		arm_put(b, b->sym[i].name, len - 1);
	}
	arm_align(b, 8);
	arm_put(b, markers, (b->n + 255) / 256 * 4);
	arm_align(b, 8);
	b->at += 3 * b->n;
	arm_align(b, 8);
	b->g->token_table = b->at;
	for (int i = 0; i < 256; i++) {
		char token[2] = { i > 0x20 && i < 0x7f ? (char)i : '\0', '\0' };
		index[i] = (uint16_t)(b->at - b->g->token_table);
		arm_put(b, token, strlen(token) + 1);
	}
	arm_align(b, 8);
	arm_put(b, index, sizeof(index));
}

/* ADRP and ADD of two addresses, as a compiler schedules them. */
static void code_refers(struct guest_arm64 *g, uint64_t gva, uint64_t first, uint64_t second)
{
	const uint64_t to[] = { first, second };

	for (uint32_t i = 0; i < 2; i++) {
		uint32_t pages = (uint32_t)((to[i] >> 12) - (gva >> 12));
		arm_put32(g, gva + 4 * i, 0x90000000u | (pages & 3) << 29 | (pages >> 2 & 0x7ffff) << 5 | i);
		arm_put32(g, gva + 8 + 4 * i, 0x91000000u | (uint32_t)(to[i] & 0xfff) << 10 | i << 5 | i);
	}
	arm_put32(g, gva + 16, 0xd65f03c0u);
}

/* ADRP x0; ADD x0, x0; B: a call at the end of the function. */
static void code_locks(struct guest_arm64 *g, uint64_t gva, uint64_t mutex)
{
	uint32_t pages = (uint32_t)((mutex >> 12) - (gva >> 12));

	arm_put32(g, gva, 0x90000000u | (pages & 3) << 29 | (pages >> 2 & 0x7ffff) << 5);
	arm_put32(g, gva + 4, 0x91000000u | (uint32_t)(mutex & 0xfff) << 10);
	arm_put32(g, gva + 8, 0x14000040u);
}

static void reference_tables(struct arm_builder *b)
{
	arm_align(b, 8);
	b->g->jump_table = b->at;
	for (int i = 0; i < 3; i++) {
		arm_put(b, &(int32_t){ (int32_t)(ARM_FUNC + 8 - b->at) }, 4);
		arm_put(b, &(int32_t){ (int32_t)(ARM_FUNC + 16 - b->at) }, 4);
		arm_put(b, &(uint64_t){ 1 }, 8);
	}
	b->g->jump_table_end = b->at;
	code_refers(b->g, FUNC_JUMP, b->g->jump_table, b->g->jump_table_end);
	uint64_t start = b->at;
	for (int i = 0; i < 2; i++) {
		arm_put(b, &(int32_t){ (int32_t)(ARM_TEXT + 0x2800 - b->at) }, 4);
		arm_put(b, &(int32_t){ (int32_t)(ARM_TEXT + 0x2900 - b->at) }, 4);
		arm_put(b, &(uint32_t){ 0 }, 4);
	}
	code_refers(b->g, FUNC_EX, b->at, start); /* the other way round */
	arm_align(b, 8);
	b->g->mutex = b->at;
	b->at += 32;
	code_locks(b->g, FUNC_LOCK, b->g->mutex);
	code_locks(b->g, FUNC_LOCK + 0x20, b->g->mutex);
}

static void notes(struct arm_builder *b)
{
	const Elf64_Nhdr id = { 4, 20, NT_GNU_BUILD_ID };

	/* A vDSO's comes first. */
	arm_align(b, 4096);
	arm_put(b, "\177ELF", 4);
	arm_align(b, 64);
	arm_put(b, &id, sizeof(id));
	arm_put(b, "GNU", 4);
	b->at += 20;
	b->at = (b->at & ~4095ull) + 0x2000;
	b->g->notes = b->at;
	arm_put(b, &id, sizeof(id));
	arm_put(b, "GNU", 4);
	for (int i = 0; i < 20; i++)
		arm_put(b, &(uint8_t){ (uint8_t)(0xa0 + i) }, 1);
}

/* --- BTF --- */

struct arm_btf {
	uint8_t types[2048];
	char strings[1024];
	uint32_t n_types, n_strings;
};

static uint32_t arm_string(struct arm_btf *t, const char *s)
{
	uint32_t at = t->n_strings;

	strcpy(t->strings + at, s);
	t->n_strings += (uint32_t)strlen(s) + 1;
	return at;
}

static void arm_add(struct arm_btf *t, const void *bytes, size_t len)
{
	memcpy(t->types + t->n_types, bytes, len);
	t->n_types += (uint32_t)len;
}

static void arm_type(struct arm_btf *t, const char *name, uint32_t kind, uint32_t vlen, uint32_t size)
{
	struct btf_type type = { .name_off = arm_string(t, name), .info = kind << 24 | vlen, .size = size };

	arm_add(t, &type, sizeof(type));
}

static void arm_member(struct arm_btf *t, const char *name, uint32_t offset)
{
	arm_add(t, &(struct btf_member){ .name_off = arm_string(t, name), .type = 1, .offset = offset * 8 },
		sizeof(struct btf_member));
}

static void arm_struct(struct arm_btf *t, const char *name, const char *member, uint32_t offset)
{
	arm_type(t, name, BTF_KIND_STRUCT, 1, 128);
	arm_member(t, member, offset);
}

static void arm_var(struct arm_btf *t, const char *name)
{
	arm_type(t, name, BTF_KIND_VAR, 0, 1);
	arm_add(t, &(struct btf_var){ .linkage = BTF_VAR_GLOBAL_ALLOCATED }, sizeof(struct btf_var));
}

static void arm_types(struct arm_btf *t)
{
	arm_struct(t, "cpu_context", "sp", 88); /* type 1 */
	arm_struct(t, "thread_struct", "cpu_context", 0);
	arm_struct(t, "sched_entity", "group_node", 8);
	arm_struct(t, "signal_struct", "thread_head", 0);
	arm_type(t, "rq", BTF_KIND_STRUCT, 3, 64);
	arm_member(t, "cpu", ARM_RQ_CPU);
	arm_member(t, "idle", ARM_RQ_IDLE);
	arm_member(t, "cfs_tasks", ARM_RQ_CFS);
	arm_type(t, "task_struct", BTF_KIND_STRUCT, 9, ARM_TASK_BYTES);
	arm_member(t, "stack", ARM_TASK_STACK);
	arm_member(t, "on_cpu", ARM_TASK_ON_CPU);
	arm_member(t, "pid", ARM_TASK_PID);
	arm_member(t, "comm", ARM_TASK_COMM);
	arm_member(t, "tasks", ARM_TASK_LIST);
	arm_member(t, "thread_node", ARM_TASK_NODE);
	arm_member(t, "signal", ARM_TASK_SIGNAL);
	arm_member(t, "thread", ARM_TASK_CONTEXT);
	arm_member(t, "se", ARM_TASK_GROUP - 8);
	arm_var(t, "irq_stack_ptr"); /* type 7 */
	arm_var(t, "runqueues");
	arm_type(t, ".data..percpu", BTF_KIND_DATASEC, 2, 256);
	arm_add(t, &(struct btf_var_secinfo){ .type = 7, .offset = ARM_IRQ_STACK_PTR, .size = 8 },
		sizeof(struct btf_var_secinfo));
	arm_add(t, &(struct btf_var_secinfo){ .type = 8, .offset = ARM_RQ, .size = 64 },
		sizeof(struct btf_var_secinfo));
}

static void btf(struct arm_builder *b)
{
	struct arm_btf t = { .n_strings = 1 };
	struct btf_header h = { .magic = BTF_MAGIC, .version = BTF_VERSION, .hdr_len = sizeof(h) };

	arm_types(&t);
	h.type_len = h.str_off = t.n_types;
	h.str_len = t.n_strings;
	arm_align(b, 8);
	b->g->btf = b->at;
	arm_put(b, &h, sizeof(h));
	arm_put(b, t.types, t.n_types);
	arm_put(b, t.strings, t.n_strings);
}

/* --- data --- */

static void arm_ring(struct guest_arm64 *g, const uint64_t *node, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		guest_arm64_put64(g, node[i], node[(i + 1) % n]);
		guest_arm64_put64(g, node[i] + 8, node[(i + n - 1) % n]);
	}
}

static void arm_task_put(struct guest_arm64 *g, enum arm_task i, uint32_t pid, const char *comm)
{
	guest_arm64_put64(g, g->task[i] + ARM_TASK_STACK, g->stack[i]);
	guest_arm64_put64(g, g->task[i] + ARM_TASK_SP, g->stack[i] + ARM_STACK - 256);
	arm_put32(g, g->task[i] + ARM_TASK_PID, pid);
	guest_arm64_put64(g, g->task[i] + ARM_TASK_SIGNAL, g->task[i] + 200);
	memcpy(guest_arm64_at(g, g->task[i] + ARM_TASK_COMM), comm, strlen(comm));
	arm_ring(g, (uint64_t[]){ g->task[i] + ARM_TASK_LIST }, 1);
	arm_ring(g, (uint64_t[]){ g->task[i] + ARM_TASK_NODE }, 1);
}

static void tasks(struct arm_builder *b)
{
	static const struct {
		uint32_t pid;
		const char *comm;
	} rows[ARM_TASKS] = {
		{ 0, "swapper/0" }, { 1, "sleeper" }, { 2, "kernel" }, { 3, "user" }, { 0, "swapper/1" }
	};
	struct guest_arm64 *g = b->g;

	arm_align(b, 4096);
	for (int i = 0; i < ARM_TASKS; i++, b->at += ARM_TASK_BYTES)
		g->task[i] = b->at;
	arm_align(b, 4096);
	for (int i = 0; i < ARM_TASKS; i++, b->at += ARM_STACK + 4096) {
		g->stack[i] = b->at;
		*guest_arm64_pte(g, b->at + ARM_STACK) = 0; /* the guard page */
	}
	for (int i = 0; i < ARM_TASKS; i++)
		arm_task_put(g, (enum arm_task)i, rows[i].pid, rows[i].comm);
	uint64_t list[] = { g->task[ARM_INIT] + ARM_TASK_LIST, g->task[ARM_SLEEPER] + ARM_TASK_LIST,
			    g->task[ARM_KERNEL] + ARM_TASK_LIST, g->task[ARM_USER] + ARM_TASK_LIST };
	arm_ring(g, list, 4);
	arm_put32(g, g->task[ARM_KERNEL] + ARM_TASK_ON_CPU, 1);
	arm_put32(g, g->task[ARM_USER] + ARM_TASK_ON_CPU, 1);
}

static void per_cpu(struct arm_builder *b)
{
	struct guest_arm64 *g = b->g;

	for (uint32_t i = 0; i < ARM_CPUS; i++, b->at += ARM_PER_CPU_BYTES) {
		uint64_t p = g->per_cpu[i] = b->at;
		arm_put32(g, p + ARM_RQ + ARM_RQ_CPU, i);
		guest_arm64_put64(g, p + ARM_RQ + ARM_RQ_IDLE, g->task[i ? ARM_IDLE : ARM_INIT]);
		arm_ring(g, (uint64_t[]){ p + ARM_RQ + ARM_RQ_CFS }, 1);
		guest_arm64_put64(g, p + ARM_IRQ_STACK_PTR, p + 0x1000);
	}
}

static void page_tables(struct guest_arm64 *g, uint64_t ro_end)
{
	uint64_t *level[4];

	for (int i = 0; i < 4; i++)
		level[i] = (uint64_t *)(void *)(g->ram + ARM_TABLES + 0x1000 * (uint64_t)i);
	level[0][ARM_TEXT >> 39 & 511] = (ARM_TABLES + 0x1000) | 3;
	level[1][ARM_TEXT >> 30 & 511] = (ARM_TABLES + 0x2000) | 3;
	level[2][ARM_TEXT >> 21 & 511] = 0 | BLOCK_EXEC;
	level[2][ARM_DATA >> 21 & 511] = (ARM_TABLES + 0x3000) | 3;
	for (uint64_t at = ARM_DATA; at < ARM_TEXT + ARM_TABLES - 0x10000; at += 4096)
		level[3][at >> 12 & 511] = (at - ARM_TEXT) | (at < ro_end ? PAGE_RO : PAGE_RW);
}

static void registers(struct guest_arm64 *g)
{
	for (int i = 0; i < ARM_CPUS; i++) {
		struct vcpu_regs *r = &g->regs[i];
		*r = (struct vcpu_regs){ .arch = VCPU_ARM64, .rip = i ? 0x400000 : ARM_TEXT + 0x2a00 };
		r->arm64 = (struct vcpu_arm64){
			.pstate = i ? 0 : 5,
			.sp = i ? 0x7fff0000 : g->stack[ARM_KERNEL] + ARM_STACK - 512,
			.sp_el0 = g->task[ARM_KERNEL],
			.sp_el1 = g->stack[ARM_USER] + ARM_STACK,
			.ttbr1 = ARM_TABLES | 1 | (uint64_t)(i + 1) << 48,
			.tcr = 0x015001f5b5503510,
			.tpidr = g->per_cpu[i] - SECTION,
		};
	}
}

void guest_arm64_build(struct guest_arm64 *g)
{
	static const char banner[] = "Linux version 6.1.0-test-arm64 (nobody) #1 SMP\n";
	static struct arm_builder b;

	memset(g, 0, sizeof(*g));
	memset(&b, 0, sizeof(b));
	g->mem.read = arm_read;
	b.g = g;
	b.at = ARM_DATA;
	uint64_t ro_end = ARM_DATA + 0x10000;
	page_tables(g, ro_end);
	symbols(&b);
	g->banner = b.at;
	arm_put(&b, banner, sizeof(banner));
	reference_tables(&b);
	notes(&b);
	btf(&b);
	kallsyms(&b);
	if (b.at > ro_end)
		abort(); /* the image outgrew its plan */
	b.at = ro_end;
	tasks(&b);
	arm_align(&b, 4096);
	per_cpu(&b);
	if (b.at > INIT_TEXT)
		abort();
	registers(g);
}
