// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Something to be done to one vCPU for a thread that is not the engine: an injected
 * NMI, a question. cpus_call() has one place per vCPU and one caller at a time; here
 * callers queue, each with its request on its own stack. Must never leave a request
 * behind in the queue, nor wait without a limit.
 */
#include <errno.h>
#include <string.h>

#include "vmm/kvm/machine_private.h"
#include "vmm/kvm/wait.h"

#define AGAIN_US 500u /* between two tries: long enough to get into the guest, and out of a lost kick */

static void enqueue(struct cpu *c, struct cpu_request *r)
{
	struct cpu_request **at = &c->requests;

	while (*at)
		at = &(*at)->next;
	r->next = NULL;
	*at = r;
}

static void dequeue(struct cpu *c, const struct cpu_request *r)
{
	for (struct cpu_request **at = &c->requests; *at; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			return;
		}
}

/* Caller holds the lock, and has it again afterwards. */
static void run_unlocked(struct cpu *c, struct cpu_request *r)
{
	pthread_mutex_unlock(&c->m->lock);
	int result = r->job.run(&r->job, c);
	pthread_mutex_lock(&c->m->lock);
	r->result = result;
	r->done = result != -EAGAIN;
}

static size_t queued(const struct cpu *c)
{
	size_t n = 0;

	for (const struct cpu_request *r = c->requests; r; r = r->next)
		n++;
	return n;
}

/*
 * In order: where the oldest has to wait the later ones do too. No more than there are now:
 * who asks again at once must not keep the vCPU from the engine's jobs. While one runs it
 * is in no queue, and its owner waits for the end of `serving` before it gives up.
 */
void cpu_serve(struct cpu *c)
{
	bool again = false;

	for (size_t n = queued(c); n > 0 && c->requests && !again; n--) {
		struct cpu_request *r = c->requests;

		c->requests = r->next;
		c->serving = true;
		run_unlocked(c, r);
		c->serving = false;
		again = !r->done;
		if (again) {
			r->next = c->requests;
			c->requests = r;
		}
		pthread_cond_broadcast(&c->m->done);
	}
}

static bool has_thread(const struct cpu *c)
{
	return c->state == CPU_RUNNING || c->state == CPU_WAITING;
}

/* Caller holds the lock. 0 when r is done. */
static int wait_done(struct cpu *c, struct cpu_request *r, uint64_t deadline)
{
	struct machine *m = c->m;

	while (!r->done) {
		if (!c->serving && !has_thread(c)) {
			dequeue(c, r);
			return -EHOSTDOWN;
		}
		/* While the VM is held nothing moves: what is in its way stays there, and its holder may be who waits here. */
		bool in_vain = r->result == -EAGAIN && m->stop;
		if (!c->serving && (in_vain || now_us() > deadline)) {
			dequeue(c, r);
			return r->result == -EAGAIN ? -EBUSY : -ETIMEDOUT;
		}
		if (!c->serving) {
			cpu_kick(c);
			pthread_cond_broadcast(&m->go);
		}
		wait_until(&m->done, &m->lock, now_us() + AGAIN_US);
	}
	return r->result;
}

int cpu_request(struct machine *m, size_t vcpu, struct cpu_request *r, uint64_t timeout_us, struct err *e)
{
	struct cpu *c = &m->cpus[vcpu];
	int result;

	r->done = false;
	r->result = 0;
	pthread_mutex_lock(&m->lock);
	if (has_thread(c)) {
		enqueue(c, r);
		result = wait_done(c, r, now_us() + timeout_us);
	} else {
		run_unlocked(c, r);
		result = r->result == -EAGAIN ? -EBUSY : r->result;
	}
	pthread_mutex_unlock(&m->lock);
	if (result < 0)
		return err_set(e, ERR_FAILED, -result, "", "vCPU %zu: %s", vcpu,
			       result == -EBUSY ? "has another event on its way into the guest" : strerror(-result));
	return result;
}

void machine_park(struct machine *m, size_t vcpu, bool parked)
{
	pthread_mutex_lock(&m->lock);
	m->cpus[vcpu].parked = parked;
	if (parked)
		cpu_kick(&m->cpus[vcpu]);
	pthread_cond_broadcast(&m->go);
	pthread_mutex_unlock(&m->lock);
}
