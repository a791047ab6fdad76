// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One site of a patch file: where, which kind, and the keys that kind needs.
 * Each value is checked where it stands, so that the line in the sentence is
 * the line to edit. Must never guess: a number or a byte that could be read in
 * two ways is refused.
 */
#include "protocol/patchfile_site.h"

#include <errno.h>
#include <string.h>

enum site_key { KEY_AT, KEY_KIND, KEY_VALUE, KEY_TO, KEY_OLD, KEY_NEW, KEY_ENABLE, KEY_CHOOSE, KEY_GROUP,
		KEY_OBJECT, KEY_SYMBOL, KEY_PV_TARGET, KEY_PV_LAST = KEY_PV_TARGET + PATCH_PV_OPS - 1 };

static const char *const site_keys[] = {
	[KEY_AT] = "at",   [KEY_KIND] = "kind", [KEY_VALUE] = "value", [KEY_TO] = "to",
	[KEY_OLD] = "old", [KEY_NEW] = "new",	[KEY_ENABLE] = "enable", [KEY_CHOOSE] = "choose",
	[KEY_GROUP] = "group", [KEY_OBJECT] = "object", [KEY_SYMBOL] = "symbol",
	[KEY_PV_TARGET + PATCH_PV_LOCK_SLOWPATH] = "queued_spin_lock_slowpath",
	[KEY_PV_TARGET + PATCH_PV_UNLOCK] = "queued_spin_unlock",
	[KEY_PV_TARGET + PATCH_PV_PREEMPTED] = "vcpu_is_preempted", NULL,
};

#define KINDS "bytes, return, jump, nop, immediate, static_key, static_call, alternative, pv_group or function"
#define BIT(key) (1u << (key))
#define PV_TARGETS (((1u << PATCH_PV_OPS) - 1) << KEY_PV_TARGET)

static const struct {
	unsigned required, optional; /* besides at and kind */
} kind_keys[] = {
	[PATCH_KIND_BYTES] = { BIT(KEY_OLD) | BIT(KEY_NEW), 0 },
	[PATCH_KIND_RETURN] = { BIT(KEY_VALUE), 0 },
	[PATCH_KIND_JUMP] = { BIT(KEY_TO), 0 },
	[PATCH_KIND_NOP] = { 0, BIT(KEY_OLD) },
	[PATCH_KIND_IMMEDIATE] = { BIT(KEY_VALUE), 0 },
	[PATCH_KIND_STATIC_KEY] = { BIT(KEY_ENABLE), 0 },
	[PATCH_KIND_STATIC_CALL] = { BIT(KEY_TO), 0 },
	[PATCH_KIND_ALTERNATIVE] = { BIT(KEY_CHOOSE), 0 },
	[PATCH_KIND_PV_GROUP] = { BIT(KEY_CHOOSE) | BIT(KEY_GROUP), PV_TARGETS },
	[PATCH_KIND_FUNCTION] = { BIT(KEY_OBJECT) | BIT(KEY_SYMBOL), 0 },
};

static int fail_here(struct yaml_reader *r, const char *sentence)
{
	return yaml_reader_fail(r, yaml_reader_line(r), "%s", sentence);
}

static int kind_value(struct yaml_reader *r, const char *text, struct patchfile_site *site)
{
	for (unsigned k = 0; k < ARRAY_SIZE(kind_keys); k++) {
		if (strcmp(text, patch_kind_name((enum patch_kind)k)) != 0)
			continue;
		site->kind = (enum patch_kind)k;
		return 0;
	}
	return fail_here(r, "kind must be " KINDS);
}

int patchfile_place_value(struct yaml_reader *r, const char *key, struct patch_place *ret)
{
	const char *text = yaml_reader_scalar(r);

	if (text && patch_place_parse(text, ret) == 0)
		return 0;
	return yaml_reader_fail(r, yaml_reader_line(r),
				"'%s' must be a symbol, symbol+0xOFFSET or 0xADDRESS, e.g. do_idle+0x3c", key);
}

/* Decimal or 0x hex. A leading zero is refused: YAML 1.1 reads 010 as eight, YAML 1.2 as ten. */
static int number_value(struct yaml_reader *r, const char *text, struct patchfile_site *site)
{
	bool negative = text[0] == '-';
	const char *digits = text + negative;
	bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
	const char *set = hex ? "0123456789abcdefABCDEF" : "0123456789";

	digits += hex ? 2 : 0;
	size_t len = strspn(digits, set);
	errno = 0;
	uint64_t v = strtoull(digits, NULL, hex ? 16 : 10);
	if (len == 0 || errno || digits[len] || (!hex && len > 1 && digits[0] == '0') ||
	    (negative && v > UINT64_C(1) << 63))
		return fail_here(r, "value must be a number of at most 64 bits, decimal or 0x hex");
	site->value = (int64_t)(negative ? -v : v);
	site->value_unsigned = !negative && v > INT64_MAX;
	return 0;
}

