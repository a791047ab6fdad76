/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port numbers that the ACPI tables and the devices must agree on. */
#ifndef VMPOKE_VMM_KVM_PORTS_H
#define VMPOKE_VMM_KVM_PORTS_H

#define PORT_RESET	 0x64
#define PORT_RESET_VALUE 0xfe
#define PORT_PM1_STATUS	 0x600
#define PORT_PM1_ENABLE	 0x602
#define PORT_PM1_CONTROL 0x604
#define PM1_S5_TYPE	 5
#define PM1_SCI_IRQ	 9

#endif
