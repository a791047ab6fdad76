// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any frames into a listener and into a caller with open sessions. The input is
 * records of a length byte and that many bytes of frame from our header on; the
 * highest bit of the length makes the numbers of the session right, as a hostile
 * far end's are. Whatever comes, what is made stays a valid frame, time-outs stay
 * bounded, and no call makes more frames than a window and a few.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/dgram_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t macs[2][DGRAM_MAC_LEN] = { { 0xfe, 1, 1, 1, 1, 1 }, { 0x52, 2, 2, 2, 2, 2 } };

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void start(struct dgram *d, int e)
{
	struct dgram_config config = { .role = e ? DGRAM_LISTENER : DGRAM_CALLER, .mtu = 256, .seed = 1 };

	memcpy(config.mac, macs[e], DGRAM_MAC_LEN);
	memcpy(config.peer, macs[!e], DGRAM_MAC_LEN);
	check(!dgram_init(d, &config, 0));
}

/* Sends what is due; to whom: nobody, or the other end. */
static void pump(struct dgram *d, struct dgram *to, uint64_t now)
{
	uint8_t frame[DGRAM_FRAME_MAX];
	struct dgram_header h;
	unsigned n = 0;
	size_t len;

	while ((len = dgram_output(d, frame, sizeof(frame), now))) {
		check(len <= DGRAM_ETH_LEN + 256 && !dgram_wire_parse(frame, len, &h) && ++n < DGRAM_WINDOW + 8);
		if (to)
			dgram_input(to, frame, len, now);
	}
	check(dgram_timeout_us(d, now) != 0 && dgram_timeout_us(d, now) <= (int64_t)DGRAM_SILENT_US);
}

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static void inject(struct dgram *d, int e, const uint8_t *data, size_t len, bool right, uint64_t now)
{
	uint8_t frame[DGRAM_FRAME_MAX] = { [12] = DGRAM_ETHERTYPE >> 8, [13] = DGRAM_ETHERTYPE & 0xff };

	memcpy(frame, macs[e], DGRAM_MAC_LEN);
	memcpy(frame + DGRAM_MAC_LEN, macs[!e], DGRAM_MAC_LEN);
	memcpy(frame + DGRAM_ETH_LEN, data, len);
	if (right && len >= DGRAM_HEADER_LEN) {
		put32(frame + DGRAM_ETH_LEN + 8, d->session.theirs);
		put32(frame + DGRAM_ETH_LEN + 12, d->session.mine);
	}
	/* A heap copy of just that size, so that ASan sees a read beyond it. */
	uint8_t *copy = malloc(DGRAM_ETH_LEN + len);
	check(copy);
	memcpy(copy, frame, DGRAM_ETH_LEN + len);
	dgram_input(d, copy, DGRAM_ETH_LEN + len, now);
	free(copy);
}

static void use_stream(struct dgram *d, unsigned how)
{
	uint8_t buf[1000];
	long r = dgram_read(d, buf, how * 4u);

	check(r <= (long)(how * 4u));
	memset(buf, 'w', sizeof(buf));
	r = dgram_write(d, buf, how * 3u);
	check(r <= (long)(how * 3u));
	if (how % 16 == 0)
		dgram_accept(d);
	check(d->end - d->una <= DGRAM_WINDOW && d->next - d->first <= DGRAM_WINDOW);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dgram ends[2];
	uint64_t now = 1;

	start(&ends[0], 0);
	start(&ends[1], 1);
	for (int i = 0; i < 4; i++)
		pump(&ends[i & 1], &ends[!(i & 1)], now);
	check(ends[0].state == DGRAM_OPEN && ends[1].state == DGRAM_OPEN);
	while (size > 2) {
		size_t len = data[0] & 0x7f;
		bool right = data[0] & 0x80;
		int e = data[1] & 1;
		unsigned how = data[1] >> 1;
		data += 2;
		size -= 2;
		len = len < size ? len : size;
		use_stream(&ends[e], how);
		inject(&ends[e], e, data, len, right, now);
		pump(&ends[e], NULL, now);
		now += how * how * 1000u;
		data += len;
		size -= len;
	}
	return 0;
}
