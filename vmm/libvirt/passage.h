/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which requests may pass from a worker to QEMU through libvirt, and what libvirt's answer becomes. The worker
 * is the part that reads a hostile guest's memory: what it may have libvirt do is a list, and nothing on it starts,
 * ends, moves or reconfigures a VM.
 */
#ifndef VMPOKE_LIBVIRT_PASSAGE_H
#define VMPOKE_LIBVIRT_PASSAGE_H

#include <jansson.h>

#include "protocol/err.h"
#include "protocol/qmp.h"

/* 0, or -EPERM (ERR_NO_COMMAND, rule "passage") when the command, or the line of the human monitor, may not pass. */
int passage_check(const struct qmp_request *req, struct err *e);

/* {"execute": ..., "arguments": ...} for virDomainQemuMonitorCommand: malloc'ed, NULL when memory is short. */
char *passage_command(const struct qmp_request *req);

/*
 * QEMU's answer as libvirt hands it out, {"return"|"error": ..., "id": "libvirt-7"}, as the line for the worker,
 * under its own id (raw JSON or NULL). malloc'ed; an answer that makes no sense becomes an error. NULL: no memory.
 */
char *passage_reply(const char *text, const char *id);

/* An event as virConnectDomainQemuMonitorEventRegister tells it; details: JSON or NULL. malloc'ed or NULL. */
char *passage_event(const char *name, long long seconds, unsigned micros, const char *details);

#endif
