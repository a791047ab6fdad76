// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The serial console; see serial.h. Registers as in the 16550D data sheet, as far
 * as Linux's 8250 driver and its autodetection look at them. The transmitter is
 * always empty: a guest can print as fast as it takes exits, and must never be
 * able to make us keep more than one line in memory.
 */
#include "vmm/kvm/serial.h"

#include <poll.h>
#include <unistd.h>

#include "protocol/util.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_THRI   0x02
#define IIR_NONE   0x01
#define IIR_THRI   0x02
#define IIR_FIFO   0xc0
#define LCR_DLAB   0x80
#define MCR_LOOP   0x10
#define LSR_EMPTY  0x60 /* THRE | TEMT */
#define MSR_READY  0xb0 /* DCD | DSR | CTS */

void serial_init(struct serial *s, int fd)
{
	*s = (struct serial){ .fd = fd };
	pthread_mutex_init(&s->lock, NULL);
}

/* What the file does not take is lost: neither a full disk nor a pipe that nobody reads may stop the guest. */
static void flush(struct serial *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };

	if (s->fd >= 0 && s->n && poll(&p, 1, 0) > 0 && p.revents & POLLOUT)
		write_full(s->fd, s->line, s->n);
	s->n = 0;
}

void serial_flush(struct serial *s)
{
	pthread_mutex_lock(&s->lock);
	flush(s);
	pthread_mutex_unlock(&s->lock);
}

void serial_done(struct serial *s)
{
	flush(s);
	if (s->fd >= 0)
		close(s->fd);
	pthread_mutex_destroy(&s->lock);
}

static void put(struct serial *s, uint8_t byte)
{
	s->line[s->n++] = (char)byte;
	if (byte == '\n' || s->n == sizeof(s->line))
		flush(s);
}

static void reg_write(struct serial *s, unsigned reg, uint8_t v)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		if (dlab) {
			s->dll = v;
		} else {
			if (!(s->mcr & MCR_LOOP))
				put(s, v);
			s->thr_empty_pending = true;
		}
		break;
	case REG_IER:
		if (dlab) {
			s->dlm = v;
			break;
		}
		/* Enabling the interrupt while the register is empty raises it at once. */
		if (v & IER_THRI && !(s->ier & IER_THRI))
			s->thr_empty_pending = true;
		s->ier = v & 0x0f;
		break;
	case REG_IIR_FCR:
		s->fifo = v & 1;
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		s->mcr = v & 0x1f;
		break;
	case REG_SCR:
		s->scr = v;
		break;
	default:
		break;
	}
}

static uint8_t iir_read(struct serial *s)
{
	uint8_t fifo = s->fifo ? IIR_FIFO : 0;

	if (!s->thr_empty_pending || !(s->ier & IER_THRI))
		return fifo | IIR_NONE;
	s->thr_empty_pending = false; /* reading it acknowledges it */
	return fifo | IIR_THRI;
}

/* In loop-back mode the outputs RTS, DTR, OUT1, OUT2 come back as CTS, DSR, RI, DCD. */
static uint8_t msr_read(const struct serial *s)
{
	unsigned m = s->mcr;

	if (!(m & MCR_LOOP))
		return MSR_READY;
	return (uint8_t)((m & 2) << 3 | (m & 1) << 5 | (m & 4) << 4 | (m & 8) << 4);
}

static uint8_t reg_read(struct serial *s, unsigned reg)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (reg) {
	case REG_DATA:
		return dlab ? s->dll : 0;
	case REG_IER:
		return dlab ? s->dlm : s->ier;
	case REG_IIR_FCR:
		return iir_read(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return LSR_EMPTY;
	case REG_MSR:
		return msr_read(s);
	default:
		return s->scr;
	}
}

bool serial_access(struct serial *s, unsigned reg, bool out, uint8_t *data)
{
	pthread_mutex_lock(&s->lock);
	if (out)
		reg_write(s, reg, *data);
	else
		*data = reg_read(s, reg);
	bool level = s->thr_empty_pending && s->ier & IER_THRI;
	pthread_mutex_unlock(&s->lock);
	return level;
}
