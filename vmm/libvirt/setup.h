/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmpoke-libvirt setup-domain: what a domain's XML needs to be patched better, shown or written. */
#ifndef VMPOKE_LIBVIRT_SETUP_H
#define VMPOKE_LIBVIRT_SETUP_H

#include <stdbool.h>

struct setup_options {
	const char *uri, *domain; /* domain: its name or UUID */
	const char *monitor;	  /* socket of a second monitor to be; NULL: none */
	bool apply, json;
};

/* Prints to stdout what it did, or to stderr why not; the exit code (README.md, "Exit codes"). */
int setup_run(const struct setup_options *o);

#endif
