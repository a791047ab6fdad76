// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Start and end of the daemon; see daemon.h. The lock files decide who is alive:
 * sockets left by a killed daemon are replaced without asking. Must never start
 * anything before both folders are locked.
 */
#include "vmm/control/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "vmm/control/authorize.h"
#include "vmm/control/log.h"
#include "vmm/control/registry.h"
#include "vmm/control/serials.h"
#include "vmm/control/vm.h"

#define STOP_TIMEOUT_US (10 * 1000000ull)

static int folder_make(const char *path, mode_t mode, struct err *e)
{
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot make the folder %s: %s", path, strerror(errno));
	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ERR_FAILED, ENOTDIR, NULL, "%s is not a folder", path);
	return 0;
}

static int folder_lock(const char *folder, const char *file, int *ret_fd, struct err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ?
			err_set(e, ERR_FAILED, EBUSY, NULL, "another vmpoked uses %s", folder) :
			err_set(e, ERR_FAILED, errno, NULL, "cannot lock %s: %s", path, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Two daemons with one state folder would both write journals, whatever their sockets are. */
static int folders_take(struct daemon *d, struct err *e)
{
	const struct worker_config *c = &d->worker_config;

	int r = folder_make(c->state_dir, 0700, e);
	if (r == 0)
		r = folder_make(c->runtime_dir, 0755, e);
	if (r == 0)
		r = folder_lock(c->runtime_dir, "vmpoked.lock", &d->runtime_lock_fd, e);
	if (r == 0)
		r = folder_lock(c->state_dir, "state.lock", &d->state_lock_fd, e);
	return r;
}

static void on_broken(struct registry_report *report, const char *file, const struct err *e)
{
	(void)report;
	log_msg(LOG_ERR, NULL, "registry file vms/%s is skipped: %s", file, e->text);
}

static void on_broken_rule(struct rules_report *report, const char *file, const struct err *e)
{
	(void)report;
	log_msg(LOG_ERR, NULL, "rules/%s is skipped: %s", file, e->text);
}

static int vms_start(struct daemon *d, struct err *e)
{
	struct registry_report report = { .broken = on_broken };
	_cleanup_free_ struct registry_entry *list = NULL;
	size_t n = 0;

	int r = registry_load(d->registry_fd, &report, &list, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct vm *vm = vm_new(d, &list[i], VM_ACTIVE);
		if (!vm)
			return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
		if (vm->entry.kind == REGISTRY_QEMU)
			worker_start_or_retry(&vm->worker);
		else if (!vm->entry.ended[0])
			worker_reach(&vm->worker);
	}
	return r;
}

static void on_job_changed(struct jobs *jobs, const struct job *job)
{
	struct daemon *d = container_of(jobs, struct daemon, jobs);

	daemon_event(d, "JOB_STATUS_CHANGE",
		     json_pack("{s:s, s:s, s:s, s:s}", "id", job->id, "status", job_status_name(job->status),
			       "vm", job->vm, "type", job->type));
}

static const struct jobs_ops jobs_ops = { .changed = on_job_changed };

int daemon_start(struct daemon *d, sd_event *event, const struct daemon_options *options, struct err *e)
{
	*d = (struct daemon){
		.event = event, .state_lock_fd = -1, .runtime_lock_fd = -1, .registry_fd = -1,
		.serials_fd = -1, .audit.fd = -1, .config = options->config, .keys = options->keys,
		.worker_config = { .binary = options->worker, .state_dir = options->state_dir,
				   .runtime_dir = options->runtime_dir, .images = options->images },
	};
	LIST_INIT(&d->vms);
	jobs_init(&d->jobs, &jobs_ops);
	server_init(&d->server, event, options->client_stall_us);
	scrape_init(&d->scrape, d);
	d->started_us = now_us();
	int r = folders_take(d, e);
	if (r == 0)
		r = registry_open(options->state_dir, &d->registry_fd, e);
	struct rules_report report = { .broken = on_broken_rule };
	if (r == 0)
		r = rules_open(&d->rules, options->state_dir, &report, e);
	if (r == 0)
		r = serials_open(options->state_dir, &d->serials_fd, e);
	if (r == 0)
		r = audit_open(&d->audit, options->state_dir, e);
	if (r == 0)
		r = server_listen(&d->server, options->runtime_dir, options->read_only_mode, &options->passed, e);
	if (r == 0)
		r = scrape_listen(&d->scrape, event, options->runtime_dir, options->read_only_mode, e);
	if (r == 0) /* clients that come before this are answered after it: the loop does not run yet */
		r = vms_start(d, e);
	return r;
}

void daemon_reconfigure(struct daemon *d, struct config *config, struct keys *keys)
{
	struct vm *vm;
	struct err e;

	config_free(d->config);
	free(d->keys);
	d->config = config;
	d->keys = keys;
	if (audit_reopen(&d->audit, &e) < 0)
		log_msg(LOG_ERR, NULL, "%s; the one that is open is written to", e.text);
	LIST_FOREACH(vm, &d->vms, link)
		desired_policy_changed(vm);
}

static int on_stop_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct daemon *d = userdata;

	(void)s, (void)usec;
	log_msg(LOG_WARNING, NULL, "%zu workers are still finishing; they end by themselves", d->n_vms);
	sd_event_exit(d->event, 0);
	return 0;
}

void daemon_stop(struct daemon *d)
{
	struct vm *vm;

	if (d->stopping) { /* asked twice: do not wait */
		sd_event_exit(d->event, 0);
		return;
	}
	d->stopping = true;
	server_close(&d->server);
	scrape_close(&d->scrape);
	if (LIST_EMPTY(&d->vms) ||
	    sd_event_add_time_relative(d->event, &d->stop_timer, CLOCK_MONOTONIC, STOP_TIMEOUT_US, 0,
				       on_stop_timer, d) < 0)
		sd_event_exit(d->event, 0);
	LIST_FOREACH(vm, &d->vms, link)
		worker_stop(&vm->worker, 0); /* it may be in the middle of a transaction: never killed here */
}

size_t daemon_workers(const struct daemon *d)
{
	const struct vm *vm;
	size_t n = 0;

	LIST_FOREACH(vm, &d->vms, link)
		n += vm->worker.pid > 0;
	return n;
}

void daemon_vm_gone(struct daemon *d)
{
	if (d->stopping && LIST_EMPTY(&d->vms))
		sd_event_exit(d->event, 0);
}

void daemon_done(struct daemon *d)
{
	sd_event_source_disable_unref(d->stop_timer);
	server_close(&d->server);
	scrape_close(&d->scrape);
	while (!LIST_EMPTY(&d->vms))
		vm_free(LIST_FIRST(&d->vms));
	server_done(&d->server);
	jobs_done(&d->jobs);
	audit_close(&d->audit);
	config_free(d->config);
	free(d->keys);
	if (d->serials_fd >= 0)
		close(d->serials_fd);
	rules_done(&d->rules);
	if (d->registry_fd >= 0)
		close(d->registry_fd);
	if (d->state_lock_fd >= 0)
		close(d->state_lock_fd);
	if (d->runtime_lock_fd >= 0)
		close(d->runtime_lock_fd);
}

static bool may_see(const struct server *s, const struct session *session, const char *vm)
{
	return authorize_sees(container_of(s, struct daemon, server), session, vm);
}

void daemon_event(struct daemon *d, const char *name, json_t *data)
{
	server_broadcast(&d->server, name, data, may_see);
	json_decref(data);
}
