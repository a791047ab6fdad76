/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NMIs and machine checks at a rate, each accounted for. */
#ifndef VMPOKE_TESTS_STRESS_INJECT_H
#define VMPOKE_TESTS_STRESS_INJECT_H

#include "tests/stress/guest.h"

/* One kind of event, sent round the vCPUs. */
struct inject_stream {
	uint64_t interval_us, next_us; /* interval 0: off */
	uint64_t sent[SMP_VCPUS_MAX];
	unsigned turn;
	size_t seen_at; /* offset of its counter in struct smp_vcpu */
	int (*send)(struct guest *g, unsigned vcpu, struct err *e);
};

struct injector {
	struct guest *guest;
	struct inject_stream nmi, mce;
};

void injector_init(struct injector *i, struct guest *g, const struct options *o);

/* Sends what is due. On the engine's thread: between transactions and at each of their states. */
int injector_poll(struct injector *i, struct err *e);

/* Waits until the guest has seen all, for a bounded time. */
void injector_settle(struct injector *i);
uint64_t inject_stream_sent(const struct inject_stream *s);

#endif
