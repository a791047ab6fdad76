/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A 16550A at 0x3f8, IRQ 4: what the guest prints goes to a file. No input. */
#ifndef VMPOKE_VMM_KVM_SERIAL_H
#define VMPOKE_VMM_KVM_SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIAL_PORT 0x3f8
#define SERIAL_IRQ  4

struct serial {
	pthread_mutex_t lock; /* everything below */
	int fd;		      /* -1: nowhere */
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool fifo, thr_empty_pending;
	char line[256]; /* not yet written */
	size_t n;
};

void serial_init(struct serial *s, int fd);
void serial_done(struct serial *s);

/* One byte of register reg (0..7). Returns the level its interrupt line has now. */
bool serial_access(struct serial *s, unsigned reg, bool out, uint8_t *data);

/* Writes out what is still buffered. */
void serial_flush(struct serial *s);

#endif
