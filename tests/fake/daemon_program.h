/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a real vmpoked with fake workers in a folder of its own, for unit tests. */
#ifndef VMPOKE_TESTS_DAEMON_PROGRAM_H
#define VMPOKE_TESTS_DAEMON_PROGRAM_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "protocol/client.h"

#define DAEMON_WAIT_US 30000000ull /* ends a hang: what is waited for should take milliseconds */

struct daemon_program {
	char dir[64];
	pid_t pid; /* 0: not running */
	const char *extra[4]; /* more options, NULL-terminated */
};

/* Makes the folder (removed by daemon_program_clean()). */
void daemon_program_init(struct daemon_program *p);
void daemon_program_start(struct daemon_program *p); /* returns when the sockets answer */
int daemon_program_stop(struct daemon_program *p);   /* SIGTERM; its wait status */
void daemon_program_kill(struct daemon_program *p);  /* SIGKILL */
void daemon_program_clean(struct daemon_program *p);

/* Runs vmpoked with these arguments to its end; exit status, what it wrote to stdout and stderr. */
int daemon_program_run(const struct daemon_program *p, const char *const *argv, char *out, size_t cap);

/* DIR/NAME */
void daemon_program_path(const struct daemon_program *p, const char *name, char *buf, size_t cap);

/* A connected socket without negotiation; greeting already read. */
int daemon_program_raw(const struct daemon_program *p, bool read_only);
/* Sends text as it is / reads one line (-1: end of file or time-out). */
void raw_send(int fd, const char *text);
ssize_t raw_line(int fd, char *buf, size_t cap);

struct qmp_client *daemon_program_connect(const struct daemon_program *p, bool read_only);

/* What a test begins and ends with: a new vmpoked and a client of it; both ended, its exit status 0, its folder gone. */
struct qmp_client *daemon_program_begin(struct daemon_program *p);
void daemon_program_end(struct daemon_program *p, struct qmp_client *client);

/* args: json_pack format and values, or NULL. The result is a new reference; the test fails on an error. */
json_t *call_ok(struct qmp_client *c, const char *command, json_t *args);
/* The test fails unless this fails with that kind. */
void call_fails(struct qmp_client *c, const char *command, json_t *args, enum err_kind kind, struct err *ret);

/* Waits for the event, dropping others; returns its data (new reference). */
json_t *wait_event(struct qmp_client *c, const char *name, const char *vm);

/* vm-add with a socket path made of the name; the object it returns. */
json_t *add_vm(struct qmp_client *c, const char *name);

const char *get_str(json_t *o, const char *key); /* "" when absent */
json_int_t get_int(json_t *o, const char *key);	 /* -1 when absent */

#endif
