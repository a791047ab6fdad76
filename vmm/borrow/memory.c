// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory for payloads, got from the kernel as it gets a module's: allocate (writable,
 * not executable), make it read-only, then executable, in the order of the module
 * loader. What the functions say is not believed: the page tables are looked at. Must
 * never be writable and executable for the guest at a time.
 */
#include <errno.h>
#include <string.h>

#include "vmm/borrow/borrow_private.h"
#include "vmm/guest/walk.h"

#define PAGE		    4096u
#define EXECMEM_MODULE_TEXT 0		/* include/linux/execmem.h */
#define REACH		    0x7ff00000u /* of a rel32, with room for what is added to it */

struct page_bits {
	bool exec, write; /* of any page */
	bool all_exec;
};

struct tables {
	struct guest_memory memory;
	struct backend *backend;
};

static int tables_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct backend *backend = container_of(m, struct tables, memory)->backend;

	return backend->ops->read(backend, gpa, buf, len, e);
}

static int look(struct borrow *b, uint64_t gva, size_t size, struct page_bits *ret, struct err *e)
{
	const struct guest_facts *facts = guest_facts(b->guest);
	struct tables tables = { .memory.read = tables_read, .backend = b->backend };
	struct page_bits bits = { .all_exec = true };
	struct walk walk;
	int r = walk_init(&walk, &tables.memory, facts->kernel_cr3, facts->paging_levels);

	if (r < 0)
		return err_set(e, ERR_FAILED, -r, "", "out of memory");
	for (size_t at = 0; r >= 0 && at < size; at += PAGE) {
		struct walk_page page;
		r = walk_translate(&walk, gva + at, &page, e);
		if (r < 0)
			break;
		bits.exec |= page.exec;
		bits.all_exec &= page.exec;
		bits.write |= page.write;
	}
	walk_done(&walk);
	if (r >= 0)
		*ret = bits;
	return r < 0 ? r : 0;
}

static int allocate(struct borrow *b, size_t size, uint64_t timeout_us, uint64_t *ret, struct err *e)
{
	const uint64_t args[] = { EXECMEM_MODULE_TEXT, size };

	if (borrow_has(b, BORROW_EXECMEM_ALLOC))
		return borrow_call(b, BORROW_EXECMEM_ALLOC, args, 2, timeout_us, ret, e);
	return borrow_call(b, BORROW_MODULE_ALLOC, args + 1, 1, timeout_us, ret, e);
}

static int release(struct borrow *b, uint64_t gva, uint64_t timeout_us, struct err *e)
{
	bool execmem = borrow_has(b, BORROW_EXECMEM_FREE);

	return borrow_call(b, execmem ? BORROW_EXECMEM_FREE : BORROW_VFREE, &gva, 1, timeout_us, NULL, e);
}

static int set_permission(struct borrow *b, enum borrow_function f, uint64_t gva, size_t size, uint64_t timeout_us,
			  struct err *e)
{
	const uint64_t args[] = { gva, size / PAGE };
	uint64_t result;
	int r = borrow_call(b, f, args, 2, timeout_us, &result, e);

	if (r >= 0 && (int32_t)result != 0)
		r = err_set_addr(e, ERR_FAILED, EIO, "borrow-memory", gva, "%s fails with %d",
				 borrow_function_info(f)->name, (int32_t)result);
	return r;
}

/* Newer kernels hand it out read-only and executable already. */
static int protect(struct borrow *b, uint64_t gva, size_t size, uint64_t timeout_us, struct err *e)
{
	struct page_bits bits = { 0 };
	int r = look(b, gva, size, &bits, e);

	if (r >= 0 && bits.write && bits.exec)
		return err_set_addr(e, ERR_REFUSED, EIO, "borrow-memory", gva,
				    "the kernel gave memory that is writable and executable");
	if (r >= 0 && bits.write)
		r = set_permission(b, BORROW_SET_MEMORY_RO, gva, size, timeout_us, e);
	if (r >= 0 && !bits.all_exec)
		r = set_permission(b, BORROW_SET_MEMORY_X, gva, size, timeout_us, e);
	if (r >= 0)
		r = look(b, gva, size, &bits, e);
	if (r >= 0 && (bits.write || !bits.all_exec))
		r = err_set_addr(e, ERR_FAILED, EIO, "borrow-memory", gva,
				 "the memory is %s after its permissions were changed",
				 bits.write ? "still writable" : "not executable");
	return r;
}

