// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any bytes as what a host says to the agent: as a stream (first byte even), or as
 * payloads of operations inside right frames (odd): OP, LENGTH in two bytes, bytes.
 * Each answer must be a frame of the right kind. The agent sees no kernel here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest-agent/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct agent agent;
static struct agent_decoder answers;
static const uint8_t *input;
static size_t input_left, piece;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static int link_open(struct agent_link *l, const char *where)
{
	(void)l;
	(void)where;
	return 0;
}

static ssize_t link_read(struct agent_link *l, void *buf, size_t cap)
{
	size_t n = input_left < piece ? input_left : piece;

	(void)l;
	n = n < cap ? n : cap;
	memcpy(buf, input, n);
	input += n;
	input_left -= n;
	return (ssize_t)n;
}

static ssize_t link_write(struct agent_link *l, const void *buf, size_t len)
{
	struct agent_frame f;
	uint8_t *p;
	size_t space = agent_decoder_space(&answers, &p), n = len < space ? len : space;

	(void)l;
	memcpy(p, buf, n);
	agent_decoder_fed(&answers, n);
	while (agent_decoder_next(&answers, &f)) {
		check(f.flags & AGENT_F_REPLY);
		check(!(f.flags & AGENT_F_ERROR) == !f.error && f.error < AGENT_E_COUNT);
	}
	check(answers.skipped == 0);
	return (ssize_t)n;
}

static void link_close(struct agent_link *l)
{
	(void)l;
}

static int link_poll_fd(struct agent_link *l, short *events)
{
	(void)l;
	(void)events;
	return -1;
}

static int link_timeout_ms(struct agent_link *l)
{
	(void)l;
	return -1;
}

static const struct agent_link_ops ops = {
	.name = "fuzz",
	.open = link_open,
	.read = link_read,
	.write = link_write,
	.close = link_close,
	.poll_fd = link_poll_fd,
	.timeout_ms = link_timeout_ms,
};
static struct agent_link link_of_input = { .ops = &ops };

/* Operations with any payload, in frames that the agent takes. */
static size_t make_frames(const uint8_t *in, size_t size, uint8_t *out, size_t cap)
{
	size_t total = 0;

	for (uint32_t seq = 1; size >= 3; seq++) {
		size_t length = (size_t)in[1] | (size_t)(in[2] & 0x3f) << 8;
		if (length > size - 3)
			length = size - 3;
		struct agent_frame f = {
			.op = in[0], .seq = seq, .session = agent.session, .payload = in + 3, .length = length,
		};
		total += agent_frame_encode(out + total, cap - total, &f, NULL);
		in += 3 + length;
		size -= 3 + length;
	}
	return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct agent_roots nothing = { -1, -1, -1 };
	static uint8_t frames[1 << 20];

	if (!agent.link)
		check(agent_init(&agent, &link_of_input, "", &nothing, NULL) == 0);
	if (size < 2)
		return 0;
	agent.greeted = data[0] & 2;
	agent_decoder_init(&agent.in);
	agent_decoder_init(&answers);
	agent.out_len = agent.out_sent = 0;
	agent.partial_at = 0;
	piece = data[1] * 16u + 1;
	input = data + 2;
	input_left = size - 2;
	if (data[0] & 1) {
		input_left = make_frames(input, input_left, frames, sizeof(frames));
		input = frames;
	}
	/* 1 ms that a request for parking may ask for is all the thread does meanwhile. */
	check(agent_pump(&agent) == 0);
	park_end(&agent.park, AGENT_PARK_UNPARKED, 0);
	check(agent.stats.frames_out > 0 || input_left == 0);
	return 0;
}
