// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The small words of a patch file that others use as well: names, kinds and
 * places ("symbol+0x12"). Must accept nothing that would need quoting in a
 * sentence, a file name or a journal.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "protocol/patchfile.h"

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define SYMBOL_CHARS ALNUM "_.$"
#define SYMBOL_OFFSET_MAX 0x7fffffffu

bool patch_name_valid(const char *name)
{
	size_t len = strspn(name, ALNUM "._-");

	return len > 0 && len <= PATCHFILE_NAME_MAX && !name[len] && strchr("._-", name[0]) == NULL;
}

const char *patch_kind_name(enum patch_kind kind)
{
	static const char *const names[] = {
		[PATCH_KIND_BYTES] = "bytes",
		[PATCH_KIND_RETURN] = "return",
		[PATCH_KIND_JUMP] = "jump",
		[PATCH_KIND_NOP] = "nop",
		[PATCH_KIND_IMMEDIATE] = "immediate",
		[PATCH_KIND_STATIC_KEY] = "static_key",
		[PATCH_KIND_STATIC_CALL] = "static_call",
		[PATCH_KIND_ALTERNATIVE] = "alternative",
		[PATCH_KIND_PV_GROUP] = "pv_group",
		[PATCH_KIND_FUNCTION] = "function",
	};

	return (unsigned)kind < ARRAY_SIZE(names) ? names[kind] : "unknown";
}

void patch_place_format(const struct patch_place *p, char *buf, size_t cap)
{
	unsigned long long offset = p->offset;

	if (!p->symbol[0])
		snprintf(buf, cap, "0x%llx", offset);
	else if (offset)
		snprintf(buf, cap, "%s+0x%llx", p->symbol, offset);
	else
		snprintf(buf, cap, "%s", p->symbol);
}

/* "0x" and 1 to 16 hex digits, nothing behind them. */
static int hex_number(const char *text, uint64_t *ret)
{
	if (text[0] != '0' || (text[1] != 'x' && text[1] != 'X'))
		return -EINVAL;
	size_t digits = strspn(text + 2, "0123456789abcdefABCDEF");
	if (digits == 0 || digits > 16 || text[2 + digits])
		return -EINVAL;
	*ret = strtoull(text + 2, NULL, 16);
	return 0;
}

int patch_place_parse(const char *text, struct patch_place *ret)
{
	struct patch_place p = { .offset = 0 };
	size_t len = strspn(text, SYMBOL_CHARS);

	if (text[0] >= '0' && text[0] <= '9') {
		if (hex_number(text, &p.offset) < 0)
			return -EINVAL;
		*ret = p;
		return 0;
	}
	if (len == 0 || len > PATCHFILE_SYMBOL_MAX)
		return -EINVAL;
	if (text[len] && (text[len] != '+' || hex_number(text + len + 1, &p.offset) < 0))
		return -EINVAL;
	if (p.offset > SYMBOL_OFFSET_MAX)
		return -EINVAL;
	memcpy(p.symbol, text, len);
	*ret = p;
	return 0;
}
