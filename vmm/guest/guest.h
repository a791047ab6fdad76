/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What we know of a guest's kernel, found from its registers and memory alone:
 * page tables, kernel base (KASLR), banner, build-id, all kallsyms, BTF, kernel
 * stacks. Needs no agent, no debug info, no file of the guest. The guest is
 * hostile: every pointer is range-checked, every length capped, every loop
 * bounded, and the result is cross-checked before it is believed.
 */
#ifndef VMPOKE_VMM_GUEST_GUEST_H
#define VMPOKE_VMM_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"
#include "vmm/vcpu.h"

#define GUEST_SYMBOL_MAX 512 /* KSYM_NAME_LEN of Linux 6.1+ (include/linux/kallsyms.h) */

/* Where guest-physical bytes come from; embedded in the owner's object. */
struct guest_memory {
	/* Reads exactly len bytes; -EFAULT when any of them is not RAM. */
	int (*read)(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e);
};

struct guest_facts {
	enum vcpu_arch arch;
	char release[65];	/* "6.1.0-56-cloud-amd64" */
	char banner[256];	/* "Linux version ...", no newline */
	uint8_t build_id[20];
	char build_id_hex[41];
	uint64_t base;		/* address of _text; arm64: of _stext, before which nothing is mapped */
	uint64_t kaslr_offset;	/* base - 0xffffffff81000000; arm64: from where base was linked to, 0: not known */
	int64_t phys_base;	/* PA of the image = VA - 0xffffffff80000000 + phys_base, modulo 2^64 */
	uint64_t text_start, text_end; /* _stext .. _etext */
	uint64_t inittext_start, inittext_end; /* freed after boot: never patched */
	uint64_t kernel_cr3;	/* page-table root that maps the kernel (KPTI: the kernel half; arm64: of TTBR1_EL1) */
	unsigned paging_levels; /* 4 or 5 */
	bool kpti;		/* user mode has other tables; arm64: true only when a vCPU was seen on them */
	size_t symbols;		/* in kallsyms */
	const char *kallsyms_layout; /* "6.1" or "6.4+" ... */
};

struct guest;

/*
 * Finds the kernel. regs: n_regs vCPUs, at least one past the kernel's own page-table
 * set-up (any CPL). -ENOENT with a reason when no Linux kernel is found (still
 * booting, not Linux): kind ERR_FAILED; -EBADMSG when tables contradict each other.
 * mem must outlive the guest.
 */
int guest_probe(struct guest_memory *mem, const struct vcpu_regs *regs, size_t n_regs,
		struct guest **ret, struct err *e);
void guest_free(struct guest *g); /* NULL allowed */
DEFINE_CLEANUP(struct guest, guest_free)

/*
 * Is *g still the kernel that runs there? Re-reads build-id and banner at the known
 * place: 0, or -ESTALE (rebooted: probe again). Cheap enough to do before every use.
 * A guest with another build-id or base is another guest: facts are cached in
 * the object by build-id + base, in memory of this VM's worker only: a guest names its own build-id, so
 * a cache shared between VMs could be poisoned by one of them.
 */
int guest_revalidate(struct guest *g, const struct vcpu_regs *regs, size_t n_regs, struct err *e);

/*
 * Gives the symbol tables back, nearly all the memory a guest takes (1.5 to 3 MiB). The facts stay; no
 * symbol is found any more, and guest_revalidate() says -ESTALE: probe anew before the next use.
 */
void guest_shrink(struct guest *g); /* NULL allowed */

const struct guest_facts *guest_facts(const struct guest *g);

/* --- memory by guest-virtual address, through the kernel's page tables --- */

/* -EFAULT when not mapped. *ret_len: bytes from gva to the end of its page (or huge page). */
int guest_translate(struct guest *g, uint64_t gva, uint64_t *ret_gpa, uint64_t *ret_len, struct err *e);
int guest_read(struct guest *g, uint64_t gva, void *buf, size_t len, struct err *e);

