// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An NMI that comes while others are pending on the same vCPU merges with them by
 * design of the CPU, and a second machine check before the first is acknowledged is a
 * shutdown: so each vCPU is sent the next one only when it has counted the last,
 * of either kind, and one that merged all the same is not expected to be seen.
 * (On KVM for AMD under an emulator an NMI that met a pending machine
 * check on its vCPU got lost, 1 to 2 of 30, with next to no change of text going on.)
 * Sent from the engine's thread, since a machine has one caller at a time; they
 * arrive while it goes on with the stage that it was about to begin.
 */
#include "tests/stress/inject.h"

#include <errno.h>
#include <poll.h>

#define SETTLE_US 10000000u

/* Valid, uncorrected, enabled, with an address: the handler is told that it may go on. */
#define MCE_STATUS  (UINT64_C(1) << 63 | UINT64_C(1) << 61 | UINT64_C(1) << 60 | UINT64_C(1) << 58)
#define MCE_ADDRESS SMP_TEXT

static int send_nmi(struct guest *g, unsigned vcpu, struct err *e)
{
	return machine_inject_nmi(g->machine, vcpu, e);
}

static int send_mce(struct guest *g, unsigned vcpu, struct err *e)
{
	return machine_inject_mce(g->machine, vcpu, MCE_STATUS, MCE_ADDRESS, e);
}

void injector_init(struct injector *i, struct guest *g, const struct options *o)
{
	*i = (struct injector){ .guest = g };
	i->nmi = (struct inject_stream){ .interval_us = o->nmi ? 1000000 / o->nmi : 0,
					 .seen_at = offsetof(struct smp_vcpu, nmi_seen),
					 .send = send_nmi };
	i->mce = (struct inject_stream){ .interval_us = o->mce ? 1000000 / o->mce : 0,
					 .seen_at = offsetof(struct smp_vcpu, mce_seen),
					 .send = send_mce };
}

static bool stream_settled(const struct inject_stream *s, const struct guest *g, unsigned vcpu)
{
	const uint64_t *seen = (const uint64_t *)(const void *)((const char *)&g->cpus[vcpu] + s->seen_at);

	return __atomic_load_n(seen, __ATOMIC_ACQUIRE) >= s->sent[vcpu];
}

/* The next vCPU in turn, when it is time and it has seen all it was sent. Late ones are not made up for in a burst. */
static int stream_poll(struct injector *i, struct inject_stream *s, uint64_t now, struct err *e)
{
	struct guest *g = i->guest;
	unsigned vcpu = s->turn;

	if (!s->interval_us || now < s->next_us)
		return 0;
	s->next_us = s->next_us + s->interval_us > now ? s->next_us + s->interval_us : now + s->interval_us;
	s->turn = (s->turn + 1) % g->vcpus;
	if (!stream_settled(&i->nmi, g, vcpu) || !stream_settled(&i->mce, g, vcpu))
		return 0;
	int r = s->send(g, vcpu, e);
	if (r == 0)
		s->sent[vcpu]++;
	/* Not sent: an event that a kick has cut short goes first, and a vCPU in a pause of the transaction cannot take it. */
	return r < 0 && r != -EBUSY ? r : 0;
}

int injector_poll(struct injector *i, struct err *e)
{
	uint64_t now = i->nmi.interval_us || i->mce.interval_us ? now_us() : 0;
	int r = stream_poll(i, &i->nmi, now, e);

	return r < 0 ? r : stream_poll(i, &i->mce, now, e);
}

static bool injector_settled(const struct injector *i)
{
	for (unsigned v = 0; v < i->guest->vcpus; v++)
		if (!stream_settled(&i->nmi, i->guest, v) || !stream_settled(&i->mce, i->guest, v))
			return false;
	return true;
}

void injector_settle(struct injector *i)
{
	uint64_t deadline = now_us() + SETTLE_US;

	while (!injector_settled(i) && now_us() < deadline && !guest_is_dead(i->guest))
		poll(NULL, 0, 1);
}

uint64_t inject_stream_sent(const struct inject_stream *s)
{
	uint64_t n = 0;

	for (unsigned v = 0; v < SMP_VCPUS_MAX; v++)
		n += s->sent[v];
	return n;
}
