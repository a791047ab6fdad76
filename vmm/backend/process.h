/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tells one process from a later one with the same number. */
#ifndef VMPOKE_VMM_BACKEND_PROCESS_H
#define VMPOKE_VMM_BACKEND_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* When it started, in clock ticks since boot (/proc/PID/stat field 22, proc(5)); 0 when that cannot be read. */
uint64_t process_start_time(pid_t pid);

#endif
