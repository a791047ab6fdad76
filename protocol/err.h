/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one error object that crosses module and process borders. A function
 * that can fail returns a negative errno and, where the caller passed a
 * struct err, one sentence that says what, where and what to do. The QMP error
 * a client sees and the CLI's exit code are both made from it.
 */
#ifndef VMPOKE_PROTOCOL_ERR_H
#define VMPOKE_PROTOCOL_ERR_H

#include <stdbool.h>
#include <stdint.h>

/* What went wrong, in the classes a script cares about (docs: exit codes). */
enum err_kind {
	ERR_NONE = 0,
	ERR_FAILED,		/* exit 1: failed, nothing changed */
	ERR_USAGE,		/* exit 2: the request itself is malformed */
	ERR_NOT_APPLICABLE,	/* exit 3: status/check answered "no" */
	ERR_NOT_FOUND,		/* exit 4: no such VM or patch */
	ERR_REFUSED,		/* exit 5: refused by safety, signature or policy */
	ERR_TIMEOUT,		/* exit 6: timed out or busy, rolled back */
	ERR_UNREACHABLE,	/* exit 7: the daemon cannot be reached */
	ERR_PARTIAL,		/* exit 8: some targets failed */
	ERR_ATTENTION,		/* exit 9: the guest needs attention */
	ERR_INACTIVE,		/* exit 1: the VM's monitor is gone or silent */
	ERR_NO_COMMAND,		/* exit 2: the peer does not know this command */
	ERR_KIND_COUNT,
};

/* Who is in the way: a saved context of the guest. */
struct err_blocker {
	char where[48];	 /* "task stack", "vCPU 1", "exception stacks cpu 2"; "": nobody was found */
	int pid;	 /* of the task, where it is one's stack; else -1 */
	char comm[17];	 /* its name, printable; "" when it is no task's */
	char symbol[96]; /* what addr of the error is: "do_nanosleep+0x7b" */
};

struct err {
	enum err_kind kind;
	int error;		/* positive errno */
	bool has_addr;
	uint64_t addr;		/* guest virtual address the error is about */
	char rule[32];		/* machine-readable rule, e.g. "old-bytes"; may be "" */
	char vm[64];		/* VM name, filled in by the top; may be "" */
	char text[512];		/* the sentence, without a trailing newline */
	char override[96];	/* option that lifts the refusal; "" when there is none */
	struct err_blocker blocker;
};

/*
 * Fills *e (NULL allowed: then only the return value matters) and returns
 * -error. error must be a positive errno. Over-long text is cut.
 */
int err_set(struct err *e, enum err_kind kind, int error, const char *rule, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Same, and records the guest address it is about. */
int err_set_addr(struct err *e, enum err_kind kind, int error, const char *rule, uint64_t addr,
		 const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Puts "PREFIX: " before the sentence of an error on its way up. NULL e is allowed. */
void err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The CLI exit code for a kind (0..9). */
int err_exit_code(enum err_kind kind);

/* Stable name of a kind on the wire ("refused"), and back (ERR_FAILED when unknown). */
const char *err_kind_name(enum err_kind kind);
enum err_kind err_kind_from_name(const char *name);

/* The QMP error class of a kind: GenericError, CommandNotFound, DeviceNotActive, DeviceNotFound. */
const char *err_qmp_class(enum err_kind kind);

#endif
