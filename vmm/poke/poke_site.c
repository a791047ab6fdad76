// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bytes of one site: read, write, compare, settle after a crash. A site may lie
 * on two guest pages that are not neighbours in physical memory. Must never
 * write a byte outside the site, and never write at all where foreign bytes
 * were found.
 */
#include <errno.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/poke/tx.h"

/* Plans are also rebuilt from a journal, which may be damaged. */
bool poke_site_valid(const struct poke_site *site)
{
	return site->len >= 1 && site->len <= POKE_SITE_LEN_MAX && site->split >= 1 && site->split <= site->len;
}

static int site_check(const struct poke_site *site, struct err *e)
{
	if (poke_site_valid(site))
		return 0;
	return err_set_addr(e, ERR_FAILED, EINVAL, "", site->gva,
			    "%.95s: the site has a length of %u, %u of them on its first page", site->label, site->len,
			    site->split);
}

int poke_site_read(struct backend *b, const struct poke_site *site, uint8_t *ret, struct err *e)
{
	uint8_t bytes[POKE_SITE_LEN_MAX];
	int r = site_check(site, e);

	if (r < 0)
		return r;
	r = b->ops->read(b, site->gpa, bytes, site->split, e);
	if (r >= 0 && site->split < site->len)
		r = b->ops->read(b, site->gpa_rest, bytes + site->split, (size_t)(site->len - site->split), e);
	if (r < 0)
		return r;
	memcpy(ret, bytes, site->len);
	return 0;
}

int poke_site_write(struct backend *b, const struct poke_site *site, const uint8_t *bytes, struct err *e)
{
	int r = site_check(site, e);

	if (r < 0)
		return r;
	r = b->ops->write(b, site->gpa, bytes, site->split, e);
	if (r < 0 || site->split == site->len)
		return r < 0 ? r : 0;
	fault_point("poke-page-written");
	r = b->ops->write(b, site->gpa_rest, bytes + site->split, (size_t)(site->len - site->split), e);
	return r < 0 ? r : 0;
}

static enum poke_holds holds_of(const struct poke_site *site, const uint8_t *bytes)
{
	if (memcmp(bytes, site->old_bytes, site->len) == 0)
		return POKE_HOLDS_OLD;
	if (memcmp(bytes, site->new_bytes, site->len) == 0)
		return POKE_HOLDS_NEW;
	for (size_t i = 0; i < site->len; i++)
		if (bytes[i] != site->old_bytes[i] && bytes[i] != site->new_bytes[i])
			return POKE_HOLDS_FOREIGN;
	return POKE_HOLDS_MIX;
}

int poke_site_holds(struct backend *b, const struct poke_site *site, enum poke_holds *ret, uint8_t *ret_bytes,
		    struct err *e)
{
	uint8_t bytes[POKE_SITE_LEN_MAX];
	int r = poke_site_read(b, site, bytes, e);

	if (r < 0)
		return r;
	*ret = holds_of(site, bytes);
	if (ret_bytes)
		memcpy(ret_bytes, bytes, site->len);
	return 0;
}

/* Everything is looked at before anything is written: one foreign site stops all. */
static int settle_check(struct backend *b, const struct poke_plan *plan, struct err *e)
{
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct poke_site *site = &plan->sites[i];
		uint8_t bytes[POKE_SITE_LEN_MAX];
		char hex[2 * POKE_SITE_LEN_MAX + 1];
		enum poke_holds holds;
		int r = poke_site_holds(b, site, &holds, bytes, e);

		if (r < 0)
			return r;
		if (holds != POKE_HOLDS_FOREIGN)
			continue;
		hex_encode(bytes, site->len, hex);
		return err_set_addr(
			e, ERR_ATTENTION, EUCLEAN, "foreign-bytes", site->gva,
			"%.95s holds %s, neither the old nor the new bytes: somebody else wrote there; nothing was written",
			site->label, hex);
	}
	return 0;
}

static int settle_site(struct backend *b, const struct poke_site *site, bool to_new, struct err *e)
{
	const uint8_t *want = to_new ? site->new_bytes : site->old_bytes;
	uint8_t bytes[POKE_SITE_LEN_MAX];
	int r = poke_site_read(b, site, bytes, e);

	if (r < 0 || memcmp(bytes, want, site->len) == 0)
		return r;
	r = poke_site_write(b, site, want, e);
	if (r >= 0)
		r = poke_site_read(b, site, bytes, e);
	if (r < 0)
		return r;
	if (memcmp(bytes, want, site->len) != 0)
		return err_set_addr(e, ERR_FAILED, EIO, "", site->gva, "%.95s does not hold what was written to it",
				    site->label);
	fault_point("poke-site-settled");
	return 0;
}

int poke_settle(struct backend *b, const struct poke_plan *plan, bool to_new, struct err *e)
{
	int r = settle_check(b, plan, e);

	for (size_t i = 0; r >= 0 && i < plan->n_sites; i++)
		r = settle_site(b, &plan->sites[i], to_new, e);
	return r;
}
