// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The two halves of a hello. The agent's is a list of facts, each with its type
 * and length, so that a later agent can tell more. Must stay freestanding.
 */
#include <errno.h>
#include <string.h>

#include "protocol/agent_private.h"

size_t agent_hello_request_encode(uint8_t *out, size_t cap, const struct agent_hello_request *m)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put_bytes(&w, m->nonce, sizeof(m->nonce));
	agent_put(&w, m->min_version, 1);
	agent_put(&w, m->max_version, 1);
	agent_put(&w, m->flags, 2);
	return agent_put_end(&w);
}

/* Bytes beyond what version 1 knows are a later version's. */
int agent_hello_request_decode(const uint8_t *in, size_t len, struct agent_hello_request *ret)
{
	struct agent_get g = { .p = in, .left = len };
	struct agent_hello_request m = { 0 };
	const uint8_t *nonce = agent_get_bytes(&g, sizeof(m.nonce));

	m.min_version = (uint8_t)agent_get(&g, 1);
	m.max_version = (uint8_t)agent_get(&g, 1);
	m.flags = (uint16_t)agent_get(&g, 2);
	if (g.bad)
		return -EBADMSG;
	memcpy(m.nonce, nonce, sizeof(m.nonce));
	*ret = m;
	return 0;
}

enum fact {
	FACT_RELEASE = 1,
	FACT_MACHINE = 2,
	FACT_AGENT = 3,
	FACT_BUILD_ID = 4,
	FACT_BOOT_ID = 5,
	FACT_PAGE_SIZE = 6,
	FACT_CPUS = 7,
	FACT_LOCKDOWN = 8,
	FACT_KASLR_OFF = 9,
	FACT_SOURCES = 10,
	FACT_KERNEL_TEXT = 11,
	FACT_UPTIME = 12,
};

static void put_fact(struct agent_put *w, enum fact type, const void *bytes, size_t n)
{
	if (!n)
		return;
	agent_put(w, type, 2);
	agent_put(w, n, 2);
	agent_put_bytes(w, bytes, n);
}

static void put_number(struct agent_put *w, enum fact type, uint64_t value, size_t bytes)
{
	agent_put(w, type, 2);
	agent_put(w, bytes, 2);
	agent_put(w, value, bytes);
}

size_t agent_hello_encode(uint8_t *out, size_t cap, const struct agent_hello *m)
{
	struct agent_put w = { .p = out, .cap = cap };

	agent_put_bytes(&w, m->nonce, sizeof(m->nonce));
	agent_put(&w, m->version, 1);
	agent_put(&w, 0, 1);
	agent_put(&w, m->flags, 2);
	agent_put(&w, m->ops, 4);
	put_fact(&w, FACT_RELEASE, m->release, agent_text_length(m->release));
	put_fact(&w, FACT_MACHINE, m->machine, agent_text_length(m->machine));
	put_fact(&w, FACT_AGENT, m->agent, agent_text_length(m->agent));
	put_fact(&w, FACT_BUILD_ID, m->build_id, m->build_id_len);
	put_fact(&w, FACT_BOOT_ID, m->boot_id, sizeof(m->boot_id));
	put_number(&w, FACT_PAGE_SIZE, m->page_size, 4);
	put_number(&w, FACT_CPUS, m->cpus, 4);
	put_number(&w, FACT_LOCKDOWN, m->lockdown, 1);
	put_number(&w, FACT_KASLR_OFF, m->kaslr_off, 1);
	put_number(&w, FACT_SOURCES, m->sources, 4);
	put_number(&w, FACT_KERNEL_TEXT, m->kernel_text, 8);
	put_number(&w, FACT_UPTIME, m->uptime_ms, 8);
	return agent_put_end(&w);
}

static uint64_t number(const uint8_t *in, size_t n)
{
	struct agent_get g = { .p = in, .left = n };

	return n <= 8 ? agent_get(&g, n) : 0;
}

/* False: this fact cannot be true. */
static bool take_fact(struct agent_hello *m, unsigned type, const uint8_t *in, size_t n)
{
	switch (type) {
	case FACT_RELEASE:
		return agent_copy_text(m->release, sizeof(m->release), in, n);
	case FACT_MACHINE:
		return agent_copy_text(m->machine, sizeof(m->machine), in, n);
	case FACT_AGENT:
		return agent_copy_text(m->agent, sizeof(m->agent), in, n);
	case FACT_BUILD_ID:
		if (n > sizeof(m->build_id))
			return false;
		memcpy(m->build_id, in, n);
		m->build_id_len = (uint8_t)n;
		return true;
	case FACT_BOOT_ID:
		if (n != sizeof(m->boot_id))
			return false;
		memcpy(m->boot_id, in, n);
		return true;
	case FACT_PAGE_SIZE:
		m->page_size = (uint32_t)number(in, n);
		return n == 4;
	case FACT_CPUS:
		m->cpus = (uint32_t)number(in, n);
		return n == 4;
	case FACT_LOCKDOWN:
		m->lockdown = (uint8_t)number(in, n);
		return n == 1 && m->lockdown <= AGENT_LOCKDOWN_CONFIDENTIALITY;
	case FACT_KASLR_OFF:
		m->kaslr_off = number(in, n) == 1;
		return n == 1;
	case FACT_SOURCES:
		m->sources = (uint32_t)number(in, n);
		return n == 4;
	case FACT_KERNEL_TEXT:
		m->kernel_text = number(in, n);
		return n == 8;
	case FACT_UPTIME:
		m->uptime_ms = number(in, n);
		return n == 8;
	}
	return true;
}

int agent_hello_decode(const uint8_t *in, size_t len, struct agent_hello *ret)
{
	struct agent_get g = { .p = in, .left = len };
	struct agent_hello m = { 0 };
	const uint8_t *nonce = agent_get_bytes(&g, sizeof(m.nonce));

	m.version = (uint8_t)agent_get(&g, 1);
	agent_get(&g, 1);
	m.flags = (uint16_t)agent_get(&g, 2);
	m.ops = (uint32_t)agent_get(&g, 4);
	if (g.bad)
		return -EBADMSG;
	memcpy(m.nonce, nonce, sizeof(m.nonce));
	while (g.left) {
		unsigned type = (unsigned)agent_get(&g, 2);
		size_t n = (size_t)agent_get(&g, 2);
		const uint8_t *bytes = agent_get_bytes(&g, n);
		if (g.bad || !take_fact(&m, type, bytes, n))
			return -EBADMSG;
	}
	*ret = m;
	return 0;
}
