// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packets of the gdb remote protocol: framing, checksums, escapes, run lengths,
 * acknowledgements, deadlines. Must never wait without a deadline, never send a
 * byte that no request needs, and never hand out a packet whose checksum is wrong.
 */
#include "vmm/backend/gdbstub.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/backend/gdbstub_private.h"

#define RETRIES_MAX 3		 /* damaged packets in a row, either direction */
#define SKIPPED_MAX (256u << 10) /* bytes outside any packet */

int gdbstub_adopt(int fd, struct gdbstub **ret)
{
	_cleanup_close_ int owned = fd;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	struct gdbstub *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->fd = TAKE_FD(owned);
	*ret = s;
	return 0;
}

void gdbstub_free(struct gdbstub *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

bool gdbstub_alive(const struct gdbstub *s)
{
	return s && !s->dead;
}

void gdbstub_abandon(struct gdbstub *s)
{
	s->dead = true;
}

int gdbstub_fail(struct gdbstub *s, struct err *e, const char *what)
{
	s->dead = true;
	return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the gdb stub %s", what);
}

int gdbstub_gone(struct err *e)
{
	return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the connection to the gdb stub is lost");
}

static int wait_fd(struct gdbstub *s, short events, uint64_t deadline)
{
	struct pollfd pfd = { .fd = s->fd, .events = events };

	for (;;) {
		uint64_t now = now_us();
		uint64_t left = deadline > now ? deadline - now : 0;
		struct timespec ts = { (time_t)(left / 1000000), (long)(left % 1000000) * 1000 };
		int r = ppoll(&pfd, 1, &ts, NULL);

		if (r > 0)
			return 1;
		if (r == 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

int gdbstub_send(struct gdbstub *s, const char *buf, size_t len, uint64_t deadline, struct err *e)
{
	while (len) {
		ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL);

		if (n >= 0) {
			buf += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			int r = wait_fd(s, POLLOUT, deadline);
			if (r <= 0)
				return gdbstub_fail(s, e, "does not take requests");
		} else if (errno != EINTR) {
			return gdbstub_fail(s, e, "closed the connection");
		}
	}
	return 0;
}

int gdbstub_post(struct gdbstub *s, const char *request, size_t len, struct err *e)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t sum = 0;

	if (s->dead)
		return gdbstub_gone(e);
	if (s->running)
		return err_set(e, ERR_FAILED, EBUSY, "", "the VM runs: the gdb stub takes no requests");
	/* Worst case: every byte escaped, plus '+', '$', '#', two digits. */
	if (s->outstanding >= GDBSTUB_POST_MAX || s->out_len + 2 * len + 5 > sizeof(s->out))
		return err_set(e, ERR_FAILED, ENOBUFS, "", "too many requests to the gdb stub at once");
	if (s->ack_due || s->outstanding)
		s->out[s->out_len++] = '+';
	s->ack_due = false;
	s->last_start = s->out_len;
	s->out[s->out_len++] = '$';
	for (size_t i = 0; i < len; i++) {
		char c = request[i];

		if (c == '$' || c == '#' || c == '}' || c == '*') {
			s->out[s->out_len++] = '}';
			sum = (uint8_t)(sum + '}');
			c ^= 0x20;
		}
		s->out[s->out_len++] = c;
		sum = (uint8_t)(sum + (uint8_t)c);
	}
	s->out[s->out_len++] = '#';
	s->out[s->out_len++] = digits[sum >> 4];
	s->out[s->out_len++] = digits[sum & 15];
	s->outstanding++;
	s->retries = 0;
	return 0;
}

int gdbstub_flush(struct gdbstub *s, uint64_t deadline, struct err *e)
{
	if (s->dead)
		return gdbstub_gone(e);
	if (s->sent == s->out_len)
		return 0;
	int r = gdbstub_send(s, s->out + s->sent, s->out_len - s->sent, deadline, e);
	s->sent = s->out_len;
	return r;
}

/* The stub saw a damaged request: only the last one can be meant, so only a lone one can be sent again. */
static int resend(struct gdbstub *s, uint64_t deadline, struct err *e)
{
	if (s->outstanding != 1 || ++s->retries > RETRIES_MAX)
		return gdbstub_fail(s, e, "keeps refusing our packets as damaged");
	return gdbstub_send(s, s->out + s->last_start, s->out_len - s->last_start, deadline, e);
}

/* The next byte: 1, 0 on time-out, negative errno. */
static int next_byte(struct gdbstub *s, uint64_t deadline, char *ret, struct err *e)
{
	while (s->in_pos == s->in_len) {
		ssize_t n = recv(s->fd, s->in, sizeof(s->in), 0);

		if (n > 0) {
			s->in_pos = 0;
			s->in_len = (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			int r = wait_fd(s, POLLIN, deadline);
			if (r == 0)
				return 0;
			if (r < 0)
				return gdbstub_fail(s, e, "cannot be waited for");
		} else if (n == 0 || errno != EINTR) {
			return gdbstub_fail(s, e, "closed the connection");
		}
	}
	*ret = s->in[s->in_pos++];
	return 1;
}

/* Takes one payload byte: escapes, and runs ("0* " is four zeros). -EPROTO when it makes no sense. */
static int take_byte(struct gdbstub *s, char c)
{
	size_t copies = 1;

	if (s->escaped) {
		c = (char)(c ^ 0x20);
		s->escaped = false;
	} else if (s->run) {
		s->run = false;
		if (c < ' ' || c > '~' || !s->pkt_len)
			return -EPROTO;
		copies = (size_t)(c - 29);
		c = s->pkt[s->pkt_len - 1];
	} else if (c == '}') {
		s->escaped = true;
		return 0;
	} else if (c == '*') {
		s->run = true;
		return 0;
	}
	if (copies > GDBSTUB_PACKET_MAX - s->pkt_len)
		return -EPROTO;
	memset(s->pkt + s->pkt_len, c, copies);
	s->pkt_len += copies;
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Reads from behind '$' or '%' to the checksum: 1 good, -EILSEQ damaged, 0 time-out, other errno final. */
static int read_body(struct gdbstub *s, uint64_t deadline, struct err *e)
{
	uint8_t sum = 0;
	bool sane = true;
	int expected = 0;
	char c = 0;

	s->pkt_len = 0;
	s->escaped = s->run = false;
	for (size_t wire = 0;; wire++) {
		int r = next_byte(s, deadline, &c, e);
		if (r <= 0)
			return r;
		if (c == '#')
			break;
		if (wire > 2 * GDBSTUB_PACKET_MAX)
			return gdbstub_fail(s, e, "sent a packet beyond every limit");
		sum = (uint8_t)(sum + (uint8_t)c);
		if (sane && take_byte(s, c) < 0)
			sane = false;
	}
	for (int i = 0; i < 2; i++) {
		int r = next_byte(s, deadline, &c, e);
		if (r <= 0)
			return r;
		int v = hex_value(c);
		expected = v < 0 || expected < 0 ? -1 : expected << 4 | v;
	}
	s->pkt[s->pkt_len] = '\0';
	if (expected != sum)
		return -EILSEQ;
	if (!sane || s->escaped || s->run)
		return gdbstub_fail(s, e, "sent a packet that makes no sense");
	return 1;
}

/* A damaged packet: ask for it again. Only called while a reply is due, so the target is stopped. */
static int ask_again(struct gdbstub *s, uint64_t deadline, struct err *e)
{
	if (++s->damaged > RETRIES_MAX)
		return gdbstub_fail(s, e, "sends packets with wrong checksums");
	return gdbstub_send(s, "-", 1, deadline, e);
}

int gdbstub_receive(struct gdbstub *s, uint64_t deadline, struct err *e)
{
	char c = 0;

	for (size_t skipped = 0; skipped < SKIPPED_MAX;) {
		int r = next_byte(s, deadline, &c, e);
		if (r <= 0)
			return r;
		if (c == '-') {
			r = resend(s, deadline, e);
			if (r < 0)
				return r;
		}
		if (c != '$' && c != '%') {
			skipped++;
			continue;
		}
		r = read_body(s, deadline, e);
		if (r == 0)
			return gdbstub_fail(s, e, "fell silent in the middle of a packet");
		if (r == 1 && c == '$') {
			s->ack_due = true;
			s->damaged = 0;
			return 1;
		}
		if (r == -EILSEQ && c == '$')
			r = ask_again(s, deadline, e);
		if (r < 0 && r != -EILSEQ)
			return r;
		skipped += s->pkt_len + 1; /* notifications ('%') are not acknowledged and not ours */
	}
	return gdbstub_fail(s, e, "sends noise");
}

int gdbstub_reply(struct gdbstub *s, uint64_t timeout_us, unsigned *ret_strays,
		  const char **ret, size_t *ret_len, struct err *e)
{
	uint64_t deadline = now_us() + timeout_us;
	struct gdbstub_stop stop;
	unsigned strays = 0;
	int r = gdbstub_flush(s, deadline, e);

	while (r >= 0) {
		r = gdbstub_receive(s, deadline, e);
		if (r == 0)
			return gdbstub_fail(s, e, "does not answer");
		if (r < 0 || gdbstub_parse_stop(s->pkt, s->pkt_len, &stop) < 0)
			break;
		if (!ret_strays || ++strays > RETRIES_MAX) {
			gdbstub_fail(s, e, "reported a stop nobody asked for");
			return err_set(e, ERR_FAILED, EBUSY, "resumed",
				       "somebody let the VM run while it was held");
		}
	}
	if (r < 0)
		return r;
	if (--s->outstanding == 0)
		s->out_len = s->sent = 0;
	if (ret_strays)
		*ret_strays = strays;
	*ret = s->pkt;
	*ret_len = s->pkt_len;
	return 0;
}
