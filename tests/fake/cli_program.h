/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs the vmpoke program of this build ($VMPOKE_BUILD, else build/san) against a
 * scripted QMP server in a thread. For tests only; every wait is bounded.
 */
#ifndef VMPOKE_TESTS_FAKE_CLI_PROGRAM_H
#define VMPOKE_TESTS_FAKE_CLI_PROGRAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROGRAM_OUT_MAX (256u << 10)
#define PROGRAM_STEPS_MAX 8
#define PROGRAM_ARGS_MAX 12

/* One expected request and what is answered. */
struct step {
	const char *execute;
	const char *args;  /* JSON; NULL: {} or absent */
	const char *reply; /* "\"return\": ..." or "\"error\": ...", or one of the following */
};

extern const char REPLY_CLOSE[], REPLY_HALF[], REPLY_GARBAGE[], REPLY_SILENT[];

/* What the program must ask for when run with argv, and what it must then print. */
struct cli_case {
	const char *name;
	const char *argv[PROGRAM_ARGS_MAX];
	struct step steps[PROGRAM_STEPS_MAX];
	int exit;
	const char *out, *err; /* NULL: not compared; a final "..." compares the beginning only */
};

/* Runs them all, prints what differs, fails the test when anything did. */
void cases_run(const struct cli_case *cases, size_t n);

struct fake {
	char path[64];
	int listen_fd, quit_fds[2];
	const struct step *steps;
	const char *events; /* sent once the client has negotiated; NULL: none */
	int done;	    /* requests answered, qmp_capabilities apart */
	char wrong[1024];   /* first request that was not the expected one */
	pthread_t thread;
};

void fake_start(struct fake *f, const struct step *steps, const char *events);
void fake_stop(struct fake *f);

struct program {
	pid_t pid;
	int out_fd, err_fd;
	char out[PROGRAM_OUT_MAX], err[8192];
	size_t out_len, err_len;
};

/* VMPOKE_SOCKET is socket. input NULL: none. out_fd >= 0: standard output goes there instead of into p->out. */
void program_start(struct program *p, const char *socket, const char *const *argv, const char *input, int out_fd);
void program_read(struct program *p, const char *until); /* until that is on its standard output */
int program_end(struct program *p);			 /* exit code; 1000 + signal when it was killed */
int program_run(struct program *p, const char *socket, const char *const *argv, int out_fd);

/* The temporary folder sockets live in: cmocka group set-up and tear-down. */
extern char program_dir[];
int program_dir_make(void **state);
int program_dir_remove(void **state);

#endif
