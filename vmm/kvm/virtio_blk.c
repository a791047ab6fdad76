// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio block device (Virtual I/O Device 1.2, section 5.2): read, write, flush,
 * id. Disk I/O happens on the device's thread with the lock dropped, through a
 * bounce buffer: a host address of a guest page would go stale with the next flip,
 * and a request in flight must not touch the guest's memory once the guest has
 * reset the device. Must never access the image outside the size found at
 * creation, and never report success for a byte that was not transferred.
 */
#include "vmm/kvm/virtio_blk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/util.h"

#define SECTOR	   512u
#define PIECE	   (64u << 10)
#define ID_LEN	   20u
#define F_SEG_MAX  (1ull << 2)
#define F_RO	   (1ull << 5)
#define F_FLUSH	   (1ull << 9)
#define CONFIG_SEG_MAX 12 /* offset; capacity is at 0 */

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8 };
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2 };

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct virtio_blk {
	struct virtio_device device;
	int fd;
	bool read_only;
	uint64_t sectors;
	char id[ID_LEN];
	/* Of the thread alone: the request in hand. */
	struct virtq_chain chain;
	uint64_t generation; /* of the device when it was taken */
	uint8_t bounce[PIECE];
};

static struct virtio_blk *blk_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_blk, device);
}

/* Guest memory is touched only under the lock and while the request still stands. */
static int from_guest(struct virtio_blk *b, uint64_t offset, void *buf, size_t len)
{
	struct virtio_device *d = &b->device;

	pthread_mutex_lock(&d->lock);
	int r = b->generation == d->generation ? virtq_read(&b->chain, d->memory, offset, buf, len) : -ECANCELED;
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int to_guest(struct virtio_blk *b, uint64_t offset, const void *buf, size_t len)
{
	struct virtio_device *d = &b->device;

	pthread_mutex_lock(&d->lock);
	int r = b->generation == d->generation ? virtq_write(&b->chain, d->memory, offset, buf, len) : -ECANCELED;
	pthread_mutex_unlock(&d->lock);
	return r;
}

/* All of it or an error: the image may have become shorter than it was. */
static int disk_read(int fd, uint8_t *buf, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, (off_t)at);
		if (n == 0)
			return -EIO;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
			at += (uint64_t)n;
		}
	}
	return 0;
}

static int disk_write(int fd, const uint8_t *buf, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, (off_t)at);
		if (n == 0)
			return -EIO;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
			at += (uint64_t)n;
		}
	}
	return 0;
}

/* Are these whole sectors, all of them on the disk? */
static bool in_range(const struct virtio_blk *b, uint64_t sector, uint64_t len)
{
	return len % SECTOR == 0 && sector <= b->sectors && len / SECTOR <= b->sectors - sector;
}

static uint8_t do_read(struct virtio_blk *b, uint64_t sector, uint32_t *written)
{
	uint64_t len = b->chain.in_len - 1; /* the status comes last */

	if (!in_range(b, sector, len))
		return STATUS_IOERR;
	for (uint64_t done = 0; done < len; done += PIECE) {
		size_t part = len - done < PIECE ? (size_t)(len - done) : PIECE;
		if (atomic_load(&b->device.stop) || disk_read(b->fd, b->bounce, part, sector * SECTOR + done) < 0 ||
		    to_guest(b, done, b->bounce, part) < 0)
			return STATUS_IOERR;
		*written += (uint32_t)part;
	}
	return STATUS_OK;
}

static uint8_t do_write(struct virtio_blk *b, uint64_t sector)
{
	uint64_t len = b->chain.out_len - sizeof(struct header);

	if (b->read_only || !in_range(b, sector, len))
		return STATUS_IOERR;
	for (uint64_t done = 0; done < len; done += PIECE) {
		size_t part = len - done < PIECE ? (size_t)(len - done) : PIECE;
		if (atomic_load(&b->device.stop) || from_guest(b, sizeof(struct header) + done, b->bounce, part) < 0 ||
		    disk_write(b->fd, b->bounce, part, sector * SECTOR + done) < 0)
			return STATUS_IOERR;
	}
	return STATUS_OK;
}

static uint8_t do_id(struct virtio_blk *b, uint32_t *written)
{
	if (b->chain.in_len < ID_LEN + 1 || to_guest(b, 0, b->id, ID_LEN) < 0)
		return STATUS_IOERR;
	*written = ID_LEN;
	return STATUS_OK;
}

