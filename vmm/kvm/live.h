/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing text under running vCPUs of our own VMM, and run control: the functions
 * behind the backend's rows (vmm/backend/kvm.c). Contracts in vmm/backend.h.
 */
#ifndef VMPOKE_VMM_KVM_LIVE_H
#define VMPOKE_VMM_KVM_LIVE_H

#include "vmm/backend.h"

/* live.c */
int live_arm(struct backend *b, struct backend_hit_handler *h, struct err *e);
int live_disarm(struct backend *b, struct backend_hit_handler *h, struct err *e);
int live_trap_hw(struct backend *b, struct backend_hit_handler *h, const uint64_t *gvas, size_t n,
		 struct backend_barrier *ret, struct err *e);
int live_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e);
int live_release(struct backend *b, struct err *e);

/* barrier.c */
int live_barrier(struct backend *b, const uint64_t *gpas, size_t n, struct backend_barrier *ret, struct err *e);
int live_flip(struct backend *b, const struct backend_flip *flips, size_t n, struct backend_barrier *ret, struct err *e);

/* virtual.c */
int live_read_virtual(struct backend *b, size_t vcpu, uint64_t gva, void *buf, size_t len,
		      struct backend_fault *fault);
int live_write_virtual(struct backend *b, size_t vcpu, uint64_t gva, const void *buf, size_t len,
		       struct backend_fault *fault);
int live_exchange_virtual(struct backend *b, size_t vcpu, uint64_t gva, uint32_t expected, uint32_t desired,
			  struct backend_fault *fault);

/* pause.c */
int run_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret_was_running, struct err *e);
int run_resume(struct backend *b, struct err *e);
int run_step(struct backend *b, size_t vcpu, struct err *e);

#endif
