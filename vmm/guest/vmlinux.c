// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening a kernel's file: the payload of a boot image (Documentation/arch/x86/boot.rst,
 * payload_offset and payload_length), then the ELF file in it, whose section headers are
 * copied once and every range of which is checked against the file. Must never hand out a
 * byte outside of it.
 */
#include "vmm/guest/vmlinux.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <gelf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/guest/unpack.h"

#define HEADER_OFFSET 0x1f1u
#define HEADER_MAGIC  0x53726448u /* "HdrS" */
#define SECTOR	      512u
#define SECTIONS_MAX  256
#define NAME_MAX_LEN  48
#define BUILD_ID_MAX  64
#define RATIO_MAX     255 /* of lz4; no kernel comes near it, whatever it is packed with */

struct section {
	char name[NAME_MAX_LEN];
	uint64_t addr;
	size_t offset, len; /* in elf */
};

struct vmlinux {
	uint8_t *elf;
	size_t len;
	uint8_t build_id[BUILD_ID_MAX];
	size_t build_id_len;
	size_t n_sections;
	struct section section[SECTIONS_MAX];
};

static int bad(struct err *e, int error, const char *sentence)
{
	return err_set(e, ERR_FAILED, error, "kernel-image", "the kernel image %s", sentence);
}

void vmlinux_free(struct vmlinux *v)
{
	if (!v)
		return;
	free(v->elf);
	free(v);
}

/* Takes the allocated sections that have bytes. gelf_getshdr() copies; offsets and sizes are the file's word. */
static int section_take(struct vmlinux *v, Elf *elf, size_t names, Elf_Scn *scn)
{
	GElf_Shdr h;
	const char *name;

	if (!gelf_getshdr(scn, &h))
		return -EBADMSG;
	name = elf_strptr(elf, names, h.sh_name);
	if (!name || !(h.sh_flags & SHF_ALLOC) || h.sh_type == SHT_NOBITS || strlen(name) >= NAME_MAX_LEN)
		return 0;
	if (h.sh_offset > v->len || h.sh_size > v->len - h.sh_offset || h.sh_addr + h.sh_size < h.sh_addr)
		return -EBADMSG;
	if (v->n_sections == SECTIONS_MAX)
		return -EFBIG;
	struct section *s = &v->section[v->n_sections++];
	memcpy(s->name, name, strlen(name) + 1);
	s->addr = h.sh_addr;
	s->offset = (size_t)h.sh_offset;
	s->len = (size_t)h.sh_size;
	return 0;
}

static int sections_load(struct vmlinux *v, Elf *elf)
{
	size_t names;
	int r = elf_getshdrstrndx(elf, &names) == 0 ? 0 : -EBADMSG;

	for (Elf_Scn *scn = NULL; r == 0 && (scn = elf_nextscn(elf, scn));)
		r = section_take(v, elf, names, scn);
	return r;
}

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The note of type NT_GNU_BUILD_ID named "GNU". Lengths are padded to 4. */
static void build_id_load(struct vmlinux *v)
{
	struct vmlinux_section s;
	size_t at = 0;

	if (vmlinux_section(v, ".notes", &s) < 0)
		return;
	while (s.len - at >= 12) {
		size_t name = u32_at(s.bytes + at), desc = u32_at(s.bytes + at + 4), left = s.len - at - 12;
		size_t name_room = (name + 3) & ~(size_t)3, desc_room = (desc + 3) & ~(size_t)3;

		if (name > left || name_room > left || desc > left - name_room || desc_room > left - name_room)
			return;
		if (u32_at(s.bytes + at + 8) == NT_GNU_BUILD_ID && name == 4 &&
		    memcmp(s.bytes + at + 12, "GNU", 4) == 0 && desc <= sizeof(v->build_id)) {
			memcpy(v->build_id, s.bytes + at + 12 + name_room, desc);
			v->build_id_len = desc;
			return;
		}
		at += 12 + name_room + desc_room;
	}
}

static int elf_check(struct vmlinux *v, Elf *elf, struct err *e)
{
	GElf_Ehdr h;

	if (!elf || !gelf_getehdr(elf, &h) || h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB ||
	    h.e_machine != EM_X86_64)
		return bad(e, ENOEXEC, "holds no x86-64 kernel");
	int r = sections_load(v, elf);
	if (r < 0)
		return bad(e, -r, "is damaged: its section headers make no sense");
	build_id_load(v);
	return v->build_id_len ? 0 : bad(e, ENOEXEC, "has no build-id");
}

