/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of the gdb remote serial protocol over a connected stream socket,
 * acknowledged mode. Knows packets and requests; knows no QEMU, no guest, no
 * path. The peer is untrusted: every packet is capped and every wait has a
 * deadline. Spec: "Remote Protocol" in the GDB manual.
 *
 * Nothing is ever sent unasked: a stub may take any byte that reaches it while
 * its target runs for a request to stop it, so acknowledgements ride in front of
 * the next request and the last reply before the target runs gets none.
 */
#ifndef VMPOKE_VMM_BACKEND_GDBSTUB_H
#define VMPOKE_VMM_BACKEND_GDBSTUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define GDBSTUB_PACKET_MAX 16384 /* bytes of one reply, run-length decoded */
#define GDBSTUB_READ_MAX 2048	 /* memory bytes per 'm': fits a 4096-byte reply */
#define GDBSTUB_WRITE_MAX 1024	 /* memory bytes per 'M' */
#define GDBSTUB_FEATURE_MAX (64u << 10) /* 14 KiB in QEMU 7.2 */
#define GDBSTUB_POST_MAX 8	 /* requests under way at once */

struct gdbstub;

/* Takes ownership of a connected fd, also on failure. -ENOMEM, -errno. */
int gdbstub_adopt(int fd, struct gdbstub **ret);
void gdbstub_free(struct gdbstub *s); /* NULL allowed; just closes the socket */
DEFINE_CLEANUP(struct gdbstub, gdbstub_free)

/*
 * After an error of the transport (silence, end of file, nonsense) replies can no
 * longer be matched to requests: the stub is dead, and that call and every later
 * one say -ENOTCONN with kind ERR_INACTIVE.
 */
bool gdbstub_alive(const struct gdbstub *s);
/* Makes it dead: for a caller that no longer trusts the order of replies. */
void gdbstub_abandon(struct gdbstub *s);

/* --- packets --- */

/* Queues one request (plain text); sent by the next gdbstub_reply(). -ENOBUFS beyond GDBSTUB_POST_MAX. */
int gdbstub_post(struct gdbstub *s, const char *request, size_t len, struct err *e);

/*
 * Sends what is queued, then waits for the next reply. *ret stays valid until the
 * next call and is NUL-terminated; it may contain NULs of its own. Stop replies nobody asked for
 * are skipped and counted in *ret_strays (NULL: one is an error, -EBUSY:
 * the target ran although we held it, and the request may be lost).
 */
int gdbstub_reply(struct gdbstub *s, uint64_t timeout_us, unsigned *ret_strays,
		  const char **ret, size_t *ret_len, struct err *e);

/* --- requests; each is one exchange --- */

/* One request that is answered "OK". -EIO on an error reply "E..", -EOPNOTSUPP on an empty one. */
int gdbstub_command(struct gdbstub *s, const char *request, uint64_t timeout_us, struct err *e);

/* The same as the first request after connecting, where stop replies may come first. */
int gdbstub_greet(struct gdbstub *s, const char *request, uint64_t timeout_us, struct err *e);

/* len <= GDBSTUB_READ_MAX / GDBSTUB_WRITE_MAX. -EFAULT when the stub refuses. */
int gdbstub_read(struct gdbstub *s, uint64_t addr, void *buf, size_t len, uint64_t timeout_us, struct err *e);
int gdbstub_write(struct gdbstub *s, uint64_t addr, const void *buf, size_t len, uint64_t timeout_us,
		  struct err *e);

/* Raw register block of a thread ('Hg', 'g'); returns its length. */
int gdbstub_regs_read(struct gdbstub *s, unsigned thread, void *buf, size_t cap, uint64_t timeout_us,
		      struct err *e);
int gdbstub_regs_write(struct gdbstub *s, unsigned thread, const void *buf, size_t len, uint64_t timeout_us,
		       struct err *e);

/*
 * A file of the target description ("target.xml"), NUL-terminated, owned by the caller. -EOPNOTSUPP
 * when the stub has none, -E2BIG beyond GDBSTUB_FEATURE_MAX.
 */
int gdbstub_feature_read(struct gdbstub *s, const char *annex, uint64_t timeout_us, char **ret, struct err *e);

/* 64-bit registers of the thread chosen last, by number, at most GDBSTUB_POST_MAX of them. */
int gdbstub_regs_pick(struct gdbstub *s, const unsigned *numbers, size_t n, uint64_t timeout_us, uint64_t *ret,
		      struct err *e);

enum gdbstub_trap { GDBSTUB_TRAP_SOFT = 0, GDBSTUB_TRAP_HARD = 1 };
int gdbstub_trap(struct gdbstub *s, bool set, enum gdbstub_trap kind, uint64_t addr, uint64_t timeout_us,
		 struct err *e);

/*
 * QEMU's own: how single-steps are to be done from now on, interrupts blocked and, where the
 * accelerator can (KVM cannot), timers stopped. -EOPNOTSUPP when it cannot block interrupts.
 */
int gdbstub_step_alone(struct gdbstub *s, uint64_t timeout_us, struct err *e);

/* The value of name ("NOIRQ") in "ENABLE=1,NOIRQ=2,NOTIMER=4"; 0 when it is not there. */
unsigned gdbstub_parse_bit(const char *text, size_t len, const char *name);

struct gdbstub_stop {
	unsigned signal; /* GDB's numbering: 2 interrupt, 5 trap */
	unsigned thread; /* 0 when the stub did not say */
	bool ended;	 /* the target exited */
};

/* Lets all threads run, or one thread do one instruction with the others frozen. */
int gdbstub_go(struct gdbstub *s, uint64_t timeout_us, struct err *e);
int gdbstub_step(struct gdbstub *s, unsigned thread, uint64_t timeout_us, struct err *e);
/* Waits for the stop that ends it. 1, 0 when timeout_us passed (the stub stays usable), negative errno. */
int gdbstub_wait_stop(struct gdbstub *s, uint64_t timeout_us, struct gdbstub_stop *ret, struct err *e);
/* Asks a running target to stop; gdbstub_wait_stop() tells when. */
int gdbstub_interrupt(struct gdbstub *s, uint64_t timeout_us, struct err *e);

/* Parses "T05thread:01;", "S05", "W00", "X09". -EBADMSG for anything else. */
int gdbstub_parse_stop(const char *text, size_t len, struct gdbstub_stop *ret);

#endif
