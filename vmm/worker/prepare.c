// SPDX-License-Identifier: GPL-2.0-or-later
/* From a request to a plan; see prepare.h. Everything in the patch text is untrusted. */
#include "vmm/worker/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/manifest.h"
#include "protocol/suggest.h"
#include "vmm/guest/vmlinux.h"
#include "vmm/kind/kind.h"
#include "vmm/kvm/machine.h"
#include "vmm/payload/payload.h"
#include "vmm/worker/choose.h"
#include "vmm/worker/images.h"

void prepared_clear(struct prepared *p)
{
	free(p->text);
	patchfile_free(p->file);
	free(p->manifest);
	free(p->object);
	payload_free(p->payload);
	plan_free(p->plan);
	vmlinux_free(p->vmlinux);
	*p = (struct prepared){ 0 };
}

int prepare_store_path(const struct session *s, const char *name, const char *suffix, char *buf, size_t cap)
{
	int n = snprintf(buf, cap, "%s/patches/%s/%s%s", s->state_dir, s->target.vm, name, suffix);

	return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

static int read_stored(const struct session *s, const char *name, char **ret, size_t *ret_len)
{
	char path[4096];
	int r = prepare_store_path(s, name, ".yaml", path, sizeof(path));

	return r < 0 ? r : read_file(path, PATCHFILE_SIZE_MAX, ret, ret_len);
}

/* Of those that are in the guest: what one wants to take out is most often misspelt. */
static int name_unknown(const struct session *s, const char *name, struct err *e)
{
	struct suggest g = suggest_begin(name);

	for (const struct patch_record *p = s->patches.first; p; p = p->next)
		suggest_consider(&g, p->begin->patch);
	if (g.best)
		return err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "no patch named '%s' was ever applied here; did you mean '%s'?",
			       name, g.best);
	return err_set(e, ERR_NOT_FOUND, ENOENT, NULL, "no patch named '%s' was ever applied here; give its file", name);
}

static int named_text(struct session *s, const char *name, struct prepared *p, struct err *e)
{
	if (!patch_name_valid(name))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'%s' is not a patch name", name);
	int r = read_stored(s, name, &p->text, &p->text_len);
	if (r == -ENOENT)
		return name_unknown(s, name, e);
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "the stored text of patch '%s' cannot be read: %s", name,
			       strerror(-r));
	return 0;
}

/* vmpoked has looked at all of it but the build-ids: those the worker knows. */
static int manifest_take(json_t *args, struct prepared *p, struct err *e)
{
	json_t *manifest = json_object_get(args, "manifest");

	if (!manifest)
		return 0;
	p->manifest = calloc(1, sizeof(*p->manifest));
	if (!p->manifest)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	return manifest_parse(json_string_value(manifest), json_string_length(manifest), "manifest", p->manifest, e);
}

int prepare_file(struct session *s, json_t *args, struct prepared *ret, struct err *e)
{
	json_t *text = json_object_get(args, "text");
	const char *name = json_string_value(json_object_get(args, "patch"));
	const char *filename = json_string_value(json_object_get(args, "filename"));

	if (!text == !name)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "give either 'text' or 'patch'");
	if (text) {
		ret->text_len = json_string_length(text);
		ret->text = strndup(json_string_value(text), ret->text_len);
		if (!ret->text)
			return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	} else {
		int r = named_text(s, name, ret, e);
		if (r < 0)
			return r;
	}
	int r = patchfile_parse(ret->text, ret->text_len, filename ? filename : name ? name : "patch", &ret->file, e);
	if (r == 0)
		r = manifest_take(args, ret, e);
	return r < 0 ? r : prepare_object(s, args, name, ret, e);
}

static int check_gates(const struct patchfile *file, const struct guest_facts *f, struct err *e)
{
	if (file->release[0] && fnmatch(file->release, f->release, 0) != 0)
		return err_set(e, ERR_REFUSED, EPERM, "release",
			       "the patch is for kernel release %s, the guest runs %s", file->release, f->release);
	if (file->build_id_len && (file->build_id_len != sizeof(f->build_id) ||
				   memcmp(file->build_id, f->build_id, sizeof(f->build_id)) != 0)) {
		char want[2 * sizeof(file->build_id) + 1];

		hex_encode(file->build_id, file->build_id_len, want);
		return err_set(e, ERR_REFUSED, EPERM, "build-id",
			       "the patch is for the kernel with build-id %s, the guest's is %s", want, f->build_id_hex);
	}
	return 0;
}