/* Takes elf. */
static int elf_open(uint8_t *bytes, size_t len, struct vmlinux **ret, struct err *e)
{
	_cleanup_(vmlinux_free) struct vmlinux *v = calloc(1, sizeof(*v));

	if (!v) {
		free(bytes);
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	}
	v->elf = bytes;
	v->len = len;
	if (elf_version(EV_CURRENT) == EV_NONE)
		return bad(e, ENOEXEC, "cannot be read by this libelf");
	Elf *elf = elf_memory((char *)v->elf, v->len);
	int r = elf_check(v, elf, e);
	if (elf)
		elf_end(elf);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

static int elf_copy(const uint8_t *file, size_t len, struct vmlinux **ret, struct err *e)
{
	uint8_t *copy = malloc(len);

	if (!copy)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	memcpy(copy, file, len);
	return elf_open(copy, len, ret, e);
}

/* The packed kernel ends with its size unpacked (scripts/Makefile.lib, size_append; gzip has it by itself). */
static int payload_open(const uint8_t *packed, size_t len, struct vmlinux **ret, struct err *e)
{
	if (len < 16)
		return bad(e, EBADMSG, "is cut short");
	size_t out_len = u32_at(packed + len - 4);
	if (out_len > VMLINUX_MAX || out_len / RATIO_MAX > len)
		return bad(e, EBADMSG, "is damaged: the size of its kernel makes no sense");
	uint8_t *out = malloc(out_len);
	if (!out)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int r = unpack(packed, len, out, out_len, e);
	if (r < 0) {
		free(out);
		return r;
	}
	return elf_open(out, out_len, ret, e);
}

static int boot_image_open(const uint8_t *file, size_t len, struct vmlinux **ret, struct err *e)
{
	struct setup_header h;

	memcpy(&h, file + HEADER_OFFSET, sizeof(h));
	uint64_t start = ((h.setup_sects ? h.setup_sects : 4u) + 1) * SECTOR + (uint64_t)h.payload_offset;
	if (h.version < 0x0208)
		return bad(e, ENOEXEC, "is of a boot protocol that does not tell where its kernel is");
	if (start > len || h.payload_length > len - start)
		return bad(e, EBADMSG, "is cut short");
	return payload_open(file + start, h.payload_length, ret, e);
}

static bool is_boot_image(const uint8_t *file, size_t len)
{
	return len > HEADER_OFFSET + sizeof(struct setup_header) &&
	       u32_at(file + HEADER_OFFSET + offsetof(struct setup_header, header)) == HEADER_MAGIC;
}

int vmlinux_from_memory(const uint8_t *file, size_t len, struct vmlinux **ret, struct err *e)
{
	if (len >= SELFMAG && memcmp(file, ELFMAG, SELFMAG) == 0)
		return elf_copy(file, len, ret, e);
	if (is_boot_image(file, len))
		return boot_image_open(file, len, ret, e);
	return bad(e, ENOEXEC, "is neither a vmlinux nor a boot image (vmlinuz)");
}

/* Read, not mapped: a file that shrinks would be a SIGBUS. */
int vmlinux_open(int fd, struct vmlinux **ret, struct err *e)
{
	_cleanup_free_ uint8_t *file = NULL;
	struct stat st;
	size_t done = 0;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return bad(e, ENOEXEC, "is not a regular file");
	if (st.st_size > VMLINUX_FILE_MAX)
		return bad(e, EFBIG, "is larger than 256 MiB");
	file = malloc((size_t)st.st_size + 1);
	if (!file)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	while (done < (size_t)st.st_size) {
		ssize_t n = pread(fd, file + done, (size_t)st.st_size - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return bad(e, EIO, "cannot be read");
		done += (size_t)n;
	}
	return vmlinux_from_memory(file, done, ret, e);
}

int vmlinux_check_build_id(const struct vmlinux *v, const uint8_t *id, size_t len, struct err *e)
{
	char found[2 * BUILD_ID_MAX + 1], want[2 * BUILD_ID_MAX + 1];

	if (len == v->build_id_len && memcmp(id, v->build_id, len) == 0)
		return 0;
	hex_encode(v->build_id, v->build_id_len, found);
	hex_encode(id, len < BUILD_ID_MAX ? len : BUILD_ID_MAX, want);
	return err_set(e, ERR_REFUSED, ESTALE, "build-id",
		       "the kernel image has build-id %s, the guest's kernel %s: it is not the file this guest runs", found, want);
}

int vmlinux_section(const struct vmlinux *v, const char *name, struct vmlinux_section *ret)
{
	for (size_t i = 0; i < v->n_sections; i++) {
		const struct section *s = &v->section[i];

		if (strcmp(s->name, name) != 0)
			continue;
		*ret = (struct vmlinux_section){ s->addr, v->elf + s->offset, s->len };
		return 0;
	}
	return -ENOENT;
}

const uint8_t *vmlinux_at(const struct vmlinux *v, uint64_t addr, size_t len)
{
	for (size_t i = 0; i < v->n_sections; i++) {
		const struct section *s = &v->section[i];

		if (s->addr && addr >= s->addr && addr - s->addr <= s->len && len <= s->len - (addr - s->addr))
			return v->elf + s->offset + (addr - s->addr);
	}
	return NULL;
}
