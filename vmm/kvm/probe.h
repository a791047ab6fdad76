/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The running part of the probe (probe_live.c): what a vCPU in a loop sees of changes. */
#ifndef VMPOKE_VMM_KVM_PROBE_H
#define VMPOKE_VMM_KVM_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/kvm/machine.h"

#define PROBE_CODE   0x100000ull
#define PROBE_MEMORY (16ull << 20)

/* A one-vCPU machine that starts with these bytes in 64-bit mode; nothing runs yet. */
int probe_machine(const struct machine_abilities *a, const uint8_t *code, size_t len, struct machine **ret,
		  struct err *e);

/* Fills remap_seen_at_once and zap_forces_exit. */
int probe_live(struct machine_abilities *a, struct err *e);

#endif
