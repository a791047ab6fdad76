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
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "vmm/control/log.h"
#include "vmm/control/worker_messages.h"

#define HANGUP_GRACE_US (5 * 1000000ull) /* between a worker's hanging up and its exit */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata);

static bool is_machine(const struct worker *w)
{
	return w->entry->kind == REGISTRY_MACHINE;
}

int worker_init(struct worker *w, sd_event *event, const struct worker_ops *ops,
		const struct worker_config *config, const struct registry_entry *entry)
{
	*w = (struct worker){ .ops = ops, .config = config, .entry = entry, .event = event, .pidfd = -1 };
	TAILQ_INIT(&w->calls);
	int r = sd_event_add_time(event, &w->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, w);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
	return r < 0 ? r : 0;
}

/* The process is none of ours any more, dead or not. */
static void process_forget(struct worker *w)
{
	w->child = sd_event_source_disable_unref(w->child);
	if (w->pidfd >= 0)
		close(w->pidfd);
	w->pidfd = -1;
	w->pid = 0;
	w->promised = false;
}

void worker_done(struct worker *w)
{
	sd_event_source_disable_unref(w->timer);
	process_forget(w);
	channel_done(&w->channel);
}

/* A child is ours until it was reaped; of another process only its pidfd is sure to be it. */
static void process_kill(struct worker *w)
{
	if (w->pidfd >= 0)
		pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0);
	else
		kill(w->pid, SIGKILL);
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

static void machine_ended(struct worker *w, const char *why)
{
	worker_calls_fail(w, ERR_INACTIVE, "the machine has ended");
	if (w->state == WORKER_STOPPING)
		return;
	w->state = WORKER_OFF;
	worker_timer_off(w);
	w->ops->ended(w, why);
}