/* YAML 1.1 knows eleven words for each; two of them are enough. */
static int enable_value(struct yaml_reader *r, const char *text, struct patchfile_site *site)
{
	site->enable = strcmp(text, "true") == 0;
	return site->enable || strcmp(text, "false") == 0 ? 0 : fail_here(r, "enable must be true or false");
}

static int bytes_value(struct yaml_reader *r, const char *text, const char *key, uint8_t *bytes, uint8_t *ret_len)
{
	ssize_t n = hex_decode(text, bytes, PATCHFILE_BYTES_MAX);

	if (n == -E2BIG)
		return yaml_reader_fail(r, yaml_reader_line(r), "'%s' has more than %d bytes", key, PATCHFILE_BYTES_MAX);
	if (n <= 0)
		return yaml_reader_fail(r, yaml_reader_line(r), "'%s' must be bytes in hex, e.g. \"0f 1f 44 00 00\"", key);
	*ret_len = (uint8_t)n;
	return 0;
}

/* Which words are legal depends on the kind, which may be named after it: see check_choice(). */
static int choice_value(struct yaml_reader *r, const char *text, struct patchfile_site *site)
{
	static const char *const words[] = {
		[PATCH_CHOICE_ORIGINAL] = "original", [PATCH_CHOICE_REPLACEMENT] = "replacement",
		[PATCH_CHOICE_NUMBER] = "",	      [PATCH_CHOICE_NATIVE] = "native",
		[PATCH_CHOICE_PARAVIRT] = "paravirt", [PATCH_CHOICE_TARGETS] = "targets",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (i != PATCH_CHOICE_NUMBER && strcmp(text, words[i]) == 0) {
			site->choice = (enum patch_choice)i;
			return 0;
		}
	if (text[0] < '1' || text[0] > '9' || text[1])
		return fail_here(r, "choose must be original, replacement or its number (1 to 9), of a pv_group native, paravirt or targets");
	site->choice = PATCH_CHOICE_NUMBER;
	site->choice_number = (uint8_t)(text[0] - '0');
	return 0;
}

static int group_value(struct yaml_reader *r, const char *text)
{
	return strcmp(text, "lock") == 0 ? 0 : fail_here(r, "group must be lock");
}

/* The name of a file on the client's side: nobody here opens it. */
static int object_value(struct yaml_reader *r, const char *text, char object[static PATCHFILE_OBJECT_MAX + 1])
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			len = 0;
	if (!len || len > PATCHFILE_OBJECT_MAX)
		return yaml_reader_fail(r, yaml_reader_line(r), "'object' must be the name of a file, at most %d bytes",
					PATCHFILE_OBJECT_MAX);
	if (object[0] && strcmp(object, text) != 0)
		return fail_here(r, "the functions of a patch file come from one object; make one of several with `ld -r`");
	strcpy(object, text);
	return 0;
}

static int symbol_value(struct yaml_reader *r, const char *text, struct patchfile_site *site)
{
	if (patch_place_parse(text, &site->to) == 0 && site->to.symbol[0] && !site->to.offset)
		return 0;
	return fail_here(r, "'symbol' must be the name of a function of the object");
}

static int pv_target_value(struct yaml_reader *r, const char *text, enum patch_pv_op op, struct patchfile_site *site)
{
	struct patch_place place;

	if (patch_place_parse(text, &place) < 0 || !place.symbol[0] || place.offset ||
	    strlen(place.symbol) > PATCHFILE_PV_TARGET_MAX)
		return yaml_reader_fail(r, yaml_reader_line(r), "'%s' must be the name of a function of the guest's kernel",
					site_keys[KEY_PV_TARGET + op]);
	strcpy(site->pv_target[op], place.symbol);
	return 0;
}

