// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An object file of anybody's making: opened with a function "f" wanted, and linked. What
 * comes out lies within its image, which is exactly as large as it was said to be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/payload/payload.h"

#define BASE UINT64_C(0xffffffffc0400000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Some are there, some are not, one is there twice. */
static int names_find(struct payload_names *n, const char *name, unsigned long pos, uint64_t *ret)
{
	(void)n;
	*ret = BASE - 0x1000000 - pos - 16 * (uint8_t)name[0];
	return name[0] == 'x' ? -ENOENT : name[0] == 'y' ? -ENOTUNIQ : 0;
}

static void check_linked(const struct payload *p)
{
	size_t offset;

	if (payload_function(p, "f", &offset) < 0 || offset >= payload_text_size(p))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct payload_names names = { .find = names_find };
	_cleanup_(payload_free) struct payload *p = NULL;
	const char *wanted = "f";
	struct err e = { 0 };

	if (payload_open(data, size, "fuzz.o", &wanted, 1, &p, &e) < 0) {
		if (!e.text[0])
			abort();
		return 0;
	}
	if (payload_size(p) > PAYLOAD_IMAGE_MAX || payload_text_size(p) > payload_size(p) || payload_size(p) % PAYLOAD_PAGE)
		abort();
	_cleanup_free_ uint8_t *image = malloc(payload_size(p));
	if (image && payload_link(p, BASE, &names, image, &e) == 0)
		check_linked(p);
	return 0;
}
