/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One non-blocking stream of QMP messages on the event loop: to a client, or to
 * a worker. The peer is untrusted: what it makes us hold is capped in both
 * directions, and nothing here ever waits for it.
 */
#ifndef VMPOKE_CONTROL_CHANNEL_H
#define VMPOKE_CONTROL_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "protocol/qmp.h"

#define CHANNEL_OUT_MAX (4u << 20)   /* bytes queued for a peer that does not read; beyond: closed */
#define CHANNEL_FDS_MAX 4	     /* descriptors of one message; what is more is closed */
#define CHANNEL_OUT_HIGH (256u << 10) /* bytes queued from which no further input is looked at */

struct channel;
struct channel_ops {
	/* One frame (message or error) came in. May send, pause or kill; must not call channel_done(). */
	void (*frame)(struct channel *ch, const struct qmp_frame *frame);
	/* The channel is over. Called once, from the loop, never from inside another call; may free. */
	void (*closed)(struct channel *ch, const char *why);
};

struct channel {
	const struct channel_ops *ops;
	int fd;
	sd_event *event;
	sd_event_source *io, *defer, *stall;
	uint64_t stall_us; /* 0: a peer may leave output unread for ever */
	struct qmp_lexer *lexer;
	char *out;
	size_t out_len, out_sent, out_cap;
	int out_fd;	  /* goes with the byte at out_fd_at; -1: none */
	size_t out_fd_at; /* counted like out_len */
	size_t in_pos, in_len;
	char in[4096];
	int fds[CHANNEL_FDS_MAX]; /* came with the bytes read last, nobody has taken them yet */
	size_t n_fds;
	bool wants_fds; /* set by the owner; else they are closed as they come */
	bool fds_told; /* a frame was handed out since they came */
	bool frame_pending; /* the lexer may hold another frame without further input */
	bool paused, eof, dead;
	const char *why;
};

/* Takes fd, also on failure. A zeroed channel may be passed to channel_done(). */
int channel_init(struct channel *ch, sd_event *event, int fd, const struct channel_ops *ops, uint64_t stall_us);
void channel_done(struct channel *ch);

/*
 * Takes the oldest descriptor that came along with the frame at hand (SCM_RIGHTS); -ENOENT when
 * there is none. Those that no frame takes are closed.
 */
int channel_take_fd(struct channel *ch);

/* Queues one message line and frees it. NULL (out of memory while building it) ends the channel. */
void channel_send(struct channel *ch, char *line);

/* The same with a descriptor (taken). One at a time: while one is queued another ends the channel. */
void channel_send_fd(struct channel *ch, char *line, int fd);

/* Ends the channel: the peer sees end of file at once, ops->closed follows from the loop. why is static. */
void channel_kill(struct channel *ch, const char *why);

/* While paused no frame is handed out; a peer that hangs up is still noticed. */
void channel_pause(struct channel *ch);
void channel_resume(struct channel *ch);

#endif
