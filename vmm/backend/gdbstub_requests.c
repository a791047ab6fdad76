// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The requests we make of a gdb stub, one function each, and their replies read
 * with suspicion. Must never send a request while the target runs.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/backend/gdbstub_private.h"

#define REQUEST_MAX 96 /* any request without a data block */

/* One exchange; text requests only. */
static int exchange(struct gdbstub *s, uint64_t timeout_us, const char **ret, size_t *ret_len,
		    struct err *e, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
static int exchange(struct gdbstub *s, uint64_t timeout_us, const char **ret, size_t *ret_len,
		    struct err *e, const char *fmt, ...)
{
	char request[REQUEST_MAX];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(request, sizeof(request), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(request))
		return err_set(e, ERR_FAILED, EINVAL, "", "gdb request too long");
	int r = gdbstub_post(s, request, (size_t)n, e);
	return r < 0 ? r : gdbstub_reply(s, timeout_us, NULL, ret, ret_len, e);
}

static bool is_error(const char *reply, size_t len)
{
	return len >= 3 && reply[0] == 'E' && (len == 3 || reply[3] == '.');
}

static int expect_ok(const char *request, const char *reply, size_t len, struct err *e)
{
	int cut = (int)strcspn(request, ",:"); /* not the data */

	if (len == 2 && !memcmp(reply, "OK", 2))
		return 0;
	if (len == 0)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "", "the gdb stub does not know the request %.*s",
			       cut, request);
	if (is_error(reply, len))
		return err_set(e, ERR_FAILED, EIO, "", "the gdb stub answered %.3s to %.*s", reply, cut, request);
	return err_set(e, ERR_FAILED, EPROTO, "", "the gdb stub gave no proper answer to %.*s", cut, request);
}

int gdbstub_command(struct gdbstub *s, const char *request, uint64_t timeout_us, struct err *e)
{
	const char *reply;
	size_t len;
	int r = exchange(s, timeout_us, &reply, &len, e, "%s", request);

	return r < 0 ? r : expect_ok(request, reply, len, e);
}

int gdbstub_greet(struct gdbstub *s, const char *request, uint64_t timeout_us, struct err *e)
{
	const char *reply;
	unsigned strays;
	size_t len;
	int r = gdbstub_post(s, request, strlen(request), e);

	if (r >= 0)
		r = gdbstub_reply(s, timeout_us, &strays, &reply, &len, e);
	return r < 0 ? r : expect_ok(request, reply, len, e);
}

int gdbstub_read(struct gdbstub *s, uint64_t addr, void *buf, size_t len, uint64_t timeout_us, struct err *e)
{
	const char *reply;
	size_t got;

	if (len == 0 || len > GDBSTUB_READ_MAX)
		return err_set(e, ERR_FAILED, EINVAL, "", "cannot read %zu bytes in one gdb request", len);
	int r = exchange(s, timeout_us, &reply, &got, e, "m%llx,%zx", (unsigned long long)addr, len);
	if (r < 0)
		return r;
	if (got != 2 * len || hex_decode(reply, buf, len) != (ssize_t)len)
		return err_set(e, ERR_FAILED, EFAULT, "", "the gdb stub cannot read %zu bytes at 0x%llx", len,
			       (unsigned long long)addr);
	return 0;
}

/* A request that ends in a hex data block. */
static int send_block(struct gdbstub *s, const char *head, const void *data, size_t len,
		      uint64_t timeout_us, struct err *e)
{
	char request[REQUEST_MAX + 2 * GDBSTUB_WRITE_MAX + 1];
	size_t n = strlen(head);
	const char *reply;
	size_t got;

	if (len > GDBSTUB_WRITE_MAX || n > REQUEST_MAX)
		return err_set(e, ERR_FAILED, EINVAL, "", "cannot send %zu bytes in one gdb request", len);
	memcpy(request, head, n);
	hex_encode(data, len, request + n);
	int r = gdbstub_post(s, request, n + 2 * len, e);
	if (r >= 0)
		r = gdbstub_reply(s, timeout_us, NULL, &reply, &got, e);
	return r < 0 ? r : expect_ok(head, reply, got, e);
}

