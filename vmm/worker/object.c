// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The object file of a patch: as a request brings it, as it is kept beside the patch's text,
 * and as a payload against this guest's symbols. Its name in the patch file is for
 * people: no file is opened because of it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "protocol/patchfile.h"
#include "vmm/payload/payload.h"
#include "vmm/worker/prepare.h"

#define IN_REACH (16u << 20) /* behind the kernel's text: as good a place as any to try the links with */

/* --- the file --- */

static int object_decode(json_t *hex, struct prepared *p, struct err *e)
{
	const char *text = json_string_value(hex);
	size_t cap = strlen(text) / 2 + 1;
	_cleanup_free_ uint8_t *bytes = malloc(cap);

	if (!bytes)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	ssize_t n = hex_decode(text, bytes, cap);
	if (n <= 0)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'object' must be bytes in hex");
	p->object = TAKE_PTR(bytes);
	p->object_len = (size_t)n;
	return 0;
}

static int read_stored(const struct session *s, const struct prepared *p, char **ret, size_t *ret_len)
{
	char path[4096];
	int r = prepare_store_path(s, p->file->name, ".o", path, sizeof(path));

	return r < 0 ? r : read_file(path, PATCHFILE_OBJECT_SIZE_MAX, ret, ret_len);
}

static int object_stored(struct session *s, struct prepared *p, struct err *e)
{
	_cleanup_free_ char *bytes = NULL;
	int r = read_stored(s, p, &bytes, &p->object_len);

	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "the stored object of patch '%s' cannot be read: %s",
			       p->file->name, strerror(-r));
	p->object = (uint8_t *)TAKE_PTR(bytes);
	return 0;
}

int prepare_object(struct session *s, json_t *args, bool stored, struct prepared *p, struct err *e)
{
	json_t *given = json_object_get(args, "object");

	if (!p->file->object[0])
		return given ? err_set(e, ERR_USAGE, EINVAL, NULL, "'object' is given, but the patch has no site of kind function") : 0;
	if (given)
		return object_decode(given, p, e);
	return stored ? object_stored(s, p, e) : 0;
}

/* Until the text is there as well, there is no patch of that name: never a text with another's object. */
int prepare_store_object(struct session *s, const struct prepared *p)
{
	char path[4096], text[4096];

	if (!p->object)
		return 0;
	int r = prepare_store_path(s, p->file->name, ".o", path, sizeof(path));
	if (r == 0)
		r = prepare_store_path(s, p->file->name, ".yaml", text, sizeof(text));
	if (r == 0 && unlink(text) < 0 && errno != ENOENT)
		r = -errno;
	return r < 0 ? r : prepare_write_synced(path, p->object, p->object_len);
}

bool prepare_same_object(struct session *s, const struct prepared *p)
{
	_cleanup_free_ char *stored = NULL;
	size_t len;

	if (!p->object)
		return true;
	return read_stored(s, p, &stored, &len) == 0 && len == p->object_len && memcmp(stored, p->object, len) == 0;
}

/* --- the payload --- */

struct guest_names {
	struct payload_names ops;
	struct guest *guest;
};

static int find_nth(struct guest *g, const char *name, unsigned long pos, uint64_t *ret)
{
	struct guest_symbol_cursor c = { 0 };
	_cleanup_free_ struct guest_symbol *symbol = calloc(1, sizeof(*symbol));
	unsigned long n = 0;

	while (symbol && guest_symbol_next(g, &c, symbol) > 0) {
		if (strcmp(symbol->name, name) != 0 || ++n != pos)
			continue;
		*ret = symbol->addr;
		return 0;
	}
	return symbol ? -ENOENT : -ENOMEM;
}

/* What the kernel has freed after boot is there no more. */
static int names_find(struct payload_names *names, const char *name, unsigned long pos, uint64_t *ret)
{
	struct guest *g = container_of(names, struct guest_names, ops)->guest;
	const struct guest_facts *f = guest_facts(g);
	int r = pos ? find_nth(g, name, pos, ret) : guest_symbol_find(g, name, ret, NULL, NULL);

	return r == 0 && *ret >= f->inittext_start && *ret < f->inittext_end ? -ENOENT : r;
}

int prepare_image(struct session *s, struct prepared *p, uint64_t base, uint8_t *image, struct err *e)
{
	struct guest_names names = { .ops.find = names_find, .guest = s->guest };

	guest_names_index(s->guest);
	int r = payload_link(p->payload, base, &names.ops, image, e);
	guest_names_forget(s->guest);
	if (r == 0)
		p->payload_base = base;
	return r;
}

/* Each function once, however many sites lead to it. */
static size_t wanted_functions(const struct patchfile *file, const char **wanted)
{
	size_t n = 0;

	for (size_t i = 0; i < file->n_sites; i++) {
		const char *name = file->sites[i].to.symbol;
		size_t known = 0;

		if (file->sites[i].kind != PATCH_KIND_FUNCTION)
			continue;
		while (known < n && strcmp(wanted[known], name) != 0)
			known++;
		if (known == n)
			wanted[n++] = name;
	}
	return n;
}

int prepare_payload(struct session *s, struct prepared *p, struct err *e)
{
	_cleanup_free_ const char **wanted = calloc(p->file->n_sites, sizeof(const char *));
	uint64_t try_at = (guest_facts(s->guest)->text_end + IN_REACH) & ~(uint64_t)(PAYLOAD_PAGE - 1);

	if (!wanted)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	size_t n = wanted_functions(p->file, wanted);
	int r = payload_open(p->object, p->object_len, p->file->object, wanted, n, &p->payload, e);
	if (r < 0)
		return r;
	_cleanup_free_ uint8_t *image = malloc(payload_size(p->payload));
	return image ? prepare_image(s, p, try_at, image, e) : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
}
