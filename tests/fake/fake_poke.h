/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A transaction against the fake backend: sites in its RAM, a log that checks the
 * order of things while they happen, a scripted answer to "who sleeps in there?".
 */
#ifndef VMPOKE_TESTS_FAKE_POKE_H
#define VMPOKE_TESTS_FAKE_POKE_H

#include "tests/fake/fake_backend.h"
#include "vmm/poke/poke.h"

#define FAKE_GVA       0xffffffff81000000u
#define FAKE_SITES_MAX 16

struct fake_poke {
	struct fake_backend backend;
	struct poke_plan plan;
	struct poke_site sites[FAKE_SITES_MAX];
	uint8_t ram_before[FAKE_RAM_SIZE];

	struct poke_log log;
	int fail_state;	       /* enum poke_state whose record fails, -1: none */
	unsigned cancel_after; /* cancelled() says yes from this call on, 0: never */
	unsigned cancel_calls;
	int last_state; /* recorded; -1: none */
	bool recorded_running;

	struct poke_quiesce quiesce;
	unsigned busy_scans; /* that many scans find somebody */
	int scan_error;	     /* then this (negative), or 0 */
	unsigned scans;
	unsigned patching_looks; /* that many looks find the guest changing its own text */
	unsigned looks;
	int copied_result;	 /* what is said of copies the guest keeps, once the pauses below are over */
	unsigned copied_moving; /* that many pauses find the guest just making one */
	unsigned copied_asked;
	size_t clean_at; /* n_events when the last scan was clean */

	const char *broken; /* the first rule that was broken, NULL: none */
};

/* A plan of no sites; vCPUs stand outside. */
void fake_poke_init(struct fake_poke *p, size_t n_vcpus, bool running);
/* Next site; boundaries is its mask. rest: the site's bytes from split on lie on another page. */
void fake_poke_site(struct fake_poke *p, uint8_t len, uint8_t split, uint64_t boundaries);
/* Call when all sites are there. */
void fake_poke_seal(struct fake_poke *p);

/* Do all sites hold their old (new) bytes, and the rest of RAM what it held? */
bool fake_poke_holds(struct fake_poke *p, bool new_bytes);
/* Any vCPU inside a site? */
bool fake_poke_inside(const struct fake_poke *p);

#endif
