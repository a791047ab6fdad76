// SPDX-License-Identifier: GPL-2.0-or-later
/* Lines of the kernel's text files; see lines.h. Must not allocate: stdio would. */
#include "guest-agent/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int lines_open(struct lines *l, int dir, const char *path)
{
	*l = (struct lines){ .fd = -1 };
	if (dir < 0)
		return -ENOENT;
	l->fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	return l->fd < 0 ? -errno : 0;
}

void lines_close(struct lines *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

/* More bytes behind those not yet looked at. False: no more, or no room. */
static bool fill(struct lines *l)
{
	memmove(l->buf, l->buf + l->pos, l->len - l->pos);
	l->len -= l->pos;
	l->pos = 0;
	if (l->eof || l->len == sizeof(l->buf) - 1)
		return false;
	ssize_t n = read(l->fd, l->buf + l->len, sizeof(l->buf) - 1 - l->len);
	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0) {
		l->eof = true;
		return false;
	}
	l->len += (size_t)n;
	return true;
}

char *lines_next(struct lines *l)
{
	bool whole = true;

	for (;;) {
		char *line = l->buf + l->pos, *end = memchr(line, '\n', l->len - l->pos);
		if (end) {
			*end = '\0';
			l->pos = (size_t)(end - l->buf) + 1;
			if (whole)
				return line;
			whole = true; /* the rest of one that was too long */
			continue;
		}
		if (fill(l))
			continue;
		if (!l->eof) { /* no room: forget what there is of it */
			whole = false;
			l->pos = l->len;
			continue;
		}
		if (l->len == 0 || !whole)
			return NULL;
		l->buf[l->len] = '\0';
		l->pos = l->len = 0;
		return l->buf;
	}
}

int lines_head(int dir, const char *path, char *buf, size_t cap)
{
	int fd = dir < 0 ? -1 : openat(dir, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return dir < 0 ? -ENOENT : -errno;
	ssize_t n = read(fd, buf, cap - 1);
	int error = errno;
	close(fd);
	if (n < 0)
		return -error;
	buf[n] = '\0';
	return (int)n;
}

bool lines_hex(const char **p, uint64_t *ret)
{
	uint64_t value = 0;
	int digits = 0;

	for (;; digits++) {
		char c = **p;
		unsigned d;
		if (c >= '0' && c <= '9')
			d = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			d = (unsigned)(c - 'a') + 10;
		else
			break;
		value = value << 4 | d;
		++*p;
	}
	*ret = value;
	return digits > 0 && digits <= 16;
}

bool lines_kallsym(char *line, struct kallsym *ret)
{
	const char *p = line;

	if (!lines_hex(&p, &ret->addr) || p[0] != ' ' || !p[1] || p[2] != ' ')
		return false;
	ret->type = p[1];
	ret->name = line + (p - line) + 3;
	ret->len = 0;
	while ((unsigned char)ret->name[ret->len] > ' ')
		ret->len++;
	ret->name[ret->len] = '\0';
	return ret->len > 0;
}

uint64_t lines_hash(const char *name, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 0x100000001b3u;
	return h;
}