int gdbstub_write(struct gdbstub *s, uint64_t addr, const void *buf, size_t len, uint64_t timeout_us,
		  struct err *e)
{
	char head[REQUEST_MAX];

	snprintf(head, sizeof(head), "M%llx,%zx:", (unsigned long long)addr, len);
	int r = send_block(s, head, buf, len, timeout_us, e);
	if (r == -EIO)
		return err_set(e, ERR_FAILED, EFAULT, "", "the gdb stub cannot write %zu bytes at 0x%llx", len,
			       (unsigned long long)addr);
	return r;
}

static int select_thread(struct gdbstub *s, unsigned thread, struct err *e)
{
	char request[REQUEST_MAX];
	int n = snprintf(request, sizeof(request), "Hg%x", thread);

	return gdbstub_post(s, request, (size_t)n, e);
}

static int selected(struct gdbstub *s, uint64_t timeout_us, struct err *e)
{
	const char *reply;
	size_t len;
	int r = gdbstub_reply(s, timeout_us, NULL, &reply, &len, e);

	return r < 0 ? r : expect_ok("Hg", reply, len, e);
}

int gdbstub_regs_read(struct gdbstub *s, unsigned thread, void *buf, size_t cap, uint64_t timeout_us,
		      struct err *e)
{
	const char *reply;
	size_t len;
	int r = select_thread(s, thread, e);

	if (r >= 0)
		r = gdbstub_post(s, "g", 1, e); /* both in one write: half the waiting while the VM is held */
	if (r < 0)
		return r;
	int chosen = selected(s, timeout_us, e);
	if (chosen < 0 && !gdbstub_alive(s))
		return chosen;
	r = gdbstub_reply(s, timeout_us, NULL, &reply, &len, chosen < 0 ? NULL : e);
	if (chosen < 0 || r < 0)
		return chosen < 0 ? chosen : r;
	ssize_t n = len % 2 || memchr(reply, ' ', len) ? -EINVAL : hex_decode(reply, buf, cap);
	if (n < 0 || (size_t)n != len / 2)
		return err_set(e, ERR_FAILED, EPROTO, "", "the gdb stub gave no registers of thread %u", thread);
	return (int)n;
}

int gdbstub_regs_write(struct gdbstub *s, unsigned thread, const void *buf, size_t len, uint64_t timeout_us,
		       struct err *e)
{
	int r = select_thread(s, thread, e);

	if (r >= 0)
		r = selected(s, timeout_us, e);
	return r < 0 ? r : send_block(s, "G", buf, len, timeout_us, e);
}

int gdbstub_trap(struct gdbstub *s, bool set, enum gdbstub_trap kind, uint64_t addr, uint64_t timeout_us,
		 struct err *e)
{
	char request[REQUEST_MAX];

	snprintf(request, sizeof(request), "%c%d,%llx,1", set ? 'Z' : 'z', (int)kind, (unsigned long long)addr);
	return gdbstub_command(s, request, timeout_us, e);
}

static int resume(struct gdbstub *s, const char *request, uint64_t timeout_us, struct err *e)
{
	int r = gdbstub_post(s, request, strlen(request), e);

	if (r >= 0)
		r = gdbstub_flush(s, now_us() + timeout_us, e);
	if (r >= 0)
		s->running = true;
	return r;
}

/* A mask with a bit the accelerator lacks is answered E22 (gdbstub.c, handle_set_qemu_sstep()): ask first. */
int gdbstub_step_alone(struct gdbstub *s, uint64_t timeout_us, struct err *e)
{
	const char *reply;
	char request[REQUEST_MAX];
	size_t len;
	int r = exchange(s, timeout_us, &reply, &len, e, "qqemu.sstepbits");

	if (r < 0)
		return r;
	unsigned enable = gdbstub_parse_bit(reply, len, "ENABLE"), no_irq = gdbstub_parse_bit(reply, len, "NOIRQ");
	if (!enable || !no_irq)
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "", "this VM cannot be stepped with interrupts blocked");
	snprintf(request, sizeof(request), "Qqemu.sstep=%x", enable | no_irq | gdbstub_parse_bit(reply, len, "NOTIMER"));
	return gdbstub_command(s, request, timeout_us, e);
}

