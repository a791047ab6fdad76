// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The gdb protocol client against a scripted stub: what it says is written before
 * the client asks, what the client sent is read afterwards. Must never need a VM.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "vmm/backend/gdbstub.h"

#define WAIT_US 50000u

struct rig {
	struct gdbstub *stub;
	int peer;
};

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	int fds[2];

	assert_non_null(rig);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	rig->peer = fds[1];
	assert_int_equal(gdbstub_adopt(fds[0], &rig->stub), 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	gdbstub_free(rig->stub);
	if (rig->peer >= 0)
		close(rig->peer);
	free(rig);
	return 0;
}

static void raw(struct rig *rig, const char *bytes)
{
	assert_int_equal(write_full(rig->peer, bytes, strlen(bytes)), 0);
}

/* One packet with its right checksum. */
static void says(struct rig *rig, const char *payload)
{
	char line[9000];
	uint8_t sum = 0;

	for (const char *p = payload; *p; p++)
		sum = (uint8_t)(sum + (uint8_t)*p);
	snprintf(line, sizeof(line), "+$%s#%02x", payload, sum);
	raw(rig, line);
}

static void expect_sent(struct rig *rig, const char *bytes)
{
	char got[9000];
	ssize_t n = recv(rig->peer, got, sizeof(got) - 1, MSG_DONTWAIT);

	got[n < 0 ? 0 : n] = '\0';
	assert_string_equal(got, bytes);
}

static int command(struct rig *rig, struct err *e)
{
	return gdbstub_command(rig->stub, "D", WAIT_US, e);
}

static void test_ok(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	says(rig, "OK");
	assert_int_equal(command(rig, &e), 0);
	expect_sent(rig, "$D#44"); /* and no acknowledgement: the VM may run already */
	says(rig, "OK");
	assert_int_equal(command(rig, &e), 0);
	expect_sent(rig, "+$D#44");
}

static void sent_has(struct rig *rig, const char *what)
{
	char got[9000];
	ssize_t n = recv(rig->peer, got, sizeof(got) - 1, MSG_DONTWAIT);

	got[n < 0 ? 0 : n] = '\0';
	if (!strstr(got, what))
		fail_msg("'%s' is not in '%s'", what, got);
}

/* KVM knows no stopped timers: a mask that asks for them is refused as a whole. */
static void test_step_alone(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	says(rig, "ENABLE=1,NOIRQ=2,NOTIMER=4");
	says(rig, "OK");
	assert_int_equal(gdbstub_step_alone(rig->stub, WAIT_US, &e), 0);
	sent_has(rig, "$Qqemu.sstep=7#");
	says(rig, "ENABLE=1,NOIRQ=2");
	says(rig, "OK");
	assert_int_equal(gdbstub_step_alone(rig->stub, WAIT_US, &e), 0);
	sent_has(rig, "$Qqemu.sstep=3#");
	says(rig, "ENABLE=1");
	assert_int_equal(gdbstub_step_alone(rig->stub, WAIT_US, &e), -EOPNOTSUPP);
	says(rig, "");
	assert_int_equal(gdbstub_step_alone(rig->stub, WAIT_US, &e), -EOPNOTSUPP);
	says(rig, "ENABLE=1,NOIRQ=2,NOTIMER=4");
	says(rig, "E22");
	assert_int_equal(gdbstub_step_alone(rig->stub, WAIT_US, &e), -EIO);
}

static void test_parse_bit(void **state)
{
	static const char text[] = "ENABLE=1,NOIRQ=2,NOTIMER=4,X=,Y=1z,NOIRQ2=8";

	(void)state;
	assert_int_equal(gdbstub_parse_bit(text, strlen(text), "ENABLE"), 1);
	assert_int_equal(gdbstub_parse_bit(text, strlen(text), "NOTIMER"), 4);
	assert_int_equal(gdbstub_parse_bit(text, strlen(text), "NOIRQ"), 2);
	assert_int_equal(gdbstub_parse_bit(text, strlen(text), "NO"), 0);
	assert_int_equal(gdbstub_parse_bit(text, strlen(text), "X"), 0);
	assert_int_equal(gdbstub_parse_bit(text, strlen(text), "Y"), 0);
	assert_int_equal(gdbstub_parse_bit(text, 7, "ENABLE"), 0);
	assert_int_equal(gdbstub_parse_bit("", 0, "ENABLE"), 0);
}

