/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small helpers every part uses: scope cleanup, hex, monotonic time, whole reads and writes. */
#ifndef VMPOKE_PROTOCOL_UTIL_H
#define VMPOKE_PROTOCOL_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* Declares cleanup_NAME(), for `_cleanup_(NAME) type *p = NULL;`: frees p on scope exit. */
#define DEFINE_CLEANUP(type, func)                 \
	static inline void cleanup_##func(type **p) \
	{                                           \
		if (*p)                             \
			func(*p);                   \
	}
#define _cleanup_(func) __attribute__((cleanup(cleanup_##func)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define _cleanup_fclose_ __attribute__((cleanup(cleanup_fclose)))

/* Hands over a scope-cleaned pointer: the variable becomes NULL. */
#define TAKE_PTR(p)                        \
	({                                 \
		__typeof__(p) _taken = (p); \
		(p) = NULL;                \
		_taken;                    \
	})
#define TAKE_FD(fd)              \
	({                       \
		int _taken = (fd); \
		(fd) = -1;       \
		_taken;          \
	})

/* CLOCK_MONOTONIC in microseconds. */
uint64_t now_us(void);

/* Lower-case hex of len bytes into out, which must hold 2 * len + 1. */
void hex_encode(const void *bytes, size_t len, char *out);

/*
 * Parses hex digits, two per byte, blanks between bytes allowed ("0f 1f 44" or
 * "0f1f44"). Returns the number of bytes, -EINVAL on anything else, -E2BIG when
 * more than cap bytes.
 */
ssize_t hex_decode(const char *text, void *out, size_t cap);

/* Reads or writes exactly len bytes, retrying on EINTR. 0, -errno, or -ENODATA on early end of file. */
int read_full(int fd, void *buf, size_t len);
int write_full(int fd, const void *buf, size_t len);

/* Whole file into a NUL-terminated malloc'ed buffer; -EFBIG above max bytes. */
int read_file(const char *path, size_t max, char **ret, size_t *ret_len);

/*
 * Connects a SOCK_STREAM unix socket, O_CLOEXEC, waiting at most timeout_us.
 * Returns the fd, or -errno (-ENAMETOOLONG, -ENOENT, -ECONNREFUSED, -ETIMEDOUT, ...).
 */
int unix_connect(const char *path, uint64_t timeout_us);

/* 0, or -EACCES unless the process that listens at the far end of a connected unix socket did so as uid. -errno. */
int unix_served_by(int fd, uid_t uid);

#endif
