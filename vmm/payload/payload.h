/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A payload: functions an operator compiled (`gcc -c`, or a module that klp-build made),
 * to be put into a guest's kernel. The object is untrusted: every count and size has a
 * cap, every offset is checked. Of its sections those are taken that the wanted functions
 * reach; what the kernel's module loader would have to do for them and nobody does here
 * is refused, never left undone. Knows ELF and machine code; no guest, no JSON. Facts:
 * System V ABI (x86-64 psABI, "Relocation"), Documentation/livepatch/module-elf-format.rst.
 */
#ifndef VMPOKE_VMM_PAYLOAD_PAYLOAD_H
#define VMPOKE_VMM_PAYLOAD_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define PAYLOAD_SECTIONS_MAX	4096
#define PAYLOAD_RELOCATIONS_MAX 65536
#define PAYLOAD_IMAGE_MAX	(256u << 10) /* bytes in the guest */
#define PAYLOAD_FUNCTIONS_MAX	64	     /* wanted of one object */
#define PAYLOAD_PAGE		4096u
#define PAYLOAD_LEAD		16u /* bytes before its text that nobody executes */

struct payload;

/* Where the symbols are that the object does not define. Embedded in the owner's object. */
struct payload_names {
	/*
	 * Address of the symbol; pos: the how many-th of that name in the kernel's own order (from 1), or 0
	 * when it must be the only one. -ENOENT; -ENOTUNIQ.
	 */
	int (*find)(struct payload_names *n, const char *name, unsigned long pos, uint64_t *ret);
};

/*
 * Reads the object (copied) and decides what of it goes into the guest. wanted: n names of functions it
 * defines, 1..PAYLOAD_FUNCTIONS_MAX. filename is for sentences only. ERR_USAGE, rule "payload-object", when it is no
 * relocatable x86-64 object; ERR_REFUSED with these rules:
 *   "payload-function" (-ENOENT: a wanted function is not in it), "payload-section" (it needs what only a
 *   module loader gives: writable data, thread-local storage, exception, bug, alternative and jump-label
 *   tables, constructors), "payload-code" (code that must not run in a kernel: red zone, %fs, vector registers),
 *   "payload-size" (-EFBIG).
 */
int payload_open(const void *object, size_t len, const char *filename, const char *const *wanted, size_t n,
		 struct payload **ret, struct err *e);
void payload_free(struct payload *p); /* NULL allowed */
DEFINE_CLEANUP(struct payload, payload_free)

/*
 * Bytes it takes in the guest, in whole pages: PAYLOAD_LEAD bytes of traps, text, then constants on pages of their
 * own. The traps are there so that nobody is ever interrupted at the first address, or returns to it: who asked the
 * guest for the memory has that one left on its stack, where it must not look like somebody inside.
 */
size_t payload_size(const struct payload *p);
/* Bytes of text at its beginning, a part of the above. */
size_t payload_text_size(const struct payload *p);

/* Where a function that was wanted begins, from the start of the image. -ENOENT. */
int payload_function(const struct payload *p, const char *name, size_t *ret_offset);

/*
 * Fills image (payload_size() bytes) as it has to read at guest address base. ERR_REFUSED, rules
 * "payload-symbol" (-ENOENT, -ENOTUNIQ), "payload-relocation" (unknown type, or -ERANGE: the target is out of
 * reach from base). May be called again for another base.
 */
int payload_link(struct payload *p, uint64_t base, struct payload_names *names, uint8_t *image, struct err *e);

/*
 * After payload_link(): does it hold the address of its own code anywhere but in calls and jumps? Then it may have
 * handed it to the guest (a timer, a callback), and no look at stacks tells that nobody will come back to it.
 */
bool payload_shows_code(const struct payload *p);

#endif
