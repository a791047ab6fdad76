/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The signal that takes a vCPU thread out of KVM_RUN. One real-time signal of this
 * process is taken for it, blocked in every thread but those of vCPUs.
 */
#ifndef VMPOKE_VMM_KVM_KICK_H
#define VMPOKE_VMM_KVM_KICK_H

#include <pthread.h>

struct kvm_run;

int kick_init(void);			 /* once per process is enough; 0 or -errno */
void kick_accept(struct kvm_run *run);	 /* by a vCPU thread, for itself, before its first KVM_RUN */
void kick_thread(pthread_t thread);	 /* a thread that called kick_accept() and has not been joined */

#endif
