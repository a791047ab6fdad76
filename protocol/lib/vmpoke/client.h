/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvmpoke: a client of vmpoked for programs in C and whatever calls C.
 *
 * The commands, their arguments and answers are those of vmpoke-protocol(7); here they are JSON texts, so
 * that nothing of a JSON library shows. What a member means is in the output of "vmpoke qmp
 * query-qmp-schema" and in qmp-commands.md; members may be added to answers, never renamed.
 *
 * Functions return 0 or a positive number, or a negative errno; then the vmpoke_error_...() functions
 * tell of the failure until the next call with the same client. No call waits longer than its time-out.
 * A client must not be used by two threads at a time. The library prints nothing, starts no thread,
 * changes no signal and reads no environment.
 *
 *	struct vmpoke_client *c;
 *	char *answer;
 *
 *	if (vmpoke_new(&c) == 0 && vmpoke_connect(c, NULL, 5000) == 0 &&
 *	    vmpoke_call(c, "query-patches", "{\"vm\": \"web1\"}", 10000, &answer) == 0) {
 *		puts(answer);
 *		free(answer);
 *	}
 *	vmpoke_free(c);
 */
#ifndef VMPOKE_CLIENT_H
#define VMPOKE_CLIENT_H

#ifdef __cplusplus
extern "C" {
#endif

#define VMPOKE_SOCKET "/run/vmpoke/control.sock"
#define VMPOKE_SOCKET_READ_ONLY "/run/vmpoke/control-ro.sock"

struct vmpoke_client;

/* Version of the library, "0.1.0". Static. */
const char *vmpoke_version(void);

/* A client without a connection; freed with vmpoke_free(). -ENOMEM. */
int vmpoke_new(struct vmpoke_client **ret);
void vmpoke_free(struct vmpoke_client *c); /* NULL is allowed */

/*
 * Connects to the socket at path (NULL: VMPOKE_SOCKET) and negotiates. A connection that was there is
 * closed first; its events are lost. -ENOENT or -ECONNREFUSED: no vmpoked there, -EACCES: not allowed,
 * -ETIMEDOUT.
 */
int vmpoke_connect(struct vmpoke_client *c, const char *path, unsigned timeout_ms);

/*
 * Sends a command and waits for its answer. args: text of a JSON object, NULL for none. *ret (may be
 * NULL): JSON text of the answer, on one line, to be freed with free(); written only on success.
 * -EINVAL: args is no JSON object; -ETIMEDOUT, -ECONNRESET, -ENOTCONN: there is no connection (any more);
 * else what vmpoked says. After -ETIMEDOUT it is not known whether the command was carried out.
 */
int vmpoke_call(struct vmpoke_client *c, const char *command, const char *args, unsigned timeout_ms, char **ret);

/*
 * The next event: 1 and *ret, JSON text to be freed with free(); 0 when none came within timeout_ms; a
 * negative errno. Events that came during other calls are kept, 256 at most; then the oldest are lost.
 */
int vmpoke_event(struct vmpoke_client *c, unsigned timeout_ms, char **ret);

/*
 * For a loop of one's own: when fd is readable, and after each vmpoke_call(), which keeps the events that
 * come meanwhile, call vmpoke_event() with time-out 0 until it returns 0. -ENOTCONN. The descriptor stays
 * the client's.
 */
int vmpoke_fd(const struct vmpoke_client *c);

/*
 * Of the last failure, "" or 0 when there was none: one sentence for people; what kind of failure
 * ("refused", "not-found", "timeout", "unreachable" ...); the rule that refused ("old-bytes"), "" when
 * none did; the exit code that vmpoke(1) would have. Valid until the next call with c.
 */
const char *vmpoke_error_text(const struct vmpoke_client *c);
const char *vmpoke_error_kind(const struct vmpoke_client *c);
const char *vmpoke_error_rule(const struct vmpoke_client *c);
int vmpoke_error_exit_code(const struct vmpoke_client *c);

#ifdef __cplusplus
}
#endif

#endif
