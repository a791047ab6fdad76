/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio block device over a raw image or a block device of the host. */
#ifndef VMPOKE_VMM_KVM_VIRTIO_BLK_H
#define VMPOKE_VMM_KVM_VIRTIO_BLK_H

#include "vmm/kvm/virtio.h"

struct virtio_blk;

/*
 * fd stays the caller's; it is duplicated. serial: what the guest reads as the disk's
 * id, at most 20 bytes. The image is locked against other users of open file
 * description locks (another machine, QEMU): -EBUSY. -EACCES: opened for reading only.
 */
int virtio_blk_create(struct memory *mem, struct virtio_irq *irq, int fd, bool read_only, const char *serial,
		      struct virtio_blk **ret, struct err *e);
void virtio_blk_destroy(struct virtio_blk *b); /* NULL allowed; ends after the disk access under way */
struct virtio_device *virtio_blk_device(struct virtio_blk *b);

#endif
