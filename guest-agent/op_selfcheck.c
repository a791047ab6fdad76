// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The bytes of kernel text as this kernel sees them itself, by /proc/kcore: a
 * second opinion after a patch. Must read nothing but the kernel's image and its
 * modules: the agent is no window to the guest's other memory.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "guest-agent/agent.h"
#include "protocol/crc32c.h"

#define HEADERS_MAX 128 /* of kcore: one per stretch of memory */

/* Linux Documentation/arch/x86/x86_64/mm.rst: image and modules are in the last 2 GiB. */
#if defined(__x86_64__)
#define TEXT_FROM 0xffffffff80000000u
#else
#define TEXT_FROM UINT64_MAX /* not known for this architecture: nothing may be read */
#endif

static uint8_t bytes[AGENT_SELFCHECK_MAX];

static int pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	ssize_t n = pread(fd, buf, len, (off_t)offset);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

/* Where in kcore the range is, or -errno. */
static int64_t locate(int fd, const struct agent_range *r)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	int e = pread_full(fd, &eh, sizeof(eh), 0);

	if (e)
		return e;
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_phnum > HEADERS_MAX)
		return -ENOEXEC;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		e = pread_full(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph));
		if (e)
			return e;
		if (ph.p_type == PT_LOAD && r->addr >= ph.p_vaddr && r->len <= ph.p_memsz &&
		    r->addr - ph.p_vaddr <= ph.p_memsz - r->len)
			return (int64_t)(ph.p_offset + (r->addr - ph.p_vaddr));
	}
	return -EFAULT;
}

static int read_range(int fd, const struct agent_range *r)
{
	if (r->addr < TEXT_FROM)
		return -EPERM;
	int64_t offset = locate(fd, r);
	return offset < 0 ? (int)offset : pread_full(fd, bytes, r->len, (uint64_t)offset);
}

int op_selfcheck(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	static struct agent_range range[AGENT_RANGES_MAX];
	uint32_t want_bytes;
	uint64_t total = 0;
	int n = agent_ranges_decode(f->payload, f->length, &want_bytes, range);

	if (n < 0)
		return agent_fail(why, AGENT_E_MALFORMED, 0, "not a list of ranges");
	for (int i = 0; i < n; i++)
		total += range[i].len;
	if (total > AGENT_SELFCHECK_MAX)
		return agent_fail(why, AGENT_E_LIMIT, 0, "too many bytes for one request");
	int fd = openat(a->roots.root, "proc/kcore", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return agent_fail(why, AGENT_E_UNAVAILABLE, errno, "cannot read /proc/kcore");
	for (int i = 0; i < n; i++) {
		int e = read_range(fd, &range[i]);
		struct agent_bytes b = { .guest_errno = (uint32_t)-e, .bytes = bytes };
		if (!e) {
			b.crc = crc32c(bytes, range[i].len);
			b.len = want_bytes ? range[i].len : 0;
		}
		agent_bytes_put(reply, &b);
	}
	close(fd);
	return 0;
}