static uint8_t serve(struct virtio_blk *b, uint32_t *written)
{
	struct header h;

	if (from_guest(b, 0, &h, sizeof(h)) < 0)
		return STATUS_IOERR;
	switch (h.type) {
	case TYPE_IN: return do_read(b, h.sector, written);
	case TYPE_OUT: return do_write(b, h.sector);
	case TYPE_FLUSH: return fdatasync(b->fd) < 0 ? STATUS_IOERR : STATUS_OK;
	case TYPE_GET_ID: return do_id(b, written);
	default: return STATUS_UNSUPP;
	}
}

/* Caller holds the lock, which is dropped meanwhile. */
static void request(struct virtio_blk *b)
{
	struct virtio_device *d = &b->device;
	uint32_t written = 0;

	b->generation = d->generation;
	if (!b->chain.in_len) { /* no place for a status: 5.2.6 asks for one */
		virtio_fail(d);
		return;
	}
	pthread_mutex_unlock(&d->lock);
	uint8_t status = serve(b, &written);
	to_guest(b, b->chain.in_len - 1, &status, 1);
	pthread_mutex_lock(&d->lock);
	/* 2.7.8.2: the length counts from the first writable byte on; with a failed read in between not even the status. */
	if (b->generation == d->generation)
		virtio_push(d, 0, b->chain.head, written + 1 == b->chain.in_len ? written + 1 : written);
}

static void blk_work(struct virtio_device *d)
{
	struct virtio_blk *b = blk_of(d);

	while (!atomic_load(&d->stop) && virtio_pop(d, 0, &b->chain))
		request(b);
}

static const struct virtio_ops ops = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLK,
	.n_queues = 1,
	.work = blk_work,
};

/* Whole disk, so that it also meets the byte ranges QEMU locks. */
static int lock_image(int fd, bool read_only)
{
	struct flock lock = { .l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static int open_image(struct virtio_blk *b, int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return err_set(e, ERR_USAGE, EINVAL, "", "a disk is a file or a block device");
	if ((flags & O_ACCMODE) == O_WRONLY || (!b->read_only && (flags & O_ACCMODE) != O_RDWR))
		return err_set(e, ERR_USAGE, EACCES, "", "a disk is not opened for %s", b->read_only ? "reading" : "writing");
	off_t size = lseek(fd, 0, SEEK_END);
	if (size < (off_t)SECTOR)
		return err_set(e, ERR_USAGE, EINVAL, "", "a disk has at least one sector of %u bytes", SECTOR);
	b->sectors = (uint64_t)size / SECTOR;
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int r = b->fd < 0 ? -errno : lock_image(b->fd, b->read_only);
	if (r == -EAGAIN || r == -EACCES)
		return err_set(e, ERR_REFUSED, EBUSY, "disk-in-use", "a disk is in use by another machine");
	return r < 0 ? err_set(e, ERR_FAILED, -r, "", "disk: %s", strerror(-r)) : 0;
}

static void fill_config(struct virtio_blk *b)
{
	const uint32_t seg_max = VIRTQ_SIZE_MAX - 2; /* header and status take one each */

	b->device.features |= F_SEG_MAX | F_FLUSH | (b->read_only ? F_RO : 0);
	memcpy(b->device.config, &b->sectors, sizeof(b->sectors));
	memcpy(b->device.config + CONFIG_SEG_MAX, &seg_max, sizeof(seg_max));
}

int virtio_blk_create(struct memory *mem, struct virtio_irq *irq, int fd, bool read_only, const char *serial,
		      struct virtio_blk **ret, struct err *e)
{
	struct virtio_blk *b = calloc(1, sizeof(*b));

	if (!b)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	b->fd = -1;
	b->read_only = read_only;
	memcpy(b->id, serial, strnlen(serial, ID_LEN));
	int r = virtio_init(&b->device, &ops, mem, irq);
	if (r < 0)
		err_set(e, ERR_FAILED, -r, "", "virtio-blk: %s", strerror(-r));
	else
		r = open_image(b, fd, e);
	if (r < 0) {
		virtio_blk_destroy(b);
		return r;
	}
	fill_config(b);
	*ret = b;
	return 0;
}

void virtio_blk_destroy(struct virtio_blk *b)
{
	if (!b)
		return;
	virtio_done(&b->device);
	if (b->fd >= 0)
		close(b->fd);
	free(b);
}

struct virtio_device *virtio_blk_device(struct virtio_blk *b)
{
	return &b->device;
}
