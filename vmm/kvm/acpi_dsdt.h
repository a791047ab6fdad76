/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is behind the header of the DSDT. */
#ifndef VMPOKE_VMM_KVM_ACPI_DSDT_H
#define VMPOKE_VMM_KVM_ACPI_DSDT_H

#include <stddef.h>
#include <stdint.h>

#define ACPI_DSDT_MAX 1024

/* devices: how many virtio devices there are. Returns the length. */
size_t acpi_dsdt_body(uint8_t buf[static ACPI_DSDT_MAX], unsigned devices);

#endif