static int check_manifest(const struct manifest *m, const struct guest_facts *f, struct err *e)
{
	if (!m || manifest_allows_build_id(m, f->build_id, sizeof(f->build_id)))
		return 0;
	return err_set(e, ERR_REFUSED, EPERM, "wrong-build-id", "the manifest of the patch is not for the kernel with build-id %s, "
		       "which the guest runs", f->build_id_hex);
}

static bool overlap(uint64_t a, size_t a_len, uint64_t b, size_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* Two patches may not share a byte: neither could be reverted without the other. */
static int check_other_patches(const struct session *s, uint64_t gva, size_t len, int line, struct err *e)
{
	char label[128];

	for (const struct patch_record *p = s->patches.first; p; p = p->next) {
		if (p->status == PATCH_LOST || p == s->without)
			continue;
		for (size_t i = 0; i < p->begin->plan->n_sites; i++) {
			const struct poke_site *site = &p->begin->plan->sites[i];

			if (!overlap(gva, len, site->gva, site->len))
				continue;
			guest_format_addr(s->guest, gva, label, sizeof(label));
			return err_set_addr(e, ERR_REFUSED, EEXIST, "overlap", gva,
					    "line %d: %s: overlaps %s of patch '%s', which is in; revert that first",
					    line, label, site->label, p->begin->patch);
		}
	}
	return 0;
}

/* The most that a kind without old bytes looks at from its place on. */
#define REACH (POKE_SITE_LEN_MAX / 2)

/*
 * A site that another patch has changed is refused for many reasons (it does not
 * decode, old bytes differ, too short): say the one that helps.
 */
static int expand_site(struct session *s, const struct kind_context *ctx, const struct patchfile_site *site,
		       struct want_list *out, struct err *e)
{
	struct err other = { 0 };
	size_t first = out->n;
	uint64_t place;
	int r = kind_expand(ctx, site, out, e);

	for (size_t i = first; r == 0 && i < out->n; i++)
		r = check_other_patches(s, out->wants[i].gva, out->wants[i].len, site->line, e);
	if (r == 0 || out->n > first)
		return r;
	if (kind_resolve(ctx, &site->at, "at", &place, &other) == 0 &&
	    check_other_patches(s, place, site->old_len ? site->old_len : REACH, site->line, &other) < 0)
		*e = other;
	return r;
}

static bool needs_vmlinux(const struct patchfile *file)
{
	for (size_t i = 0; i < file->n_sites; i++)
		if (file->sites[i].kind == PATCH_KIND_ALTERNATIVE || file->sites[i].kind == PATCH_KIND_PV_GROUP)
			return true;
	return false;
}

int prepare_vmlinux(struct session *s, json_t *args, struct prepared *p, struct err *e)
{
	bool passed = json_object_get(args, "vmlinux") != NULL;
	_cleanup_close_ int ours = passed ? control_take_fd(s->control) : -1;
	const struct guest_facts *f = guest_facts(s->guest);

	if (!needs_vmlinux(p->file) || (!passed && s->image.read))
		return 0;
	if (ours < 0 && !s->machine && s->images)
		ours = images_open(s->images, f->build_id_hex);
	int fd = ours >= 0 || !s->machine ? ours : machine_kernel_fd(s->machine);
	if (fd < 0)
		return 0;
	p->vmlinux_passed = passed;
	int r = vmlinux_open(fd, &p->vmlinux, e);
	return r < 0 ? r : vmlinux_check_build_id(p->vmlinux, f->build_id, sizeof(f->build_id), e);
}

static void take_exclusions(const struct want_list *wants, struct poke_plan *plan)
{
	memcpy(plan->exclusions, wants->exclusions, wants->n_exclusions * sizeof(wants->exclusions[0]));
	plan->n_exclusions = wants->n_exclusions;
}

/* Names are looked up one or two a site, see guest_names_index(). */
#define SITES_WITHOUT_INDEX 4

int prepare_plan(struct session *s, struct prepared *p, struct err *e)
{
	__attribute__((cleanup(kind_tables_clear))) struct kind_tables tables = { 0 };
	__attribute__((cleanup(kind_image_clear))) struct kind_image passed = { .vmlinux = p->vmlinux };
	struct kind_image *image = p->vmlinux_passed ? &passed : &s->image;
	__attribute__((cleanup(want_list_clear))) struct want_list wants = { 0 };
	int r = check_gates(p->file, guest_facts(s->guest), e);
	if (r == 0)
		r = check_manifest(p->manifest, guest_facts(s->guest), e);

	s->image.vmlinux = p->vmlinux_passed ? NULL : p->vmlinux;
	if (r == 0 && p->file->object[0] && !p->object)
		r = err_set(e, ERR_USAGE, EINVAL, NULL, "the patch has sites of kind function: give their object file ('object')");
	if (r == 0 && p->object && !p->payload)
		r = prepare_payload(s, p, e);
	struct kind_context ctx = { .arch = arch_of(s->info.arch), .guest = s->guest, .tables = &tables, .image = image,
				    .payload = p->payload, .payload_base = p->payload_base };
	if (p->file->n_sites > SITES_WITHOUT_INDEX)
		guest_names_index(s->guest);
	for (size_t i = 0; r == 0 && i < p->file->n_sites; i++)
		r = expand_site(s, &ctx, &p->file->sites[i], &wants, e);
	guest_names_forget(s->guest);
	s->image.vmlinux = NULL; /* what was read of it stays */
	if (r == 0)
		r = plan_build(ctx.arch, s->info.caps, wants.wants, wants.n, &p->plan, e);
	if (r == 0)
		take_exclusions(&wants, p->plan);
	return r < 0 ? r : choose_for_file(&ctx, p->file, p->plan, e);
}

static int make_parents(const struct session *s)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/patches", s->state_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/patches/%s", s->state_dir, s->target.vm);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int prepare_write_synced(const char *path, const void *bytes, size_t len)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : write_full(fd, bytes, len);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

