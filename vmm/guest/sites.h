/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's own lists of places in its text, read from guest memory: those it
 * rewrites while it runs (static keys, static calls), and those it jumps to after a
 * fault. Who changes one of the former must keep the guest's data true to it: the
 * kernel compares before it writes, and BUG()s when it finds other bytes than its own.
 */
#ifndef VMPOKE_VMM_GUEST_SITES_H
#define VMPOKE_VMM_GUEST_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"

struct guest;

#define GUEST_SITES_MAX (1u << 20) /* of one kind, modules included; Debian's kernels have 6,000 */

enum guest_site_kind {
	GUEST_SITE_STATIC_KEY,	/* __jump_table: include/linux/jump_label.h, struct jump_entry */
	GUEST_SITE_STATIC_CALL, /* .static_call_sites: include/linux/static_call_types.h */
	GUEST_SITE_FENTRY,	/* where ftrace may put a call: its own records, as __mcount_loc is freed after boot */
	GUEST_SITE_FIXUP,	/* __ex_table: arch/x86/include/asm/extable.h */
	GUEST_SITE_KINDS,
};

struct guest_site {
	uint64_t at;	 /* the instruction */
	uint64_t target; /* static key: where its jump leads; fixup: where the kernel goes on */
	uint64_t key;	 /* of the struct static_key or static_call_key */
	bool inverted;	 /* static key: the instruction jumps while the key is disabled */
	bool tail;	 /* static call: a jump in place of a call and a return */
	bool init;	 /* in text of the boot: freed, and never looked at again by the guest */
	bool module;	 /* in the text of a module that is loaded */
};

struct guest_sites {
	struct guest_site *site; /* ascending by at; owned */
	size_t n;
	bool whole; /* those of all modules are among them; else modules_why says what keeps them away */
	char modules_why[128];
};

/*
 * All sites of that kind, those of modules included as far as they can be known; none where the kernel
 * lacks the table. -EBADMSG (ERR_REFUSED, "self-patched")
 * when a table cannot be one; -EFAULT where memory cannot be read; -ENOMEM.
 */
int guest_sites_read(struct guest *g, enum guest_site_kind kind, struct guest_sites *ret, struct err *e);
void guest_sites_clear(struct guest_sites *s);

/* The first site at or behind addr, as an index; s->n when there is none. */
size_t guest_sites_from(const struct guest_sites *s, uint64_t addr);

const char *guest_site_kind_name(enum guest_site_kind kind); /* "static_key", "static_call", "fentry", "fixup" */
int guest_site_kind_from_name(const char *name);	     /* -EINVAL; NULL allowed */

/*
 * The start of struct static_key and struct static_call_key: state (int) or function, and behind
 * it a pointer whose low bits say what it points to (offset 8 in both).
 */
#define GUEST_KEY_LINKED UINT64_C(2) /* static key, JUMP_TYPE_LINKED: to a list of modules that use it too */
#define GUEST_CALL_SITES UINT64_C(1) /* static call: to the sites themselves; else to a list of modules */

/*
 * Where a kernel shows that it is changing its own text, or about to: its locks and the state of
 * its text_poke. Found before the VM is paused, looked at while it is.
 */
#define GUEST_PATCHING_SIGNS 5
struct guest_patching {
	uint64_t place[GUEST_PATCHING_SIGNS]; /* 0: this kernel does not have it */
};
/* -EOPNOTSUPP (ERR_REFUSED, "guest-poking") for a kernel in which it cannot be told. */
int guest_patching_prepare(struct guest *g, struct guest_patching *ret, struct err *e);
/*
 * ours: the task that holds text_mutex for us, which is no sign; 0: none does.
 * 0: it is not. 1: it is, *e (ERR_TIMEOUT, "guest-poking") says what shows it. Negative: memory cannot be read.
 */
int guest_patching_look(struct guest *g, const struct guest_patching *p, uint64_t ours, struct err *e);

#endif
