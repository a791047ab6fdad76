// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's binary statistics of a vCPU (Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD):
 * finds a counter by name once, reads it with one pread. Names and offsets come
 * from the kernel; a KVM without them is fine.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/machine_private.h"

#define DESCS_MAX 1024
#define NAME_MAX_LEN 128

struct desc {
	uint32_t flags;
	int16_t exponent;
	uint16_t size;
	uint32_t offset, bucket_size;
	char name[NAME_MAX_LEN];
};

int stats_counter(int fd, const char *name, off_t *ret)
{
	struct kvm_stats_header h;

	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || h.name_size > NAME_MAX_LEN || h.num_desc > DESCS_MAX)
		return -ENOTSUP;
	size_t size = offsetof(struct desc, name) + h.name_size;
	for (uint32_t i = 0; i < h.num_desc; i++) {
		struct desc d = { 0 };
		if (pread(fd, &d, size, (off_t)(h.desc_offset + i * size)) != (ssize_t)size)
			return -ENOTSUP;
		if (!strncmp(d.name, name, sizeof(d.name)) && d.size == 1) {
			*ret = (off_t)h.data_offset + d.offset;
			return 0;
		}
	}
	return -ENOENT;
}

int stats_find(struct cpu *c)
{
	_cleanup_close_ int fd = ioctl(c->fd, KVM_GET_STATS_FD, 0);

	if (fd < 0)
		return -errno;
	int r = stats_counter(fd, "exits", &c->exits_offset);
	if (r == 0)
		c->stats_fd = TAKE_FD(fd);
	return r;
}

bool stats_exits(const struct cpu *c, uint64_t *ret)
{
	return c->stats_fd >= 0 && pread(c->stats_fd, ret, sizeof(*ret), c->exits_offset) == sizeof(*ret);
}