int gdbstub_go(struct gdbstub *s, uint64_t timeout_us, struct err *e)
{
	return resume(s, "vCont;c", timeout_us, e);
}

int gdbstub_step(struct gdbstub *s, unsigned thread, uint64_t timeout_us, struct err *e)
{
	char request[REQUEST_MAX];

	snprintf(request, sizeof(request), "vCont;s:%x", thread);
	return resume(s, request, timeout_us, e);
}

int gdbstub_wait_stop(struct gdbstub *s, uint64_t timeout_us, struct gdbstub_stop *ret, struct err *e)
{
	if (!s->running)
		return err_set(e, ERR_FAILED, EINVAL, "", "nothing was resumed through the gdb stub");
	int r = s->dead ? gdbstub_gone(e) : gdbstub_receive(s, now_us() + timeout_us, e);
	if (r <= 0)
		return r;
	s->running = false;
	s->outstanding = 0;
	s->out_len = s->sent = 0;
	if (gdbstub_parse_stop(s->pkt, s->pkt_len, ret) < 0)
		return gdbstub_fail(s, e, is_error(s->pkt, s->pkt_len) ? "refused to let the VM run" :
						  "answered something else than a stop");
	return 1;
}

int gdbstub_interrupt(struct gdbstub *s, uint64_t timeout_us, struct err *e)
{
	if (!s->running || s->dead)
		return err_set(e, ERR_FAILED, EINVAL, "", "nothing runs under the gdb stub");
	return gdbstub_send(s, "\003", 1, now_us() + timeout_us, e);
}

static int hex_number(const char *text, size_t len, size_t *pos, unsigned *ret)
{
	size_t start = *pos;
	unsigned value = 0;

	for (; *pos < len; ++*pos) {
		char c = text[*pos];
		unsigned v;

		if (c >= '0' && c <= '9')
			v = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = (unsigned)(c - 'a') + 10;
		else
			break;
		if (value >> 24)
			return -EBADMSG;
		value = value << 4 | v;
	}
	*ret = value;
	return *pos > start ? 0 : -EBADMSG;
}

unsigned gdbstub_parse_bit(const char *text, size_t len, const char *name)
{
	size_t n = strlen(name), at = 0;
	unsigned value;

	while (at < len) {
		const char *comma = memchr(text + at, ',', len - at);
		size_t end = comma ? (size_t)(comma - text) : len;

		if (end - at > n && memcmp(text + at, name, n) == 0 && text[at + n] == '=') {
			at += n + 1;
			return hex_number(text, end, &at, &value) == 0 && at == end ? value : 0;
		}
		at = end + 1;
	}
	return 0;
}

/* "thread:2;" or, with processes, "thread:p1.2;". */
static int stop_thread(const char *text, size_t len, struct gdbstub_stop *ret)
{
	static const char key[] = "thread:";
	const char *at = memmem(text, len, key, sizeof(key) - 1);

	if (!at)
		return 0;
	size_t pos = (size_t)(at - text) + sizeof(key) - 1;
	unsigned process;
	if (pos < len && text[pos] == 'p') {
		pos++;
		if (hex_number(text, len, &pos, &process) < 0 || pos >= len || text[pos++] != '.')
			return -EBADMSG;
	}
	return hex_number(text, len, &pos, &ret->thread);
}

int gdbstub_parse_stop(const char *text, size_t len, struct gdbstub_stop *ret)
{
	struct gdbstub_stop stop = { 0 };
	size_t pos = 1;

	if (len < 3 || !strchr("TSWX", text[0]) || !text[0])
		return -EBADMSG;
	if (hex_number(text, 3, &pos, &stop.signal) < 0 || pos != 3)
		return -EBADMSG;
	stop.ended = text[0] == 'W' || text[0] == 'X';
	if (text[0] == 'T' && stop_thread(text, len, &stop) < 0)
		return -EBADMSG;
	*ret = stop;
	return 0;
}
