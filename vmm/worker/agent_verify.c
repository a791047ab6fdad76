// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Patches as the guest reads them; see agent.h. Checksums first, bytes only where those
 * differ. A guest that lies here can be wrong about itself, no more.
 */
#include <errno.h>
#include <string.h>

#include "protocol/crc32c.h"
#include "protocol/qmp.h"
#include "vmm/link/agent_ask.h"
#include "vmm/worker/agent.h"
#include "vmm/worker/record.h"

#define DIFFERENCES_MAX 256

static unsigned left_ms(uint64_t deadline_us)
{
	uint64_t now = now_us();

	return now >= deadline_us ? 0 : (unsigned)((deadline_us - now) / 1000) + 1;
}

static void add(const struct patch_record *p, const struct poke_site *site, const uint8_t *found,
		json_t *differences)
{
	char hex[2 * POKE_SITE_LEN_MAX + 1];

	if (json_array_size(differences) >= DIFFERENCES_MAX)
		return;
	hex_encode(site->new_bytes, site->len, hex);
	json_t *o = json_pack("{s:s, s:o, s:s, s:s}", "patch", p->begin->patch, "address", qmp_address(site->gva), "symbol",
			      site->label, "expected", hex);
	hex_encode(found, site->len, hex);
	json_object_set_new(o, "found", json_string(hex));
	json_array_append_new(differences, o);
}

/* The checksum was another: the bytes. A guest that then shows the right ones still said otherwise. */
static int look(struct agent_session *agent, const struct patch_record *p, const struct poke_site *site,
		uint64_t deadline_us, json_t *differences, struct err *e)
{
	const struct agent_range range = { site->gva, site->len };
	uint8_t found[POKE_SITE_LEN_MAX];
	int r = agent_ask_bytes(agent, &range, found, left_ms(deadline_us), e);

	if (r == 0)
		add(p, site, found, differences);
	return r;
}

/* So many sites from here on fit one question. */
static size_t portion(const struct poke_plan *plan, size_t from, struct agent_range *ranges)
{
	size_t n = 0, bytes = 0;

	for (; from + n < plan->n_sites && n < AGENT_RANGES_MAX; n++) {
		const struct poke_site *site = &plan->sites[from + n];
		bytes += site->len;
		if (bytes > AGENT_SELFCHECK_MAX)
			break;
		ranges[n] = (struct agent_range){ site->gva, site->len };
	}
	return n;
}

int worker_agent_verify(struct agent_session *agent, const struct patch_record *p, uint64_t deadline_us,
			json_t *differences, struct err *e)
{
	const struct poke_plan *plan = p->begin->plan;
	struct agent_range ranges[AGENT_RANGES_MAX];
	uint32_t crcs[AGENT_RANGES_MAX];
	size_t n;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->n_sites; i += n) {
		n = portion(plan, i, ranges);
		if (!left_ms(deadline_us))
			return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "agent", "the agent takes too long");
		r = agent_ask_crcs(agent, ranges, n, crcs, left_ms(deadline_us), e);
		for (size_t k = 0; r == 0 && k < n; k++)
			if (crcs[k] != crc32c(plan->sites[i + k].new_bytes, plan->sites[i + k].len))
				r = look(agent, p, &plan->sites[i + k], deadline_us, differences, e);
	}
	return r;
}