static void test_errors(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	says(rig, "E01");
	assert_int_equal(command(rig, &e), -EIO);
	assert_non_null(strstr(e.text, "E01"));
	says(rig, "");
	assert_int_equal(command(rig, &e), -EOPNOTSUPP);
	says(rig, "what");
	assert_int_equal(command(rig, &e), -EPROTO);
	assert_true(gdbstub_alive(rig->stub));
	says(rig, "OK");
	assert_int_equal(command(rig, &e), 0);
}

static void test_wrong_checksum_is_asked_again(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	raw(rig, "+$OK#00");
	says(rig, "OK");
	assert_int_equal(command(rig, &e), 0);
	expect_sent(rig, "$D#44-");
}

static void test_wrong_checksums_end_it(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	for (int i = 0; i < 5; i++)
		raw(rig, "$OK#zz");
	assert_int_equal(command(rig, &e), -ENOTCONN);
	assert_int_equal(e.kind, ERR_INACTIVE);
	assert_false(gdbstub_alive(rig->stub));
	says(rig, "OK");
	assert_int_equal(command(rig, &e), -ENOTCONN);
}

static void test_nak_resends(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	raw(rig, "-");
	says(rig, "OK");
	assert_int_equal(command(rig, &e), 0);
	expect_sent(rig, "$D#44$D#44");
}

static void test_naks_end_it(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	raw(rig, "-----");
	assert_int_equal(command(rig, &e), -ENOTCONN);
	expect_sent(rig, "$D#44$D#44$D#44$D#44");
}

static void test_stray_stop(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	uint8_t byte;

	says(rig, "T02thread:01;"); /* QEMU 7.2 greets like this */
	says(rig, "OK");
	assert_int_equal(gdbstub_greet(rig->stub, "Hg1", WAIT_US, &e), 0);
	says(rig, "T05thread:02;");
	assert_int_equal(gdbstub_read(rig->stub, 0, &byte, 1, WAIT_US, &e), -EBUSY);
	assert_string_equal(e.rule, "resumed");
	assert_false(gdbstub_alive(rig->stub));
}

static void test_split_packet(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	uint8_t two[2];

	raw(rig, "+$ab");
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		usleep(5000);
		_exit(write_full(rig->peer, "cd#", 3) || usleep(5000) || write_full(rig->peer, "8a", 2));
	}
	assert_int_equal(gdbstub_read(rig->stub, 0x1000, two, 2, 2000000, &e), 0);
	assert_memory_equal(two, "\xab\xcd", 2);
	expect_sent(rig, "$m1000,2#8c");
}

static void test_silence_and_half_packet(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	uint64_t start = now_us();

	raw(rig, "+$OK");
	assert_int_equal(command(rig, &e), -ENOTCONN);
	assert_true(now_us() - start >= WAIT_US && now_us() - start < 20 * WAIT_US);
	assert_false(gdbstub_alive(rig->stub));
}

static void test_silence(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	assert_int_equal(command(rig, &e), -ENOTCONN);
	assert_non_null(strstr(e.text, "does not answer"));
}

static void test_close(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	close(rig->peer);
	rig->peer = -1;
	assert_int_equal(command(rig, &e), -ENOTCONN);
}

static void write_much(struct rig *rig, size_t n, char c)
{
	char *big = malloc(n + 1);

	assert_non_null(big);
	memset(big, c, n);
	big[n] = '\0';
	raw(rig, big);
	free(big);
}

static void test_oversized(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	raw(rig, "$");
	write_much(rig, 40000, 'a');
	assert_int_equal(command(rig, &e), -ENOTCONN);
	assert_non_null(strstr(e.text, "beyond every limit"));
}

static void test_run_lengths(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	uint8_t buf[4];

	says(rig, "0* 0* "); /* 0 + 3 copies, twice: eight zeros */
	assert_int_equal(gdbstub_read(rig->stub, 0, buf, 4, WAIT_US, &e), 0);
	assert_memory_equal(buf, "\0\0\0\0", 4);
	says(rig, "*~");
	assert_int_equal(gdbstub_read(rig->stub, 0, buf, 4, WAIT_US, &e), -ENOTCONN);
}

static void test_run_length_bomb(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	char bomb[802] = "a";

	for (int i = 0; i < 400; i++)
		memcpy(bomb + 1 + 2 * i, "*~", 2);
	says(rig, bomb);
	assert_int_equal(command(rig, &e), -ENOTCONN);
	assert_non_null(strstr(e.text, "no sense"));
}