/* The machine is there, as far as we know, but its worker cannot be talked to: again, later. */
static void machine_retry(struct worker *w, const char *why)
{
	channel_done(&w->channel);
	if (w->ready_since && now_us() - w->ready_since >= WORKER_STABLE_US)
		w->failures = 0;
	w->ready_since = 0;
	w->restart_ms = worker_backoff_ms(w->failures);
	w->failures++;
	w->state = WORKER_BACKOFF;
	worker_timer_set(w, w->restart_ms * 1000ull);
	log_msg(LOG_WARNING, w->entry->name, "cannot talk to the machine's worker: %s; the next try is in %u ms", why,
		w->restart_ms);
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

/* Nothing of it is left: what comes next depends on whose VM it was. */
static void process_ended(struct worker *w, const char *why)
{
	process_forget(w);
	w->why[0] = '\0';
	channel_done(&w->channel);
	if (w->state == WORKER_STOPPING) {
		worker_timer_off(w);
		w->ops->gone(w);
		return;
	}
	if (w->state != WORKER_ENDING) { /* there they have failed already; later ones wait for the successor */
		w->state = WORKER_ENDING;
		worker_calls_fail_dead(w);
	}
	if (w->state == WORKER_STOPPING) /* a call's done() may have stopped it for good */
		return;
	if (is_machine(w))
		machine_ended(w, why);
	else
		worker_schedule(w, why);
}

static int on_child(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct worker *w = userdata;
	char why[sizeof(w->why) + 64];
	bool exited = si->si_code == CLD_EXITED;

	(void)s;
	if (is_machine(w) && exited)
		snprintf(why, sizeof(why), "its worker ended with exit status %d and the machine with it", si->si_status);
	else if (is_machine(w))
		snprintf(why, sizeof(why), "its worker was killed by signal %d and the machine with it", si->si_status);
	else if (exited)
		snprintf(why, sizeof(why), "%s%sexit status %d", w->why, w->why[0] ? "; " : "", si->si_status);
	else
		snprintf(why, sizeof(why), "%s%ssignal %s", w->why, w->why[0] ? "; " : "", sigabbrev_np(si->si_status));
	process_ended(w, why);
	return 0;
}

/* How it ended only its parent is told, and that daemon is gone. */
static int on_pidfd(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	(void)s, (void)fd, (void)revents;
	process_ended(userdata, "its worker ended and the machine with it");
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

/* The exit of a machine that another daemon started. Opened before it says that it is ready: so it is its own. */
static int watch_pidfd(struct worker *w)
{
	int r = launch_watch(w->entry->name, w->pid, w->channel.fd, &w->pidfd);

	return r < 0 ? r : sd_event_add_io(w->event, &w->child, w->pidfd, EPOLLIN, on_pidfd, w);
}

static int worker_adopt(struct worker *w, int fd, bool child)
{
	int r = channel_init(&w->channel, w->event, fd, &channel_ops, 0);

	if (r >= 0 && w->child) /* known already, from before the connection broke */
		return 0;
	if (r >= 0 && !child)
		r = watch_pidfd(w);
	else if (r >= 0)
		r = sd_event_add_child(w->event, &w->child, w->pid, WEXITED, on_child, w);
	/* Not ONESHOT: who is being traced (strace, gdb, LeakSanitizer) dies for its pidfd before it does for waitid(),
	 * and libsystemd 252 then asks once too early and never again. Off first, or it leaves the pidfd as it was. */
	if (r >= 0)
		r = sd_event_source_set_enabled(w->child, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_enabled(w->child, SD_EVENT_ON);
	/* What it said before it died is heard before its death is. */
	if (r >= 0)
		r = sd_event_source_set_priority(w->child, SD_EVENT_PRIORITY_IDLE);
	return r;
}

static void await_ready(struct worker *w, uint64_t ready_us)
{
	w->state = WORKER_STARTING;
	w->sent = false;
	w->events = 0; /* its predecessor's flood is not its own */
	worker_timer_set(w, ready_us);
}

/* Takes over a child that was just started. */
static int worker_begin(struct worker *w, int fd, uint64_t ready_us, struct err *e)
{
	int r = worker_adopt(w, fd, true);

	if (r < 0) {
		kill(w->pid, SIGKILL);
		waitpid(w->pid, NULL, 0); /* it was killed: this does not wait for long */
		process_forget(w);
		channel_done(&w->channel);
		return err_set(e, ERR_FAILED, -r, NULL, "cannot watch the worker: %s", strerror(-r));
	}
	await_ready(w, ready_us);
	log_msg(LOG_DEBUG, w->entry->name, "worker %d started", w->pid);
	return 0;
}

int worker_start(struct worker *w, uint64_t ready_us, struct err *e)
{
	int fd = -1, r = worker_spawn(w->config, w->entry, &w->pid, &fd, e);

	return r < 0 ? r : worker_begin(w, fd, ready_us, e);
}

int worker_launch(struct worker *w, const struct launch *l, struct err *e)
{
	int fd = -1, r = launch_spawn(w->config, w->entry, l, &w->pid, &fd, e);

	w->failures = 0;
	return r < 0 ? r : worker_begin(w, fd, WORKER_READY_US, e);
}

void worker_reach(struct worker *w)
{
	pid_t pid = 0;
	int fd = -1, r = launch_connect(w->config, w->entry->name, &pid, &fd);

	if (!w->pid && (r == -ENOENT || r == -ECONNREFUSED || r == -EPERM)) {
		machine_ended(w, "the machine ended while no vmpoked was there: nobody answers on its socket");
		return;
	}
	if (r == 0 && w->pid && w->pid != pid) { /* ours is known, and somebody else has its socket */
		close(fd);
		r = -EPERM;
	}
	if (r == 0) {
		w->pid = pid;
		r = worker_adopt(w, fd, false);
		if (r < 0 && !w->child)
			process_forget(w);
	}
	if (r < 0) {
		machine_retry(w, strerror(-r));
		return;
	}
	w->promised = true;
	await_ready(w, WORKER_READY_US);
	log_msg(LOG_DEBUG, w->entry->name, "worker %d was found", w->pid);
}

int worker_kill(struct worker *w)
{
	if (!w->pid)
		return -ESRCH;
	process_kill(w);
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
	log_msg(LOG_ERR, w->entry->name, "worker %d is %s: %s", w->pid, w->promised ? "hung up on" : "killed", w->why);
	w->state = WORKER_ENDING;
	if (w->promised) {
		worker_timer_set(w, 0); /* connects anew, from the loop */
	} else {
		process_kill(w);
		worker_timer_off(w);
	}
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
		if (is_machine(w))
			worker_reach(w);
		else
			worker_start_or_retry(w);
		break;
	case WORKER_ENDING:
	case WORKER_STOPPING:
		if (w->state == WORKER_ENDING && w->promised)
			machine_retry(w, w->why);
		else if (w->pid)
			process_kill(w);
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
	if (w->pid && is_machine(w) && kill_after_us)
		process_kill(w);
	else if (is_machine(w))
		process_forget(w);
	if (w->pid) {
		channel_kill(&w->channel, "told to end");
		if (kill_after_us)
			worker_timer_set(w, kill_after_us);
		else
			worker_timer_off(w);
	} else {
		if (is_machine(w) && w->channel.ops)
			channel_kill(&w->channel, "the daemon ends");
		worker_timer_set(w, 0); /* ops->gone comes from the loop, never from in here */
	}
}
