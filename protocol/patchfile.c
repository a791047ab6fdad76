// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The patch file, top down: head, kernel gates, sites. Parsing is a straight
 * walk over YAML events with one function per level. Must never accept what it
 * does not understand: a key from a later format version changes what a patch
 * means, so it is an error and not a warning.
 */
#include "protocol/patchfile.h"

#include <errno.h>
#include <string.h>

#include "protocol/patchfile_exclude.h"
#include "protocol/patchfile_site.h"

enum root_key { KEY_VERSION, KEY_NAME, KEY_DESCRIPTION, KEY_KERNEL, KEY_ATOMIC, KEY_EXCLUDE, KEY_SITES };

static const char *const root_keys[] = { "vmpoke", "name", "description", "kernel", "atomic", "exclude", "sites", NULL };
static const char *const kernel_keys[] = { "release", "build-id", NULL };

static int fail_here(struct yaml_reader *r, const char *sentence)
{
	return yaml_reader_fail(r, yaml_reader_line(r), "%s", sentence);
}

/* C0, DEL, C1, line separators and bidirectional overrides: what could forge or hide text on a terminal. */
static bool text_is_printable(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0))
			return false;
		if (*p == 0xe2 && p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae)
			return false;
		if (*p == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)
			return false;
	}
	return true;
}

/* --- kernel: { release, build-id } --- */

static int release_value(struct yaml_reader *r, struct patchfile *p)
{
	const char *text = yaml_reader_scalar(r);

	if (!text || !text[0] || strlen(text) >= sizeof(p->release) || strchr(text, ' ') || !text_is_printable(text))
		return fail_here(r, "release must be a kernel release or a pattern of one, e.g. \"6.1.*\"");
	strcpy(p->release, text);
	return 0;
}

static int build_id_value(struct yaml_reader *r, struct patchfile *p)
{
	const char *text = yaml_reader_scalar(r);
	ssize_t n = text ? hex_decode(text, p->build_id, sizeof(p->build_id)) : -EINVAL;

	if (n < 8)
		return fail_here(r, "build-id must be 8 to 32 bytes in hex, as `file vmlinux` shows it");
	p->build_id_len = (size_t)n;
	return 0;
}

static int kernel_value(struct yaml_reader *r, struct patchfile *p)
{
	int s, key, line = yaml_reader_line(r);
	unsigned seen = 0;

	if (yaml_reader_type(r) != YAML_MAPPING_START_EVENT)
		return fail_here(r, "kernel must be a mapping, e.g. { release: \"6.1.*\" }");
	while ((s = yaml_reader_next_key(r, kernel_keys, "kernel", &seen, &key)) > 0) {
		s = key == 0 ? release_value(r, p) : build_id_value(r, p);
		if (s < 0)
			return s;
	}
	if (s < 0)
		return s;
	return seen ? 0 : yaml_reader_fail(r, line, "kernel names neither release nor build-id; leave it out");
}

/* --- sites --- */

static int site_append(struct yaml_reader *r, struct patchfile *p, size_t *cap)
{
	if (p->n_sites == PATCHFILE_SITES_MAX) {
		yaml_reader_fail(r, yaml_reader_line(r), "more than %d sites", PATCHFILE_SITES_MAX);
		if (r->e)
			r->e->error = EFBIG;
		return -EFBIG;
	}
	if (p->n_sites == *cap) {
		size_t want = *cap ? *cap * 2 : 4;
		struct patchfile_site *grown = reallocarray(p->sites, want, sizeof(*grown));
		if (!grown)
			return err_set(r->e, ERR_FAILED, ENOMEM, NULL, "out of memory");
		p->sites = grown;
		*cap = want;
	}
	int s = patchfile_site_parse(r, p->object, &p->sites[p->n_sites]);
	if (s == 0)
		p->n_sites++;
	return s;
}

static int sites_value(struct yaml_reader *r, struct patchfile *p)
{
	int s, line = yaml_reader_line(r);
	size_t cap = 0;

	if (yaml_reader_type(r) != YAML_SEQUENCE_START_EVENT)
		return fail_here(r, "sites must be a list: lines that begin with '- '");
	while ((s = yaml_reader_next_item(r)) > 0) {
		s = site_append(r, p, &cap);
		if (s < 0)
			return s;
	}
	if (s < 0)
		return s;
	return p->n_sites ? 0 : yaml_reader_fail(r, line, "sites is empty");
}

