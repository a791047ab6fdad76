// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading kallsyms tables that kallsyms_find() has accepted; see kallsyms.h. Must
 * never touch guest memory. Format: Linux kernel/kallsyms.c.
 */
#include "vmm/guest/kallsyms.h"

#include <stdlib.h>
#include <string.h>

size_t kallsyms_entry(const uint8_t *names, size_t limit, size_t at, const uint8_t **ret_tokens, size_t *next)
{
	if (at >= limit)
		return 0;
	size_t n = names[at++];
	if (n & 0x80) { /* two-byte length, since 6.1 */
		if (at >= limit)
			return 0;
		n = (n & 0x7f) | (size_t)names[at++] << 7;
	}
	if (n > limit - at)
		return 0;
	*ret_tokens = names + at;
	*next = at + n;
	return n;
}

static const char *token(const struct kallsyms *k, uint8_t i)
{
	return k->tokens + k->token_index[i];
}

size_t kallsyms_expand(const struct kallsyms *k, size_t at, char *ret_type, char *name, size_t cap)
{
	const uint8_t *tokens = NULL;
	size_t next = at, len = 0;
	size_t n = kallsyms_entry(k->names, k->names_len, at, &tokens, &next);

	*ret_type = '?';
	for (size_t i = 0; i < n; i++) {
		const char *p = token(k, tokens[i]);
		if (i == 0 && *p)
			*ret_type = *p++;
		for (; *p && len + 1 < cap; p++)
			name[len++] = *p > 0x20 && *p < 0x7f ? *p : '?';
	}
	name[len] = '\0';
	return next;
}

bool kallsyms_named(const struct kallsyms *k, size_t at, const char *name, char *ret_type, size_t *next)
{
	const uint8_t *tokens = NULL;
	char type = '?';

	*next = at;
	size_t n = kallsyms_entry(k->names, k->names_len, at, &tokens, next);
	for (size_t i = 0; i < n; i++) {
		const char *p = token(k, tokens[i]);
		if (i == 0 && *p)
			type = *p++;
		for (; *p; p++)
			if (*p != *name++)
				return false;
	}
	*ret_type = type;
	return *name == '\0';
}

size_t kallsyms_offset(const struct kallsyms *k, size_t i)
{
	const uint8_t *tokens;
	size_t at = k->markers[i / KALLSYMS_STRIDE];

	for (size_t skip = i % KALLSYMS_STRIDE; skip; skip--)
		kallsyms_entry(k->names, k->names_len, at, &tokens, &at);
	return at;
}

uint64_t kallsyms_address(const struct kallsyms *k, size_t i)
{
	int32_t offset = k->offsets[i];

	if (!k->absolute_percpu)
		return k->relative_base + (uint32_t)offset;
	if (offset >= 0)
		return (uint32_t)offset;
	return k->relative_base - 1 - (uint64_t)(int64_t)offset;
}

bool kallsyms_is_address(const struct kallsyms *k, size_t i)
{
	return !k->absolute_percpu || k->offsets[i] < 0;
}

void kallsyms_order(struct kallsyms *k)
{
	size_t first = 0, end = k->n;

	k->sorted = k->sorted_end = 0;
	while (first < end && !kallsyms_is_address(k, first))
		first++;
	while (end > first && !kallsyms_is_address(k, end - 1))
		end--;
	for (size_t i = first; i + 1 < end; i++)
		if (!kallsyms_is_address(k, i + 1) || kallsyms_address(k, i + 1) < kallsyms_address(k, i))
			return;
	k->sorted = first;
	k->sorted_end = end;
}

ptrdiff_t kallsyms_index(const struct kallsyms *k, const char *name)
{
	size_t at = 0;
	char type;

	for (size_t i = 0; i < k->n; i++)
		if (kallsyms_named(k, at, name, &type, &at))
			return (ptrdiff_t)i;
	return -1;
}

void kallsyms_done(struct kallsyms *k)
{
	free(k->names);
	free(k->markers);
	free(k->offsets);
	*k = (struct kallsyms){ 0 };
}
