/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent inside a guest: answers the closed table of operations in ops.c over
 * one link. Everything it will ever need is in struct agent, which is static: no
 * allocation, no thread but the one of park.h. Must never run a program, open a
 * file that a request names, or write anywhere but to its link.
 */
#ifndef VMPOKE_AGENT_AGENT_H
#define VMPOKE_AGENT_AGENT_H

#include "guest-agent/lines.h"
#include "guest-agent/link.h"
#include "guest-agent/park.h"
#include "protocol/agent_msg.h"

#define AGENT_REOPEN_MS 1000 /* between two attempts to open a link that is not there */

/* Where the kernel is looked at. A test has files of its own. */
struct agent_roots {
	int root;    /* "/" */
	int tracefs; /* or -1 */
	int debugfs; /* or -1 */
};

struct agent {
	struct agent_link *link;
	const char *where;
	bool opened;
	uint64_t reopen_at; /* ms */

	struct agent_roots roots;
	bool has_key;
	uint8_t key[AGENT_KEY_LEN];

	uint64_t session; /* one per process: another one means that the agent was started anew */
	bool greeted;	  /* a hello was answered on this connection */
	bool keyed;	  /* since then every frame carries a MAC */
	uint8_t session_key[AGENT_KEY_LEN];
	uint32_t last_seq; /* keyed: of the newest request */

	struct agent_decoder in;
	uint64_t partial_at; /* ms: last byte of an unfinished frame; 0 none */
	uint8_t out[AGENT_FRAME_MAX];
	size_t out_len, out_sent;

	uint64_t started_at; /* ms */
	struct agent_stats stats;
	struct lines lines; /* of whichever file of the kernel's is being read */
	struct park park;
};

/* key: AGENT_KEY_LEN bytes or NULL. Starts the parking thread. 0 or -errno. */
int agent_init(struct agent *a, struct agent_link *link, const char *where, const struct agent_roots *roots,
	       const uint8_t *key);

/* What poll(2) shall wait for (fd -1: nothing) and how long in ms (-1: for ever). */
int agent_poll_fd(struct agent *a, short *events);
int agent_timeout(struct agent *a);

/* Does all that can be done without waiting. -errno: the link could not be opened and never will. */
int agent_pump(struct agent *a);

/* Answers one request into a->out. */
void agent_dispatch(struct agent *a, const struct agent_frame *f);

/* CLOCK_MONOTONIC in ms. */
uint64_t agent_now_ms(void);

/*
 * One row of the table: which payloads and in which state. run() writes the answer
 * and returns 0, or fills *why and returns an enum agent_error.
 */
#define AGENT_WHILE_IDLE   0x1u
#define AGENT_WHILE_PARKED 0x2u
#define AGENT_ALWAYS	   0x3u

struct agent_row {
	uint8_t op;
	uint8_t states; /* AGENT_WHILE_* */
	uint16_t min, max;
	int (*run)(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
};

extern const struct agent_row agent_rows[];
extern const size_t agent_row_count;

int op_hello(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_ping(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_symbols(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_conflicts(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_selfcheck(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_quiesce(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_park(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_unpark(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_state(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);
int op_stats(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why);

/* Fills *why (errno 0: none) and returns error. */
int agent_fail(struct agent_failure *why, enum agent_error error, int error_number, const char *text);

#endif