/* Where modules are: in reach of every branch of the kernel's text, and not that text itself. */
static bool in_reach(struct borrow *b, uint64_t gva, size_t size)
{
	const struct guest_facts *facts = guest_facts(b->guest);

	if (gva & (PAGE - 1) || guest_is_text(b->guest, gva, 1))
		return false;
	if (gva < facts->text_start)
		return facts->text_end - gva <= REACH;
	return gva + size > gva && gva + size - facts->text_start <= REACH;
}

static int check_place(struct borrow *b, uint64_t gva, size_t size, struct err *e)
{
	if (!gva)
		return err_set(e, ERR_FAILED, ENOMEM, "borrow-memory", "the guest has no memory for %zu bytes of code",
			       size);
	if (!in_reach(b, gva, size))
		return err_set_addr(e, ERR_REFUSED, ERANGE, "borrow-memory", gva,
				    "the kernel gave memory at 0x%llx, where branches of its text do not reach",
				    (unsigned long long)gva);
	return 0;
}

int borrow_exec_alloc(struct borrow *b, size_t size, uint64_t timeout_us, struct borrow_exec *ret, struct err *e)
{
	uint64_t gva = 0;

	if (!size || size > BORROW_EXEC_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "", "%zu bytes of code; 1 to %u can be had", size,
			       BORROW_EXEC_MAX);
	size = (size + PAGE - 1) & ~(size_t)(PAGE - 1);
	int r = allocate(b, size, timeout_us, &gva, e);
	if (r >= 0)
		r = check_place(b, gva, size, e);
	if (r < 0)
		return r; /* what was given nobody knows: not ours to free */
	r = protect(b, gva, size, timeout_us, e);
	if (r < 0) {
		release(b, gva, timeout_us, NULL);
		return r;
	}
	*ret = (struct borrow_exec){ .gva = gva, .size = size };
	return 0;
}

static bool inside(const struct borrow_exec *x, uint64_t gva, size_t len)
{
	return len && gva >= x->gva && len <= x->size && gva - x->gva <= x->size - len;
}

/* An allocation may come from a journal: is there still what alloc() had made of it? */
static int check_exec(struct borrow *b, const struct borrow_exec *x, uint64_t gva, size_t len, struct err *e)
{
	struct page_bits bits = { 0 };

	if (x->gva && x->size <= BORROW_EXEC_MAX && in_reach(b, x->gva, x->size) && inside(x, gva, len) &&
	    look(b, x->gva, x->size, &bits, NULL) >= 0 && bits.all_exec && !bits.write)
		return 0;
	return err_set_addr(e, ERR_REFUSED, EFAULT, "borrow-memory", gva,
			    "0x%llx is not memory that was allocated for code", (unsigned long long)gva);
}

int borrow_exec_write(struct borrow *b, const struct borrow_exec *x, size_t offset, const void *bytes, size_t len,
		      struct err *e)
{
	const uint8_t *from = bytes;
	uint64_t gva = x->gva + offset;
	int r = check_exec(b, x, gva, len, e);

	while (r >= 0 && len) {
		uint64_t gpa, left;
		r = guest_translate(b->guest, gva, &gpa, &left, e);
		if (r < 0)
			break;
		size_t n = left < len ? (size_t)left : len;
		r = b->backend->ops->write(b->backend, gpa, from, n, e);
		gva += n;
		from += n;
		len -= n;
	}
	return r < 0 ? r : 0;
}

int borrow_exec_call(struct borrow *b, const struct borrow_exec *x, size_t offset, const uint64_t *args, size_t n,
		     uint64_t timeout_us, uint64_t *ret, struct err *e)
{
	int r = check_exec(b, x, x->gva + offset, 1, e);

	if (r >= 0)
		r = borrow_ask(b, "the payload", BORROW_WANTED, x->gva + offset, args, n, e);
	if (r < 0)
		return r;
	r = borrow_wait(b, timeout_us, ret, e);
	if (r < 0)
		borrow_abandon(b);
	return r;
}

int borrow_exec_free(struct borrow *b, const struct borrow_exec *x, uint64_t timeout_us, struct err *e)
{
	int r = check_exec(b, x, x->gva, x->size, e);

	return r < 0 ? r : release(b, x->gva, timeout_us, e);
}
