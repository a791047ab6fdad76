/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making an exit formally serialising; see barrier.c. */
#ifndef VMPOKE_VMM_KVM_BARRIER_H
#define VMPOKE_VMM_KVM_BARRIER_H

#include <stdbool.h>

struct machine;

bool barrier_host_is_vmx_or_svm(void);
int barrier_init(struct machine *m); /* once per machine, before its vCPUs run; 0 or -errno */

#endif
