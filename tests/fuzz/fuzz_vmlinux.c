// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A file that claims to be a kernel: whatever it holds, every byte handed out is inside
 * of it, and every entry of the tables in it can be looked at.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "vmm/guest/alternatives.h"
#include "vmm/guest/vmlinux.h"

static volatile uint8_t sink;

static void touch(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; bytes && i < len; i++)
		sink ^= bytes[i];
}

static void touch_alternatives(const struct vmlinux *v)
{
	__attribute__((cleanup(guest_alternatives_clear))) struct guest_alternatives all = { 0 };
	__attribute__((cleanup(guest_pv_calls_clear))) struct guest_pv_calls calls = { 0 };
	struct err e = { 0 };

	if (guest_alternatives_read(v, 0x1200000, &all, &e) == 0)
		for (size_t i = 0; i < all.n; i++) {
			touch(all.entry[i].original, all.entry[i].len);
			touch(all.entry[i].replacement, all.entry[i].replacement_len);
		}
	guest_pv_calls_read(v, 0x1200000, &calls, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { ".text", ".notes", ".altinstructions", ".altinstr_replacement" };
	struct vmlinux_section s;
	struct vmlinux *v = NULL;
	struct err e = { 0 };

	if (vmlinux_from_memory(data, size, &v, &e) < 0) {
		if (e.kind == ERR_NONE || !e.text[0])
			abort();
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (vmlinux_section(v, names[i], &s) == 0) {
			touch(s.bytes, s.len);
			touch(vmlinux_at(v, s.addr + s.len / 2, 8), 8);
		}
	touch_alternatives(v);
	vmlinux_free(v);
	return 0;
}
