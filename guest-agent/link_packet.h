/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The link over Ethernet frames (protocol/dgram.h) of one network interface. */
#ifndef VMPOKE_AGENT_LINK_PACKET_H
#define VMPOKE_AGENT_LINK_PACKET_H

#include "guest-agent/link.h"

/*
 * open(): where is the name of the interface. -ENODEV: there is none of that name
 * yet; -ENOTTY: it has no Ethernet address; -EMSGSIZE: its MTU is below
 * DGRAM_MTU_MIN. Needs CAP_NET_RAW in the guest.
 */
extern struct agent_link *const agent_link_packet;

#endif
