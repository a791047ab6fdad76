// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent's frames: bytes on the wire, MACs, and finding frames in a stream that breaks anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "protocol/agent.h"
#include "protocol/blake2s.h"
#include "protocol/crc32c.h"
#include "protocol/util.h"

#define SESSION 0x1122334455667788u

static void assert_hex(const void *bytes, size_t n, const char *want)
{
	char got[256];

	assert_true(2 * n < sizeof(got));
	hex_encode(bytes, n, got);
	assert_string_equal(got, want);
}

static void test_crc32c(void **state)
{
	uint8_t zeros[32] = { 0 };

	(void)state;
	assert_int_equal(crc32c("", 0), 0);
	assert_int_equal(crc32c("123456789", 9), 0xe3069283); /* the polynomial's check value */
	assert_int_equal(crc32c(zeros, sizeof(zeros)), 0x8a9136aa); /* RFC 3720 B.4 */
	assert_int_equal(crc32c_more(crc32c("1234", 4), "56789", 5), 0xe3069283);
}

static void hash(uint8_t *out, size_t out_len, const void *key, size_t key_len, const uint8_t *in, size_t len, size_t step)
{
	struct blake2s s;

	blake2s_init(&s, out_len, key, key_len);
	for (size_t i = 0; i < len; i += step)
		blake2s_more(&s, in + i, len - i < step ? len - i : step);
	blake2s_done(&s, out);
}

/* RFC 7693 appendix B, the reference's keyed vectors, and values of Python's hashlib; in steps of any size. */
static void test_blake2s(void **state)
{
	uint8_t in[256], out[32];

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	for (size_t step = 1; step < 130; step += 7) {
		hash(out, 32, NULL, 0, (const uint8_t *)"abc", 3, step);
		assert_hex(out, 32, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
		hash(out, 32, in, 32, in, 255, step);
		assert_hex(out, 32, "3fb735061abc519dfe979e54c1ee5bfad0a9d858b3315bad34bde999efd724dd");
		hash(out, 32, in, 32, in, 0, step);
		assert_hex(out, 32, "48a8997da407876b3d79c0d92325ad3b89cbb754d86ab71aee047ad345fd2c49");
		hash(out, 16, in, 32, in, 64, step);
		assert_hex(out, 16, "f1efa90d2547036841ecd3627fafbc36");
		hash(out, 16, NULL, 0, in, 65, step);
		assert_hex(out, 16, "399d3e92ccfcedcdde9bf4c2be14cf8c");
	}
}

static void test_equal(void **state)
{
	(void)state;
	assert_int_equal(blake2s_equal("abcd", "abcd", 4), 1);
	assert_int_equal(blake2s_equal("abcd", "abce", 4), 0);
	assert_int_equal(blake2s_equal("abcd", "bbcd", 4), 0);
}

static void session_key(uint8_t key[AGENT_KEY_LEN])
{
	uint8_t vm[AGENT_KEY_LEN], host[AGENT_NONCE_LEN], agent[AGENT_NONCE_LEN];

	for (size_t i = 0; i < sizeof(vm); i++)
		vm[i] = (uint8_t)i;
	memset(host, 1, sizeof(host));
	memset(agent, 2, sizeof(agent));
	agent_session_key(key, vm, host, agent, SESSION);
}

static const struct agent_frame ping = {
	.op = AGENT_PING, .seq = 7, .session = SESSION, .payload = (const uint8_t *)"hello", .length = 5,
};

/* Byte for byte what PROTOCOL.md says, made by a program that shares no code with ours. */
static void test_wire(void **state)
{
	uint8_t out[AGENT_FRAME_MAX], key[AGENT_KEY_LEN];

	(void)state;
	assert_int_equal(agent_frame_encode(out, sizeof(out), &ping, NULL), 41);
	assert_hex(out, 41, "f57670a60102000005000000070000008877665544332211000000004cbb719af40c100f68656c6c6f");
	session_key(key);
	assert_hex(key, 32, "95d688aebecf381b3437e849818c26b0fe91a13a2eb6bd6998528ac7613aea6e");
	assert_int_equal(agent_frame_encode(out, sizeof(out), &ping, key), 57);
	assert_hex(out, 57, "f57670a60102040005000000070000008877665544332211000000004cbb719ac81caab968656c6c6f"
			    "3326cbdb680d56ed8e55cc951f6bdcf0");
}

static void test_limits(void **state)
{
	static uint8_t out[AGENT_FRAME_MAX + 1], payload[AGENT_PAYLOAD_MAX + 1];
	struct agent_frame f = { .op = AGENT_PING, .payload = payload, .length = AGENT_PAYLOAD_MAX };
	uint8_t key[AGENT_KEY_LEN] = { 0 };

	(void)state;
	assert_int_equal(agent_frame_encode(out, AGENT_FRAME_MAX, &f, key), AGENT_FRAME_MAX);
	assert_int_equal(agent_frame_encode(out, AGENT_FRAME_MAX - 1, &f, key), 0);
	f.length++;
	assert_int_equal(agent_frame_encode(out, sizeof(out), &f, NULL), 0);
	f.length = 0;
	assert_int_equal(agent_frame_encode(out, AGENT_HEADER_LEN, &f, NULL), AGENT_HEADER_LEN);
	assert_int_equal(agent_frame_encode(out, AGENT_HEADER_LEN - 1, &f, NULL), 0);
}

static void feed(struct agent_decoder *d, const void *bytes, size_t n)
{
	uint8_t *p;

	assert_true(agent_decoder_space(d, &p) >= n);
	memcpy(p, bytes, n);
	agent_decoder_fed(d, n);
}

static void assert_ping(const struct agent_frame *f)
{
	assert_int_equal(f->version, AGENT_VERSION);
	assert_int_equal(f->op, AGENT_PING);
	assert_int_equal(f->seq, 7);
	assert_true(f->session == SESSION);
	assert_int_equal(f->length, 5);
	assert_memory_equal(f->payload, "hello", 5);
}

static void test_decode_bytewise(void **state)
{
	_cleanup_free_ struct agent_decoder *d = malloc(sizeof(*d));
	uint8_t out[64];
	struct agent_frame f;
	size_t n = agent_frame_encode(out, sizeof(out), &ping, NULL);

	(void)state;
	agent_decoder_init(d);
	assert_false(agent_decoder_partial(d));
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < n; i++) {
			feed(d, out + i, 1);
			assert_int_equal(agent_decoder_next(d, &f), i + 1 == n);
			assert_int_equal(agent_decoder_partial(d), i + 1 != n);
		}
	assert_ping(&f);
	assert_int_equal(d->frames, 3);
	assert_int_equal(d->skipped, 0);
}