/* --- symbols --- */

struct guest_symbol {
	uint64_t addr;
	char type; /* as /proc/kallsyms prints it */
	char name[GUEST_SYMBOL_MAX];
};

/* Symbol number i in kernel order (0 .. facts.symbols - 1). -ERANGE. */
int guest_symbol_get(const struct guest *g, size_t i, struct guest_symbol *ret);

/* Sequential walk, much cheaper than _get for all of them. Start with a zeroed cursor; 1, or 0 at the end. */
struct guest_symbol_cursor {
	size_t index, offset;
};
int guest_symbol_next(const struct guest *g, struct guest_symbol_cursor *c, struct guest_symbol *ret);

/* Puts the cursor before symbol number i. -ERANGE. */
int guest_symbol_seek(const struct guest *g, size_t i, struct guest_symbol_cursor *c);

/* Address by exact name. -ENOENT; -ENOTUNIQ (several with different addresses; *ret_count how many). */
int guest_symbol_find(const struct guest *g, const char *name, uint64_t *ret_addr, char *ret_type, size_t *ret_count);

/*
 * Makes guest_symbol_find() fast until guest_names_forget(), for some 10 ms and about 12 bytes a
 * symbol: worth it from a few names on. Without it, or when memory is short, a look-up takes 2 ms.
 */
void guest_names_index(struct guest *g);
void guest_names_forget(struct guest *g);

/*
 * The symbol that covers addr (the last one at or before it among text/data
 * symbols) and its size up to the next higher symbol. -ENOENT.
 */
int guest_symbol_at(const struct guest *g, uint64_t addr, struct guest_symbol *ret, uint64_t *ret_size);

/* "do_idle+0x3c" or "0x..." when there is no symbol. */
void guest_format_addr(const struct guest *g, uint64_t addr, char *buf, size_t cap);

/* Where a structure of this kernel keeps a member, by its own BTF. */
struct guest_member {
	const char *type, *member; /* "pv_lock_ops", "kick" */
	uint32_t offset;	   /* filled in */
};
/* -EOPNOTSUPP (rule "no-btf") when it has no BTF, or that does not say; some 10 ms. */
int guest_member_offsets(struct guest *g, struct guest_member *wants, size_t n, struct err *e);

/* True when [gva, gva + len) is core kernel text that stays after boot. */
bool guest_is_text(const struct guest *g, uint64_t gva, size_t len);

/* --- quiescence: does any saved context lie inside a range? --- */

struct guest_range {
	uint64_t start, end; /* a context at start is fine, one in (start, end) is not */
};

struct guest_blocker {
	int pid;		/* -1: not a task's stack */
	char comm[17];		/* printable */
	char where[48];		/* "task stack", "irq stack cpu 2", "NMI stack cpu 0", "vCPU 1" */
	uint64_t address;	/* the saved word */
	size_t range;		/* index of the range it is in */
};

enum guest_stacks {
	GUEST_STACKS_ALL,
	GUEST_STACKS_NOT_TASKS, /* not those of tasks but the idle ones: of these something else is known */
};

/*
 * With the VM paused: scans every task's kernel stack and the IRQ, exception and entry
 * stacks for words inside any range. regs: all vCPUs. Conservative: a stale word
 * may look like a context (the caller retries), a real one is never missed.
 * Returns 0 when clean, 1 and *ret for the first blocker, negative errno when the
 * stacks cannot be walked (-EOPNOTSUPP: no BTF; -EBADMSG: lists make no sense).
 */
int guest_stacks_scan(struct guest *g, const struct vcpu_regs *regs, size_t n_regs,
		      const struct guest_range *ranges, size_t n_ranges, enum guest_stacks which,
		      struct guest_blocker *ret, struct err *e);

/* Loads BTF offsets and symbols that guest_stacks_scan() needs; call before pausing so that the pause stays short. */
int guest_stacks_prepare(struct guest *g, struct err *e);

#endif
