/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The row of our own VMM (vmm/kvm). Its objects come from machine_backend(), never from open(). */
#ifndef VMPOKE_VMM_BACKEND_KVM_H
#define VMPOKE_VMM_BACKEND_KVM_H

#include "vmm/backend.h"

extern const struct backend_ops backend_kvm;

#endif