static void test_read_length(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	uint8_t buf[4096];

	says(rig, "abc");
	assert_int_equal(gdbstub_read(rig->stub, 0, buf, 2, WAIT_US, &e), -EFAULT);
	says(rig, "abcdef");
	assert_int_equal(gdbstub_read(rig->stub, 0, buf, 2, WAIT_US, &e), -EFAULT);
	says(rig, "E14");
	assert_int_equal(gdbstub_read(rig->stub, 0, buf, 2, WAIT_US, &e), -EFAULT);
	assert_int_equal(gdbstub_read(rig->stub, 0, buf, sizeof(buf), WAIT_US, &e), -EINVAL);
	assert_int_equal(gdbstub_read(rig->stub, 0, buf, 0, WAIT_US, &e), -EINVAL);
}

static void test_write(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	uint8_t buf[GDBSTUB_WRITE_MAX + 1] = { 0x0f, 0x1f };

	says(rig, "OK");
	assert_int_equal(gdbstub_write(rig->stub, 0xabc, buf, 2, WAIT_US, &e), 0);
	expect_sent(rig, "$Mabc,2:0f1f#38");
	says(rig, "E22");
	assert_int_equal(gdbstub_write(rig->stub, 0xabc, buf, 2, WAIT_US, &e), -EFAULT);
	assert_int_equal(gdbstub_write(rig->stub, 0, buf, sizeof(buf), WAIT_US, &e), -EINVAL);
}

static void test_registers(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	uint8_t buf[8];

	says(rig, "OK");
	says(rig, "0011223344556677");
	assert_int_equal(gdbstub_regs_read(rig->stub, 2, buf, sizeof(buf), WAIT_US, &e), 8);
	expect_sent(rig, "$Hg2#e1+$g#67");
	says(rig, "E22");
	says(rig, "0011");
	assert_int_equal(gdbstub_regs_read(rig->stub, 9, buf, sizeof(buf), WAIT_US, &e), -EIO);
	says(rig, "OK");
	says(rig, "00112233445566778899");
	assert_int_equal(gdbstub_regs_read(rig->stub, 2, buf, sizeof(buf), WAIT_US, &e), -EPROTO);
	assert_true(gdbstub_alive(rig->stub));
}

static void test_go_and_interrupt(void **state)
{
	struct rig *rig = *state;
	struct gdbstub_stop stop;
	struct err e = { 0 };

	assert_int_equal(gdbstub_wait_stop(rig->stub, WAIT_US, &stop, &e), -EINVAL);
	assert_int_equal(gdbstub_interrupt(rig->stub, WAIT_US, &e), -EINVAL);
	assert_int_equal(gdbstub_go(rig->stub, WAIT_US, &e), 0);
	expect_sent(rig, "$vCont;c#a8");
	assert_int_equal(command(rig, &e), -EBUSY); /* it would stop the VM */
	expect_sent(rig, "");
	assert_int_equal(gdbstub_wait_stop(rig->stub, 1000, &stop, &e), 0);
	assert_int_equal(gdbstub_interrupt(rig->stub, WAIT_US, &e), 0);
	expect_sent(rig, "\003");
	says(rig, "T02thread:1f;");
	assert_int_equal(gdbstub_wait_stop(rig->stub, WAIT_US, &stop, &e), 1);
	assert_int_equal(stop.signal, 2);
	assert_int_equal(stop.thread, 0x1f);
	assert_int_equal(gdbstub_step(rig->stub, 2, WAIT_US, &e), 0);
	expect_sent(rig, "+$vCont;s:2#24");
	says(rig, "E22");
	assert_int_equal(gdbstub_wait_stop(rig->stub, WAIT_US, &stop, &e), -ENOTCONN);
}

static int parse(const char *text, struct gdbstub_stop *stop)
{
	return gdbstub_parse_stop(text, strlen(text), stop);
}

static void test_parse_stop(void **state)
{
	static const char *const bad[] = { "", "T", "T0", "OK", "E01", "m01", "T0gthread:1;", "Tg0",
					   "T05thread:;", "T05thread:p1;", "T05thread:p1.;", "T05thread:123456789;" };
	struct gdbstub_stop stop;

	(void)state;
	assert_int_equal(parse("T05thread:p01.0a;", &stop), 0);
	assert_int_equal(stop.thread, 10);
	assert_false(stop.ended);
	assert_int_equal(parse("S05", &stop), 0);
	assert_int_equal(stop.thread, 0);
	assert_int_equal(parse("W00", &stop), 0);
	assert_true(stop.ended);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(bad[i], &stop), -EBADMSG);
}

