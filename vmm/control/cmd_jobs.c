// SPDX-License-Identifier: GPL-2.0-or-later
/* query-jobs, job-cancel, job-dismiss. Must answer at once, whatever the workers do. */
#include <errno.h>

#include "vmm/control/authorize.h"
#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/relay.h"

int cmd_query_jobs(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		   json_t **ret, struct err *e)
{
	(void)cmd, (void)args, (void)e;
	*ret = jobs_query(&d->jobs);
	for (size_t i = json_array_size(*ret); i > 0; i--)
		if (!authorize_sees(d, s, json_string_value(json_object_get(json_array_get(*ret, i - 1), "vm"))))
			json_array_remove(*ret, i - 1);
	return 0;
}

int cmd_job_cancel(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		   json_t **ret, struct err *e)
{
	struct job *job = jobs_find(&d->jobs, json_string_value(json_object_get(args, "id")), e);

	(void)s, (void)cmd, (void)ret;
	if (!job)
		return -ENOENT;
	if (job->status == JOB_CONCLUDED)
		return err_set(e, ERR_REFUSED, EALREADY, "concluded", "job '%s' has concluded already", job->id);
	relay_cancel(job);
	return 0;
}

int cmd_job_dismiss(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		    json_t **ret, struct err *e)
{
	(void)s, (void)cmd, (void)ret;
	return jobs_dismiss(&d->jobs, json_string_value(json_object_get(args, "id")), e);
}
