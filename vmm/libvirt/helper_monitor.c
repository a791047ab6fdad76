// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU's monitor by way of libvirt, which keeps its own connection to itself and marks the domain as tainted
 * (custom-monitor). Calls wait as long as libvirt makes them. Must never send what changes the VM's configuration.
 */
#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <string.h>

#include "vmm/libvirt/helper_private.h"

static int failed(const char *command, struct err *e)
{
	const char *why = virGetLastErrorMessage();

	return err_set(e, ERR_INACTIVE, EIO, "libvirt", "libvirt did not pass on '%.64s': %s", command, why ? why : "no reason given");
}

int helper_monitor_text(struct helper *h, const char *command, int fd, char **ret, struct err *e)
{
	int fds[1] = { fd };
	int r = fd < 0 ? virDomainQemuMonitorCommand(h->dom, command, ret, 0) :
			 virDomainQemuMonitorCommandWithFiles(h->dom, command, 1, fds, NULL, NULL, ret, 0);

	return r < 0 ? failed(command, e) : 0;
}

int helper_monitor(struct helper *h, const char *command, json_t *args, int fd, json_t **ret, struct err *e)
{
	json_t *request = json_pack("{s:s, s:o*}", "execute", command, "arguments", args);
	_cleanup_free_ char *line = request ? json_dumps(request, JSON_COMPACT) : NULL;
	_cleanup_free_ char *text = NULL;
	json_error_t je;

	json_decref(request);
	if (!line)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = helper_monitor_text(h, line, fd, &text, e);
	if (r < 0)
		return r;
	json_t *reply = json_loads(text, JSON_REJECT_DUPLICATES, &je), *error = json_object_get(reply, "error");
	if (error)
		r = qmp_error_from_json(error, e);
	else if (!json_object_get(reply, "return"))
		r = err_set(e, ERR_FAILED, EPROTO, "", "QEMU's answer to %s makes no sense", command);
	else if (ret)
		*ret = json_incref(json_object_get(reply, "return"));
	json_decref(reply);
	return r;
}
