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

int poke_site_store(struct backend *b, const struct poke_site *site, const uint8_t *bytes, size_t from, size_t to,
		    struct err *e)
{
	const struct backend_live_ops *live = b->ops->live;
	size_t mid = to < site->split ? to : site->split;
	int r = site_check(site, e);

	if (r < 0 || to > site->len)
		return r < 0 ? r : -EINVAL;
	if (from < mid)
		r = live->write(b, site->gpa + from, bytes + from, mid - from, e);
	if (from < mid)
		from = mid;
	if (r >= 0 && from < to)
		r = live->write(b, site->gpa_rest + (from - site->split), bytes + from, to - from, e);
	return r < 0 ? r : 0;
}

int poke_site_trap(struct backend *b, const struct arch_ops *arch, const struct poke_site *site, struct err *e)
{
	uint8_t bytes[POKE_SITE_LEN_MAX];
	int r = 0;

	memset(bytes, arch->trap[0], sizeof(bytes));
	for (size_t i = 0; i < site->len && r >= 0; i++)
		if (site->boundaries >> i & 1)
			r = poke_site_store(b, site, bytes, i, i + 1, e);
	return r;
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

/*
 * Breakpoints of ours count as the old bytes they stand on: of an undone or unfinished
 * transaction, where new ones were not fetched yet. A guest's kprobe looks the same;
 * it is told apart by when it may be there: not while such a transaction is open.
 */
static bool traps_lifted(const struct poke_plan *plan, const struct poke_site *site, uint8_t *bytes)
{
	bool any = false;

	if ((plan->mode != POKE_MODE_STAGED && plan->mode != POKE_MODE_HELD) || plan->trap != BACKEND_TRAP_KIND_INT3)
		return false;
	for (size_t i = 0; i < site->len; i++)
		if ((site->boundaries >> i & 1) && bytes[i] == arch_x86_64.trap[0] && bytes[i] != site->old_bytes[i] &&
		    bytes[i] != site->new_bytes[i]) {
			bytes[i] = site->old_bytes[i];
			any = true;
		}
	return any;
}

int poke_plan_holds(struct backend *b, const struct poke_plan *plan, size_t i, enum poke_holds *ret, uint8_t *ret_bytes,
		    struct err *e)
{
	const struct poke_site *site = &plan->sites[i];
	uint8_t bytes[POKE_SITE_LEN_MAX];
	int r = poke_site_read(b, site, bytes, e);

	if (r < 0)
		return r;
	if (ret_bytes)
		memcpy(ret_bytes, bytes, site->len);
	bool lifted = traps_lifted(plan, site, bytes);
	*ret = holds_of(site, bytes);
	if (lifted && *ret != POKE_HOLDS_FOREIGN)
		*ret = POKE_HOLDS_MIX;
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
		int r = poke_plan_holds(b, plan, i, &holds, bytes, e);

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
