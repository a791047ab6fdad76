/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM whose memory is a made-up guest (guest_image.h) and which can be stopped, written to and let go, for tests of a
 * worker's commands. A write while it runs fails the test.
 */
#ifndef VMPOKE_TESTS_FAKE_IMAGE_VM_H
#define VMPOKE_TESTS_FAKE_IMAGE_VM_H

#include "tests/fake/guest_image.h"
#include "vmm/backend.h"

struct image_vm {
	struct backend base;
	struct guest_image image;
	bool running;
	unsigned writes, pauses; /* so far */
};

extern const struct backend_ops image_vm_ops;

/* A running Linux 6.1; do_nothing() is NOPs and a RET. */
void image_vm_init(struct image_vm *vm);

#endif
