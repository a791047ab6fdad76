// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The life of one worker process; see worker_link.h. Process and state are here,
 * its messages in worker_messages.c. Must never wait for a worker, and must
 * never let one worker's trouble reach the others.
 */
#include "vmm/control/worker_link.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>

#include "vmm/control/log.h"
#include "vmm/control/worker_messages.h"

#define HANGUP_GRACE_US (5 * 1000000ull) /* between a worker's hanging up and its exit */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata);

int worker_init(struct worker *w, sd_event *event, const struct worker_ops *ops,
		const struct worker_config *config, const struct registry_entry *entry)
{
	*w = (struct worker){ .ops = ops, .config = config, .entry = entry, .event = event };
	TAILQ_INIT(&w->calls);
	int r = sd_event_add_time(event, &w->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, w);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	return r < 0 ? r : 0;
}

void worker_done(struct worker *w)
{
	sd_event_source_disable_unref(w->timer);
	sd_event_source_disable_unref(w->child);
	channel_done(&w->channel);
}

void worker_timer_set(struct worker *w, uint64_t us)
{
	sd_event_source_set_time_relative(w->timer, us);
	sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

void worker_timer_off(struct worker *w)
{
	sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
}

/* At once, then after 1, 2, 4 ... seconds. */
unsigned worker_backoff_ms(unsigned failures)
{
	if (failures == 0)
		return 0;
	return 1000 * (failures > 5 ? WORKER_BACKOFF_MAX_S : 1u << (failures - 1));
}

/* The process is over, or was never there: what comes next, and when. */
static void worker_schedule(struct worker *w, const char *why)
{
	if (w->ready_since && now_us() - w->ready_since >= WORKER_STABLE_US)
		w->failures = 0;
	w->restart_ms = worker_backoff_ms(w->failures);
	w->failures++;
	w->ready_since = 0;
	w->state = WORKER_BACKOFF;
	worker_timer_set(w, w->restart_ms * 1000ull);
	if (w->restart_ms)
		worker_calls_fail(w, ERR_INACTIVE, "the worker of this VM ended repeatedly and is not back yet");
	if (w->state == WORKER_BACKOFF) /* a call's done() may have stopped it for good */
		w->ops->died(w, why, w->restart_ms);
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct worker *w = userdata;
	char why[sizeof(w->why) + 64];

	(void)s;
	if (si->si_code == CLD_EXITED)
		snprintf(why, sizeof(why), "%s%sexit status %d", w->why, w->why[0] ? "; " : "", si->si_status);
	else
		snprintf(why, sizeof(why), "%s%ssignal %s", w->why, w->why[0] ? "; " : "", sigabbrev_np(si->si_status));
	w->child = sd_event_source_disable_unref(w->child);
	w->pid = 0;
	w->why[0] = '\0';
	channel_done(&w->channel);
	if (w->state == WORKER_STOPPING) {
		worker_timer_off(w);
		w->ops->gone(w);
		return 0;
	}
	if (w->state != WORKER_ENDING) { /* there they have failed already; later ones wait for the successor */
		w->state = WORKER_ENDING;
		worker_calls_fail_dead(w);
	}
	if (w->state != WORKER_STOPPING) /* a call's done() may have stopped it for good */
		worker_schedule(w, why);
	return 0;
}

static void on_closed(struct channel *ch, const char *why)
{
	struct worker *w = container_of(ch, struct worker, channel);

	if (w->state != WORKER_STARTING && w->state != WORKER_READY)
		return;
	snprintf(w->why, sizeof(w->why), "its control socket: %s", why);
	w->state = WORKER_ENDING; /* before done() is called, which may queue more */
	worker_timer_set(w, HANGUP_GRACE_US);
	worker_calls_fail_dead(w);
}

static const struct channel_ops channel_ops = { .frame = worker_frame, .closed = on_closed };

static int worker_adopt(struct worker *w, int fd)
{
	int r = channel_init(&w->channel, w->event, fd, &channel_ops, 0);

	if (r >= 0)
		r = sd_event_add_child(w->event, &w->child, w->pid, WEXITED, on_child, w);
	/* What it said before it died is heard before its death is. */
	if (r >= 0)
		r = sd_event_source_set_priority(w->child, SD_EVENT_PRIORITY_IDLE);
	return r;
}

int worker_start(struct worker *w, uint64_t ready_us, struct err *e)
{
	int fd = -1;

	int r = worker_spawn(w->config, w->entry, &w->pid, &fd, e);
	if (r < 0)
		return r;
	r = worker_adopt(w, fd);
	if (r < 0) {
		kill(w->pid, SIGKILL);
		waitpid(w->pid, NULL, 0); /* it was killed: this does not wait for long */
		w->child = sd_event_source_disable_unref(w->child);
		w->pid = 0;
		channel_done(&w->channel);
		return err_set(e, ERR_FAILED, -r, NULL, "cannot watch the worker: %s", strerror(-r));
	}
	w->state = WORKER_STARTING;
	w->sent = false;
	w->events = 0; /* its predecessor's flood is not its own */
	worker_timer_set(w, ready_us);
	log_msg(LOG_DEBUG, w->entry->name, "worker %d started", w->pid);
	return 0;
}

void worker_start_or_retry(struct worker *w)
{
	struct err e;

	if (worker_start(w, WORKER_READY_US, &e) < 0)
		worker_schedule(w, e.text);
}

void worker_fail(struct worker *w, const char *fmt, ...)
{
	va_list ap;

	if (w->state != WORKER_STARTING && w->state != WORKER_READY)
		return;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	log_msg(LOG_ERR, w->entry->name, "worker %d is killed: %s", w->pid, w->why);
	kill(w->pid, SIGKILL); /* ours until on_child() has reaped it */
	w->state = WORKER_ENDING;
	worker_timer_off(w);
	channel_kill(&w->channel, "killed");
	worker_calls_fail_dead(w);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct worker *w = userdata;

	(void)s, (void)usec;
	switch (w->state) {
	case WORKER_OFF:
		break;
	case WORKER_STARTING:
		worker_fail(w, "it did not become ready in time");
		break;
	case WORKER_READY:
		worker_fail(w, "it did not answer %s in time", TAILQ_FIRST(&w->calls)->command);
		break;
	case WORKER_BACKOFF:
		worker_start_or_retry(w);
		break;
	case WORKER_ENDING:
	case WORKER_STOPPING:
		if (w->pid)
			kill(w->pid, SIGKILL);
		else
			w->ops->gone(w);
		break;
	}
	return 0;
}

void worker_stop(struct worker *w, uint64_t kill_after_us)
{
	if (w->state == WORKER_STOPPING)
		return;
	w->state = WORKER_STOPPING; /* before done() is called, which may queue more */
	worker_calls_fail(w, ERR_INACTIVE, "the worker of this VM is being ended");
	if (w->pid) {
		channel_kill(&w->channel, "told to end");
		if (kill_after_us)
			worker_timer_set(w, kill_after_us);
		else
			worker_timer_off(w);
	} else {
		worker_timer_set(w, 0); /* ops->gone comes from the loop, never from in here */
	}
}