static void test_notifications_and_noise(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };

	raw(rig, "%Stop:T05#00garbage+++");
	says(rig, "OK");
	assert_int_equal(command(rig, &e), 0);
}

static void test_escapes(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	const char *reply;
	size_t len;

	assert_int_equal(gdbstub_post(rig->stub, "a#$}*", 5, &e), 0);
	says(rig, "x}\x03y}]");
	assert_int_equal(gdbstub_reply(rig->stub, WAIT_US, NULL, &reply, &len, &e), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(reply, "x#y}", 4);
	expect_sent(rig, "$a}\x03}\x04}]}\n#c3");
	for (int i = 0; i < GDBSTUB_POST_MAX; i++)
		assert_int_equal(gdbstub_post(rig->stub, "D", 1, &e), 0);
	assert_int_equal(gdbstub_post(rig->stub, "D", 1, &e), -ENOBUFS);
}

static void test_feature(void **state)
{
	struct rig *rig = *state;
	struct err e = { 0 };
	char *text = NULL;

	says(rig, "m<reg na");
	says(rig, "lme='x0'/>");
	assert_int_equal(gdbstub_feature_read(rig->stub, "target.xml", WAIT_US, &text, &e), 0);
	assert_string_equal(text, "<reg name='x0'/>");
	free(text);
	sent_has(rig, "$qXfer:features:read:target.xml:7,7d0#");
	says(rig, "E00");
	assert_int_equal(gdbstub_feature_read(rig->stub, "none.xml", WAIT_US, &text, &e), -EOPNOTSUPP);
	says(rig, "m"); /* more of nothing, for ever */
	assert_int_equal(gdbstub_feature_read(rig->stub, "none.xml", WAIT_US, &text, &e), -EOPNOTSUPP);
	for (size_t i = 0; i <= GDBSTUB_FEATURE_MAX / 8000; i++) {
		char piece[8002] = { 'm' };
		memset(piece + 1, 'a', sizeof(piece) - 2);
		says(rig, piece);
	}
	assert_int_equal(gdbstub_feature_read(rig->stub, "bomb.xml", WAIT_US, &text, &e), -E2BIG);
}

static void test_pick(void **state)
{
	const unsigned numbers[] = { 0xab, 175 };
	struct rig *rig = *state;
	struct err e = { 0 };
	uint64_t v[2];

	says(rig, "0100000000000080");
	says(rig, "01b0574100003a00");
	assert_int_equal(gdbstub_regs_pick(rig->stub, numbers, 2, WAIT_US, v, &e), 0);
	assert_true(v[0] == 0x8000000000000001 && v[1] == 0x003a00004157b001);
	sent_has(rig, "$pab#33+$paf#37");
	says(rig, "E14");
	says(rig, "01b0574100003a00");
	assert_int_equal(gdbstub_regs_pick(rig->stub, numbers, 2, WAIT_US, v, &e), -EPROTO);
	says(rig, "OK"); /* the replies are still in step */
	assert_int_equal(command(rig, &e), 0);
	says(rig, "01b05741");
	assert_int_equal(gdbstub_regs_pick(rig->stub, numbers, 1, WAIT_US, v, &e), -EPROTO);
	assert_int_equal(gdbstub_regs_pick(rig->stub, numbers, GDBSTUB_POST_MAX + 1, WAIT_US, v, &e), -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ok), TEST(test_step_alone), cmocka_unit_test(test_parse_bit),
		TEST(test_errors), TEST(test_wrong_checksum_is_asked_again),
		TEST(test_wrong_checksums_end_it), TEST(test_nak_resends), TEST(test_naks_end_it),
		TEST(test_stray_stop), TEST(test_split_packet), TEST(test_silence_and_half_packet),
		TEST(test_silence), TEST(test_close), TEST(test_oversized), TEST(test_run_lengths),
		TEST(test_run_length_bomb), TEST(test_read_length), TEST(test_write), TEST(test_registers),
		TEST(test_go_and_interrupt), TEST(test_parse_stop), TEST(test_notifications_and_noise),
		TEST(test_escapes), TEST(test_feature), TEST(test_pick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
