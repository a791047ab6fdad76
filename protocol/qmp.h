/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP framing and messages, for a server (vmpoked) and a client (vmpoke, our
 * link to QEMU's monitor) alike. QMP has no length prefix: the lexer finds the
 * end of each JSON object itself, keeps the raw text of the top-level "id" and
 * bounds size and depth, so that Jansson only ever sees one complete, capped
 * message. No sockets and no policy here.
 * Spec: QEMU docs/interop/qmp-spec.rst; json-lexer.c and json-streamer.c for
 * what a 0xFF or a stray byte does.
 */
#ifndef VMPOKE_PROTOCOL_QMP_H
#define VMPOKE_PROTOCOL_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define QMP_MESSAGE_MAX (1u << 20) /* bytes of one message, either direction */
#define QMP_DEPTH_MAX 32	   /* nested objects and arrays */
#define QMP_TOKENS_MAX (1u << 18)  /* tokens of one message: bounds what its parse tree may need */

enum qmp_frame_kind {
	QMP_FRAME_NONE,	   /* more input is needed */
	QMP_FRAME_MESSAGE, /* text/len hold one message with balanced brackets; it may still be bad JSON */
	QMP_FRAME_ERROR,   /* error says what was wrong; the lexer has resynchronised */
};

struct qmp_frame {
	enum qmp_frame_kind kind;
	const char *text;  /* strict JSON (single quotes already converted); valid until the next feed */
	size_t len;
	const char *id;	   /* raw text of the top-level "id", or NULL; not validated: see qmp_request.id */
	size_t id_len;
	const char *error; /* static sentence, e.g. "JSON parse error, ..." */
};

struct qmp_lexer;

/* NULL when memory is short. Memory held stays below QMP_MESSAGE_MAX plus a small constant. */
struct qmp_lexer *qmp_lexer_new(void);
void qmp_lexer_free(struct qmp_lexer *lexer); /* NULL allowed */
DEFINE_CLEANUP(struct qmp_lexer, qmp_lexer_free)

/*
 * Consumes input up to the end of at most one frame and fills *ret. Returns how
 * many bytes were consumed (call again with the rest while it is below len or a
 * frame came back), or -ENOMEM. Single-quoted strings are accepted as QEMU does.
 * A 0xFF or a control byte other than white space inside a message drops what
 * was collected and yields an error frame.
 */
ssize_t qmp_lexer_feed(struct qmp_lexer *lexer, const void *buf, size_t len, struct qmp_frame *ret);

/* A request of a client. Owned fields; free with qmp_request_clear(). */
struct qmp_request {
	char *execute;	/* command name */
	json_t *args;	/* object, never NULL (empty when absent) */
	char *id;	/* valid raw JSON text of "id" on one line, or NULL; also set when parsing failed, if known */
	bool oob;	/* "exec-oob" was used; refused as unexpected, for our greeting offers no such capability */
};

/*
 * Turns a message frame into a request. Errors are GenericErrors with QEMU's
 * classes: -EINVAL for "QMP input must be a JSON object", missing or non-string
 * 'execute', non-object 'arguments', unexpected members. ret->id is filled
 * whenever the frame had one, on failure too; call qmp_request_clear() always.
 */
int qmp_request_parse(const struct qmp_frame *frame, struct qmp_request *ret, struct err *e);
void qmp_request_clear(struct qmp_request *req);

/* Parses any message frame (client role). -EBADMSG when it is not a JSON object. New reference. */
int qmp_message_parse(const struct qmp_frame *frame, json_t **ret, struct err *e);

/*
 * Message builders: one malloc'ed, NUL-terminated line ending in "\r\n", or NULL
 * when memory is short. id is raw JSON text or NULL. value/data are borrowed.
 * A return that would exceed QMP_MESSAGE_MAX becomes a GenericError.
 */
char *qmp_format_greeting(const char *package, int major, int minor, int micro);
char *qmp_format_return(json_t *value, const char *id); /* value NULL: {} */
char *qmp_format_error(const struct err *e, const char *id);
char *qmp_format_event(const char *name, json_t *data); /* timestamp: now; data NULL: none */
char *qmp_format_command(const char *name, json_t *args, const char *id); /* client role; args NULL: none */

/*
 * The "error" member: {"class", "desc", "detail": {"kind", "errno", "rule"?, "address"?,
 * "vm"?, "override"?}} and back. A peer without "detail" (QEMU) gives ERR_FAILED, or
 * ERR_INACTIVE, ERR_NOT_FOUND, ERR_NO_COMMAND by class.
 */
json_t *qmp_error_to_json(const struct err *e);
int qmp_error_from_json(json_t *error, struct err *e); /* returns the negative errno it stands for */

/* Guest addresses on the wire are strings "0xffffffff81000000". */
json_t *qmp_address(uint64_t addr);
int qmp_address_parse(json_t *value, uint64_t *ret); /* -EINVAL */

#endif
