// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as a stream of the agent's frames, in pieces of any size, and as each
 * payload; what decodes must encode to the same again. First byte: size of the pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "protocol/agent_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void same_again(const struct agent_frame *f)
{
	static uint8_t out[AGENT_FRAME_MAX];

	if (f->flags & AGENT_F_AUTH)
		return; /* nobody has the key */
	size_t n = agent_frame_encode(out, sizeof(out), f, NULL);
	check(n == AGENT_HEADER_LEN + f->length && !memcmp(out, f->raw, n));
}

static void list_payloads(const uint8_t *in, size_t len)
{
	static struct agent_range ranges[AGENT_RANGES_MAX];
	static struct agent_symbol symbols[AGENT_SYMBOLS_MAX];
	static uint8_t out[AGENT_PAYLOAD_MAX];
	struct agent_get g = { .p = in, .left = len };
	struct agent_conflicts head;
	struct agent_conflict c;
	struct agent_bytes b;
	const char *name;
	uint32_t first;
	size_t n;

	int r = agent_ranges_decode(in, len, &first, ranges);
	check(r <= AGENT_RANGES_MAX);
	if (r > 0)
		check(agent_ranges_encode(out, sizeof(out), first, ranges, (size_t)r) == len);
	n = len > 2 ? (len - 2) / 12 : 0;
	if (n <= AGENT_SYMBOLS_MAX && !agent_symbols_decode(in, len, symbols, n))
		check(agent_symbols_encode(out, sizeof(out), symbols, n) == len);
	if (!agent_symbols_request_begin(&g, &n))
		while (!agent_name_next(&g, &name, &n))
			check(n > 0 && n <= AGENT_NAME_MAX);
	g = (struct agent_get){ .p = in, .left = len };
	if (!agent_conflicts_decode(&g, &head))
		while (!agent_conflict_next(&g, &c))
			check(strlen(c.name) > 0);
	g = (struct agent_get){ .p = in, .left = len };
	while (g.left && !agent_bytes_next(&g, &b))
		check(b.bytes + b.len <= in + len);
}

static void fixed_payloads(const uint8_t *in, size_t len)
{
	static uint8_t out[AGENT_PAYLOAD_MAX];
	struct agent_hello_request ask;
	struct agent_park_request park;
	struct agent_quiesce quiesce;
	struct agent_failure failure;
	struct agent_stats stats;
	struct agent_state state;
	struct agent_hello hello;
	uint32_t ms;

	if (!agent_hello_decode(in, len, &hello)) {
		struct agent_hello again;
		size_t n = agent_hello_encode(out, sizeof(out), &hello);
		check(n && !agent_hello_decode(out, n, &again) && !strcmp(again.release, hello.release));
	}
	if (!agent_hello_request_decode(in, len, &ask))
		check(agent_hello_request_encode(out, sizeof(out), &ask) <= len);
	if (!agent_failure_decode(in, len, &failure))
		check(agent_failure_encode(out, sizeof(out), &failure) <= len);
	if (!agent_quiesce_request_decode(in, len, &ms))
		check(ms <= AGENT_QUIESCE_MAX_MS);
	if (!agent_quiesce_decode(in, len, &quiesce))
		check(agent_quiesce_encode(out, sizeof(out), &quiesce) == len && !memcmp(in, out, len));
	if (!agent_park_request_decode(in, len, &park))
		check(agent_park_request_encode(out, sizeof(out), &park) == len && !memcmp(in, out, len));
	if (!agent_stats_decode(in, len, &stats))
		check(agent_stats_encode(out, sizeof(out), &stats) == len && !memcmp(in, out, len));
	if (!agent_state_decode(in, len, &state))
		check(agent_state_encode(out, sizeof(out), &state) <= len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct agent_decoder d;
	struct agent_frame f;
	uint8_t *p;

	if (size < 1)
		return 0;
	agent_decoder_init(&d);
	for (size_t pos = 1, piece = data[0] + 1u; pos < size;) {
		size_t space = agent_decoder_space(&d, &p), n = size - pos < piece ? size - pos : piece;
		check(space > 0);
		n = n < space ? n : space;
		memcpy(p, data + pos, n);
		agent_decoder_fed(&d, n);
		pos += n;
		while (agent_decoder_next(&d, &f))
			same_again(&f);
	}
	for (size_t i = 0; agent_decoder_partial(&d); i++) {
		check(i <= AGENT_FRAME_MAX);
		agent_decoder_expire(&d);
		while (agent_decoder_next(&d, &f))
			same_again(&f);
	}
	fixed_payloads(data + 1, size - 1);
	list_payloads(data + 1, size - 1);
	return 0;
}
