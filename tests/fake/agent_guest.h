/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real agent without a guest: a process of its own that reads the files of a
 * kernel which does not exist and answers over a socket pair.
 */
#ifndef VMPOKE_TESTS_AGENT_GUEST_H
#define VMPOKE_TESTS_AGENT_GUEST_H

#include "guest-agent/agent.h"

/* What its /proc/kallsyms says. */
#define FAKE_TEXT     0xffffffff81000000u
#define FAKE_IDLE     0xffffffff81000100u /* do_idle: a kprobe at +0, traced by ftrace */
#define FAKE_OPEN     0xffffffff81000200u /* do_open: optimized kprobe at +8 */
#define FAKE_SLEEP    0xffffffff81000300u /* do_sleep: a BPF trampoline */
#define FAKE_META     0xffffffff81000400u /* do_meta: livepatched */
#define FAKE_PLAIN    0xffffffff81000500u /* do_plain: nobody's */
#define FAKE_TEXT_LEN 0x1000u		  /* bytes of it in /proc/kcore: byte i is (uint8_t)(i * 7) */

/* Makes the files in a new folder below /tmp and opens them. */
void fake_kernel_make(struct agent_roots *ret);
/* Adds n kprobes inside do_plain, one byte apart. */
void fake_kernel_add_probes(unsigned n);
void fake_kernel_remove(void);

/* Starts an agent on one end of a socket pair whose ends are kept by the caller. Returns its pid. */
pid_t fake_agent_start(int fd, const struct agent_roots *roots, const uint8_t *key);
/* SIGKILL, and gone. */
void fake_agent_kill(pid_t pid);

#endif