/* A frame cut at each place, and garbage of every length, before a whole one. */
static void test_decode_cut(void **state)
{
	_cleanup_free_ struct agent_decoder *d = malloc(sizeof(*d));
	uint8_t out[64];
	struct agent_frame f;
	size_t n = agent_frame_encode(out, sizeof(out), &ping, NULL);

	(void)state;
	for (size_t cut = 0; cut < n; cut++) {
		agent_decoder_init(d);
		feed(d, out, cut);
		assert_int_equal(agent_decoder_next(d, &f), 0);
		feed(d, out, n);
		int r = agent_decoder_next(d, &f);
		for (int tries = 0; !r && tries < 3; tries++) {
			assert_true(agent_decoder_partial(d));
			agent_decoder_expire(d);
			r = agent_decoder_next(d, &f);
		}
		assert_int_equal(r, 1);
		assert_ping(&f);
		assert_int_equal(d->skipped, cut);
	}
	for (size_t noise = 0; noise < 200; noise++) {
		agent_decoder_init(d);
		for (size_t i = 0; i < noise; i++)
			feed(d, &(uint8_t){ (uint8_t)(i % 3 ? 0xf5 : 'v') }, 1);
		feed(d, out, n);
		assert_int_equal(agent_decoder_next(d, &f), 1);
		assert_ping(&f);
	}
}

/* A header that claims the most is believed no longer than its time-out; then what it swallowed comes out. */
static void test_decode_swallowed(void **state)
{
	_cleanup_free_ struct agent_decoder *d = malloc(sizeof(*d));
	static uint8_t big[AGENT_FRAME_MAX], payload[AGENT_PAYLOAD_MAX];
	struct agent_frame f = { .op = AGENT_PING, .payload = payload, .length = AGENT_PAYLOAD_MAX };
	uint8_t out[64];
	size_t n = agent_frame_encode(out, sizeof(out), &ping, NULL);

	(void)state;
	assert_true(agent_frame_encode(big, sizeof(big), &f, NULL));
	agent_decoder_init(d);
	feed(d, big, 100);
	for (int i = 0; i < 20; i++)
		feed(d, out, n);
	assert_int_equal(agent_decoder_next(d, &f), 0);
	agent_decoder_expire(d);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(agent_decoder_next(d, &f), 1);
		assert_ping(&f);
	}
	assert_int_equal(agent_decoder_next(d, &f), 0);
	assert_false(agent_decoder_partial(d));
	assert_int_equal(d->damaged, 1);
}

/* Every single flipped bit is noticed, by a CRC or, where both were mended, by the MAC. */
static void test_damage(void **state)
{
	_cleanup_free_ struct agent_decoder *d = malloc(sizeof(*d));
	uint8_t out[64], key[AGENT_KEY_LEN];
	struct agent_frame f;

	(void)state;
	session_key(key);
	size_t n = agent_frame_encode(out, sizeof(out), &ping, key);
	for (size_t bit = 0; bit < 8 * n; bit++) {
		agent_decoder_init(d);
		out[bit / 8] ^= (uint8_t)(1u << bit % 8);
		feed(d, out, n);
		out[bit / 8] ^= (uint8_t)(1u << bit % 8);
		int r = agent_decoder_next(d, &f);
		if (bit / 8 < n - AGENT_MAC_LEN)
			assert_int_equal(r, 0);
		else
			assert_true(r == 1 && !agent_frame_verify(&f, key));
	}
	agent_decoder_init(d);
	feed(d, out, n);
	assert_int_equal(agent_decoder_next(d, &f), 1);
	assert_true(agent_frame_verify(&f, key));
	key[31] ^= 1;
	assert_false(agent_frame_verify(&f, key));
}

static void test_no_mac(void **state)
{
	_cleanup_free_ struct agent_decoder *d = malloc(sizeof(*d));
	uint8_t out[64], key[AGENT_KEY_LEN] = { 0 };
	struct agent_frame f;

	(void)state;
	agent_decoder_init(d);
	feed(d, out, agent_frame_encode(out, sizeof(out), &ping, NULL));
	assert_int_equal(agent_decoder_next(d, &f), 1);
	assert_false(agent_frame_verify(&f, key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c),	      cmocka_unit_test(test_blake2s),
		cmocka_unit_test(test_equal),	      cmocka_unit_test(test_wire),
		cmocka_unit_test(test_limits),	      cmocka_unit_test(test_decode_bytewise),
		cmocka_unit_test(test_decode_cut),    cmocka_unit_test(test_decode_swallowed),
		cmocka_unit_test(test_damage),	      cmocka_unit_test(test_no_mac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
