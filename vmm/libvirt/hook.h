/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libvirt's hook sends: one datagram "DOMAIN\nOPERATION\nSUBOPERATION", as libvirt gave them to it
 * (https://libvirt.org/hooks.html). It is a hint to look, nothing more: a hook that is missing or whose message
 * is lost costs a delay at most.
 */
#ifndef VMPOKE_LIBVIRT_HOOK_H
#define VMPOKE_LIBVIRT_HOOK_H

#include <stddef.h>

#define HOOK_SOCKET "hook.sock"
#define HOOK_SIZE_MAX 512

struct hook_message {
	char domain[256], operation[32];
};

/* 0, or -EBADMSG: empty or over-long parts, control characters, no separator. */
int hook_parse(const char *buf, size_t len, struct hook_message *ret);

#endif
