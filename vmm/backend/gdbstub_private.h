/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by gdbstub.c (packets) and gdbstub_requests.c; nobody else includes this. */
#ifndef VMPOKE_VMM_BACKEND_GDBSTUB_PRIVATE_H
#define VMPOKE_VMM_BACKEND_GDBSTUB_PRIVATE_H

#include "vmm/backend/gdbstub.h"

struct gdbstub {
	int fd;
	bool dead;
	bool ack_due;	      /* the last packet is not yet acknowledged */
	bool running;	      /* resumed by gdbstub_go() or _step(), not stopped yet */
	unsigned outstanding; /* requests without a reply */
	unsigned retries, damaged;
	size_t in_pos, in_len;
	size_t out_len, sent, last_start;
	bool escaped, run; /* payload decoder */
	size_t pkt_len;
	char in[4096];
	char out[16384];
	char pkt[GDBSTUB_PACKET_MAX + 1];
};

/* Marks the stub dead: "the gdb stub WHAT". Returns -ENOTCONN, as does gdbstub_gone() later on. */
int gdbstub_fail(struct gdbstub *s, struct err *e, const char *what);
int gdbstub_gone(struct err *e);

/* Raw bytes onto the wire. */
int gdbstub_send(struct gdbstub *s, const char *buf, size_t len, uint64_t deadline, struct err *e);

/* Sends what is queued. */
int gdbstub_flush(struct gdbstub *s, uint64_t deadline, struct err *e);

/* One good packet into s->pkt: 1, 0 on time-out (the stub stays usable), negative errno. */
int gdbstub_receive(struct gdbstub *s, uint64_t deadline, struct err *e);

#endif
