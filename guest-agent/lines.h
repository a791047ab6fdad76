/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads one of the kernel's text files line by line, through a buffer that is there from the start. */
#ifndef VMPOKE_AGENT_LINES_H
#define VMPOKE_AGENT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lines {
	int fd;
	bool eof;
	size_t pos, len;
	char buf[16384];
};

/* 0 or -errno. dir may be -1: then -ENOENT. */
int lines_open(struct lines *l, int dir, const char *path);
/* The next line, terminated, without its newline, until the next call; NULL: no more. Longer ones than the buffer are skipped. */
char *lines_next(struct lines *l);
void lines_close(struct lines *l);

/* The beginning of a file, terminated: number of bytes or -errno. */
int lines_head(int dir, const char *path, char *buf, size_t cap);

/* What getdents64(2) gives; the C library's readdir() allocates. */
struct lines_dirent {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

/* Hex digits at *p, which goes behind them. False: none, or too many. */
bool lines_hex(const char **p, uint64_t *ret);

/* One symbol of /proc/kallsyms; name is terminated and in the line. False: not such a line. */
struct kallsym {
	uint64_t addr;
	char type;
	char *name;
	size_t len;
};
bool lines_kallsym(char *line, struct kallsym *ret);

/* FNV-1a, 64 bits. */
uint64_t lines_hash(const char *name, size_t len);

#endif
