// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Mode stopped: all vCPUs out of guest mode, check, write, read back, resume.
 * With no vCPU in guest mode stores of any width are safe; what remains to be
 * shown is that no context stands inside a range and that the bytes are the ones
 * the plan was made for. Must never wait while the VM is paused.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/fault.h"
#include "vmm/poke/tx.h"

#define WAIT_MAX_MS 50

/* Who was found stays in *e; what came of it is put before. */
static int gave_up(struct poke_tx *t, const char *why, struct err *e)
{
	unsigned tries = t->stats.retries + 1;

	err_prefix(e, "busy, %s after %u %s", why, tries, tries == 1 ? "try" : "tries");
	if (strcmp(e->rule, "guest-poking") != 0)
		snprintf(e->rule, sizeof(e->rule), "busy");
	e->kind = ERR_TIMEOUT;
	e->error = ETIMEDOUT;
	return -ETIMEDOUT;
}

/* Lets the guest run on for 1, 2, 4 .. 50 ms, not past the deadline. */
static int give_way(struct poke_tx *t, struct err *e)
{
	unsigned shift = t->stats.retries < 6 ? t->stats.retries : 6;
	uint64_t wait_ms = UINT64_C(1) << shift, now = now_us();
	struct err late = { 0 };

	if (!t->was_running)
		return gave_up(t, "and a paused VM does not move on, given up", e);
	if (now >= t->deadline)
		return gave_up(t, "given up", e);
	if (wait_ms > WAIT_MAX_MS)
		wait_ms = WAIT_MAX_MS;
	if (wait_ms > (t->deadline - now) / 1000 + 1)
		wait_ms = (t->deadline - now) / 1000 + 1;
	t->stats.retries++;
	int r = poke_tx_let_run(t, wait_ms * 1000, &late);
	if (r == -ETIMEDOUT && t->paused) /* who was found is why it came to that */
		return gave_up(t, "given up", e);
	if (r < 0)
		*e = late;
	return r;
}

/* Bounded by the deadline: every round but the last waits at least a millisecond. */
int poke_stopped_pause(struct poke_tx *t, struct err *e)
{
	for (;;) {
		int r = t->paused ? 0 : poke_tx_pause(t, e);
		uint64_t start = now_us();
		if (r >= 0) {
			r = poke_tx_clear(t, e);
			poke_tx_span(t, TIMELINE_SCAN, start, r == 0 ? "clear" : "somebody inside");
		}
		if (r <= 0)
			return r;
		struct err why = { 0 };
		if (poke_gate_close(t, &why) < 0) {
			*e = why;
			return -EIO;
		}
		r = poke_tasks_help(t) ? poke_tasks_wait(t, e) : give_way(t, e);
		if (r < 0)
			return r;
	}
}

/* Offset of a breakpoint of somebody else on an old instruction's first byte, or -1. */
static int foreign_trap(const struct poke_tx *t, const struct poke_site *site, const uint8_t *found)
{
	const struct arch_ops *arch = t->arch;

	if (site->operand || site->data)
		return -1;
	for (size_t i = 0; i + arch->trap_len <= site->len; i++)
		if ((site->boundaries >> i & 1) && memcmp(found + i, arch->trap, arch->trap_len) == 0 &&
		    memcmp(site->old_bytes + i, arch->trap, arch->trap_len) != 0)
			return (int)i;
	return -1;
}

static int site_unexpected(const struct poke_tx *t, const struct poke_site *site, const uint8_t *found, struct err *e)
{
	char expected_hex[2 * POKE_SITE_LEN_MAX + 1], found_hex[2 * POKE_SITE_LEN_MAX + 1];
	int trap = foreign_trap(t, site, found);

	if (trap >= 0)
		return err_set_addr(
			e, ERR_REFUSED, ESTALE, "kprobe", site->gva + (unsigned)trap,
			"%.95s: a breakpoint appeared at offset %d, the guest has a kprobe there or is patching itself; nothing was written",
			site->label, trap);
	hex_encode(site->old_bytes, site->len, expected_hex);
	hex_encode(found, site->len, found_hex);
	if (site->data)
		return err_set_addr(e, ERR_REFUSED, ESTALE, "changed-by-guest", site->gva,
				    "%.95s: holds %s instead of %s: the guest has changed it; nothing was written",
				    site->label, found_hex, expected_hex);
	return err_set_addr(e, ERR_REFUSED, ESTALE, "old-bytes", site->gva,
			    "%.95s: holds %s instead of %s; nothing was written", site->label, found_hex, expected_hex);
}

static int sites_check(struct poke_tx *t, bool data, struct err *e)
{
	for (size_t i = 0; i < t->plan->n_sites; i++) {
		const struct poke_site *site = &t->plan->sites[i];
		uint8_t found[POKE_SITE_LEN_MAX];

		if (site->data != data)
			continue;
		int r = poke_site_read(t->backend, site, found, e);
		if (r < 0)
			return r;
		if (memcmp(found, site->old_bytes, site->len) != 0)
			return site_unexpected(t, site, found, e);
	}
	return 0;
}

/*
 * All sites before the first write. New bytes at one of them are foreign as well: not we wrote them.
 * Data first: where the guest has changed it and its text with it, that is what is to be said.
 */
int poke_stopped_check(struct poke_tx *t, struct err *e)
{
	int r = sites_check(t, true, e);

	if (r >= 0)
		r = sites_check(t, false, e);
	if (r < 0)
		return r;
	fault_point("poke-checked");
	return poke_tx_cancelled(t, e);
}

int poke_stopped_write(struct poke_tx *t, struct err *e)
{
	for (size_t i = 0; i < t->plan->n_sites; i++) {
		const struct poke_site *site = &t->plan->sites[i];

		t->touched = i + 1;
		int r = poke_site_write(t->backend, site, site->new_bytes, e);
		if (r < 0)
			return r;
		fault_point("poke-site-written");
	}
	fault_point("poke-written");
	return 0;
}

int poke_stopped_verify(struct poke_tx *t, struct err *e)
{
	for (size_t i = 0; i < t->plan->n_sites; i++) {
		const struct poke_site *site = &t->plan->sites[i];
		uint8_t found[POKE_SITE_LEN_MAX];
		int r = poke_site_read(t->backend, site, found, e);

		if (r < 0)
			return r;
		if (memcmp(found, site->new_bytes, site->len) != 0)
			return err_set_addr(e, ERR_FAILED, EIO, "read-back", site->gva,
					    "%.95s does not hold what was written to it; all sites are put back",
					    site->label);
	}
	fault_point("poke-read-back");
	return 0;
}

/* The one barrier of this mode: no vCPU gets back into the guest without a VM entry. */
int poke_stopped_resume(struct poke_tx *t, struct err *e)
{
	int r = poke_tx_resume(t, e);

	if (r < 0) {
		err_prefix(e, "all sites hold the new bytes");
		return r;
	}
	t->stats.barriers = 1;
	fault_point("poke-resumed");
	return 0;
}