static int site_value(struct yaml_reader *r, enum site_key key, char *object, struct patchfile_site *site)
{
	const char *text = yaml_reader_scalar(r);

	if (!text)
		return yaml_reader_fail(r, yaml_reader_line(r), "'%s' must be one plain value", site_keys[key]);
	switch (key) {
	case KEY_AT:
		return patchfile_place_value(r, "at", &site->at);
	case KEY_KIND:
		return kind_value(r, text, site);
	case KEY_VALUE:
		return number_value(r, text, site);
	case KEY_TO:
		return patchfile_place_value(r, "to", &site->to);
	case KEY_OLD:
		return bytes_value(r, text, "old", site->old_bytes, &site->old_len);
	case KEY_NEW:
		return bytes_value(r, text, "new", site->new_bytes, &site->new_len);
	case KEY_ENABLE:
		return enable_value(r, text, site);
	case KEY_CHOOSE:
		return choice_value(r, text, site);
	case KEY_GROUP:
		return group_value(r, text);
	case KEY_OBJECT:
		return object_value(r, text, object);
	case KEY_SYMBOL:
		return symbol_value(r, text, site);
	default:
		return pv_target_value(r, text, (enum patch_pv_op)(key - KEY_PV_TARGET), site);
	}
}

/* Every key the kind needs and none that it would silently ignore. */
static int check_keys(struct yaml_reader *r, const struct patchfile_site *site, unsigned seen)
{
	unsigned required = kind_keys[site->kind].required | BIT(KEY_AT) | BIT(KEY_KIND);
	unsigned allowed = required | kind_keys[site->kind].optional;

	for (int k = 0; site_keys[k]; k++) {
		if (required & ~seen & BIT(k))
			return yaml_reader_fail(r, site->line, "a site of kind %s needs '%s'",
						patch_kind_name(site->kind), site_keys[k]);
		if (seen & ~allowed & BIT(k))
			return yaml_reader_fail(r, site->line, "a site of kind %s has no '%s'",
						patch_kind_name(site->kind), site_keys[k]);
	}
	return 0;
}

/* How much a value may be depends on the kind, which may be named after it. */
static int check_value(struct yaml_reader *r, const struct patchfile_site *site, int line)
{
	if (site->kind != PATCH_KIND_RETURN ||
	    (!site->value_unsigned && site->value >= INT32_MIN && site->value <= UINT32_MAX))
		return 0;
	return yaml_reader_fail(r, line, "value is out of range: -2147483648 to 4294967295");
}

static int check_choice(struct yaml_reader *r, const struct patchfile_site *site, unsigned seen)
{
	bool pv = site->choice >= PATCH_CHOICE_NATIVE;

	if (site->kind == PATCH_KIND_PV_GROUP && !pv)
		return yaml_reader_fail(r, site->line, "of a pv_group choose native, paravirt or targets");
	if (site->kind == PATCH_KIND_PV_GROUP && (site->choice == PATCH_CHOICE_TARGETS) != !!(seen & PV_TARGETS))
		return yaml_reader_fail(r, site->line,
					"targets of a pv_group's operations are named with 'choose: targets', and only then");
	if (site->kind == PATCH_KIND_ALTERNATIVE && pv)
		return yaml_reader_fail(r, site->line, "of an alternative choose original, replacement or its number");
	return 0;
}

static int check_site(struct yaml_reader *r, const struct patchfile_site *site, unsigned seen, int value_line)
{
	if (!(seen & BIT(KEY_KIND)))
		return yaml_reader_fail(r, site->line, "the site has no 'kind': " KINDS);
	int s = check_keys(r, site, seen);
	if (s == 0)
		s = check_value(r, site, value_line);
	if (s == 0)
		s = check_choice(r, site, seen);
	if (s < 0 || site->kind != PATCH_KIND_BYTES)
		return s;
	if (site->old_len != site->new_len)
		return yaml_reader_fail(r, site->line, "old has %u bytes and new has %u; they must be as many",
					site->old_len, site->new_len);
	if (memcmp(site->old_bytes, site->new_bytes, site->old_len) == 0)
		return yaml_reader_fail(r, site->line, "old and new are the same bytes");
	return 0;
}

int patchfile_site_parse(struct yaml_reader *r, char object[static PATCHFILE_OBJECT_MAX + 1],
			 struct patchfile_site *ret)
{
	struct patchfile_site site = { .line = yaml_reader_line(r) };
	unsigned seen = 0;
	int s, key, value_line = 0;

	if (yaml_reader_type(r) != YAML_MAPPING_START_EVENT)
		return fail_here(r, "a site must be a mapping, e.g. { at: SYMBOL, kind: return, value: 0 }");
	while ((s = yaml_reader_next_key(r, site_keys, "a site", &seen, &key)) > 0) {
		value_line = key == KEY_VALUE ? yaml_reader_line(r) : value_line;
		s = site_value(r, (enum site_key)key, object, &site);
		if (s < 0)
			return s;
	}
	if (s == 0)
		s = check_site(r, &site, seen, value_line);
	if (s == 0)
		*ret = site;
	return s;
}