/* --- the head --- */

static int version_value(struct yaml_reader *r)
{
	const char *text = yaml_reader_scalar(r);

	if (text && strcmp(text, "1") == 0)
		return 0;
	return fail_here(r, "this format version is not known here; this vmpoke reads 'vmpoke: 1'");
}

static int name_value(struct yaml_reader *r, struct patchfile *p)
{
	const char *text = yaml_reader_scalar(r);

	if (!text || !patch_name_valid(text))
		return yaml_reader_fail(r, yaml_reader_line(r),
					"name must be 1 to %d of letters, digits, '.', '_' and '-', "
					"beginning with a letter or digit", PATCHFILE_NAME_MAX);
	strcpy(p->name, text);
	return 0;
}

static int description_value(struct yaml_reader *r, struct patchfile *p)
{
	const char *text = yaml_reader_scalar(r);

	if (!text || strlen(text) >= sizeof(p->description) || !text_is_printable(text))
		return fail_here(r, "description must be one line of at most 255 bytes");
	strcpy(p->description, text);
	return 0;
}

/* YAML 1.1 knows eleven words for each; two of them are enough. */
static int atomic_value(struct yaml_reader *r, struct patchfile *p)
{
	const char *text = yaml_reader_scalar(r);

	p->atomic = text && strcmp(text, "true") == 0;
	return p->atomic || (text && strcmp(text, "false") == 0) ? 0 : fail_here(r, "atomic must be true or false");
}

static int root_value(struct yaml_reader *r, enum root_key key, struct patchfile *p)
{
	switch (key) {
	case KEY_VERSION:
		return version_value(r);
	case KEY_NAME:
		return name_value(r, p);
	case KEY_DESCRIPTION:
		return description_value(r, p);
	case KEY_KERNEL:
		return kernel_value(r, p);
	case KEY_ATOMIC:
		return atomic_value(r, p);
	case KEY_EXCLUDE:
		return patchfile_exclude_parse(r, p);
	case KEY_SITES:
		return sites_value(r, p);
	}
	return -EINVAL;
}

static int root_parse(struct yaml_reader *r, struct patchfile *p)
{
	unsigned seen = 0;

	if (yaml_reader_type(r) != YAML_MAPPING_START_EVENT)
		return fail_here(r, "a patch file begins with 'vmpoke: 1'");
	for (;;) {
		int s = yaml_reader_next(r);
		if (s < 0)
			return s;
		if (yaml_reader_type(r) == YAML_MAPPING_END_EVENT)
			break;
		/* First, so that a file of another version is refused for that and not for its keys. */
		const char *word = yaml_reader_scalar(r);
		if (!seen && (!word || strcmp(word, root_keys[KEY_VERSION]) != 0))
			return fail_here(r, "the first key must be 'vmpoke: 1'");
		int key = yaml_reader_key(r, root_keys, "the patch file", &seen);
		if (key < 0)
			return key;
		s = root_value(r, (enum root_key)key, p);
		if (s < 0)
			return s;
	}
	if (!p->name[0])
		return fail_here(r, "the patch has no 'name'");
	if (!p->n_sites)
		return fail_here(r, "the patch has no 'sites'");
	/* A file is one change: who writes several sites into it means them together, unless he says otherwise. */
	if (!(seen & 1u << KEY_ATOMIC))
		p->atomic = p->n_sites > 1;
	return yaml_reader_next(r); /* nothing may follow */
}

int patchfile_parse(const char *text, size_t len, const char *filename, struct patchfile **ret, struct err *e)
{
	_cleanup_(patchfile_free) struct patchfile *p = NULL;
	struct yaml_reader r;

	if (len > PATCHFILE_SIZE_MAX)
		return err_set(e, ERR_USAGE, EFBIG, "patch-file", "%.120s: larger than %u KiB", filename,
			       PATCHFILE_SIZE_MAX >> 10);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int s = yaml_reader_begin(&r, text, len, filename, e);
	if (s == 0)
		s = root_parse(&r, p);
	yaml_reader_end(&r);
	if (s == 0)
		*ret = TAKE_PTR(p);
	return s;
}

void patchfile_free(struct patchfile *p)
{
	if (!p)
		return;
	free(p->sites);
	free(p);
}