int prepare_store(struct session *s, const struct prepared *p, struct err *e)
{
	char path[4096], temp[4096];
	int r = make_parents(s);

	if (r == 0 && p->object && prepare_same_text(s, p))
		return 0; /* it was stored once: what is there is not touched */
	if (r == 0)
		r = prepare_store_object(s, p);
	if (r == 0)
		r = prepare_store_path(s, p->file->name, ".yaml", path, sizeof(path));
	if (r == 0)
		r = prepare_store_path(s, p->file->name, ".yaml.new", temp, sizeof(temp));
	if (r == 0)
		r = prepare_write_synced(temp, p->text, p->text_len);
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "the patch text cannot be stored in the state directory: %s",
			       strerror(-r));
	return 0;
}

bool prepare_same_text(struct session *s, const struct prepared *p)
{
	_cleanup_free_ char *stored = NULL;
	size_t len;

	return read_stored(s, p->file->name, &stored, &len) == 0 && len == p->text_len &&
	       memcmp(stored, p->text, len) == 0 && prepare_same_object(s, p);
}

int prepare_inverse(const struct poke_plan *plan, unsigned caps, struct poke_plan **ret)
{
	_cleanup_(plan_free) struct poke_plan *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	*p = *plan;
	p->caps = caps;
	p->needs_quiescence = p->n_exclusions > 0;
	p->slots = NULL; /* were for those sites, in that mode */
	p->n_slots = 0;
	p->sites = calloc(plan->n_sites, sizeof(*p->sites));
	if (!p->sites)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct poke_site *from = &plan->sites[i];
		struct poke_site *to = &p->sites[i];

		*to = *from;
		memcpy(to->old_bytes, from->new_bytes, sizeof(to->old_bytes));
		memcpy(to->new_bytes, from->old_bytes, sizeof(to->new_bytes));
		to->boundaries = from->new_boundaries;
		to->new_boundaries = from->boundaries;
		if (__builtin_popcountll(to->boundaries) > 1)
			p->needs_quiescence = true;
	}
	plan_choose(p);
	*ret = TAKE_PTR(p);
	return 0;
}
