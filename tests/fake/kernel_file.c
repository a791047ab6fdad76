// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes the files of kernel_file.h, with the same libraries that unpack them. */
#include "tests/fake/kernel_file.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define TEXT	    UINT64_C(0xffffffff81000000)
#define REPLACEMENT UINT64_C(0xffffffff82000000)
#define TABLE	    UINT64_C(0xffffffff82100000)
#define PV_TABLE    UINT64_C(0xffffffff82200000)
#define NOTES	    UINT64_C(0xffffffff82300000)

enum { S_NULL, S_TEXT, S_REPLACEMENT, S_TABLE, S_PV, S_NOTES, S_NAMES, S_COUNT };

struct writer {
	uint8_t *out;
	size_t at;
	Elf64_Shdr header[S_COUNT];
};

static void section(struct writer *w, int i, uint32_t name, uint64_t addr, const void *bytes, size_t len)
{
	w->header[i] = (Elf64_Shdr){
		.sh_name = name, .sh_type = i == S_NAMES ? SHT_STRTAB : i == S_NOTES ? SHT_NOTE : SHT_PROGBITS,
		.sh_flags = i == S_NAMES ? 0 : SHF_ALLOC, .sh_addr = addr, .sh_offset = w->at, .sh_size = len, .sh_addralign = 1,
	};
	if (len)
		memcpy(w->out + w->at, bytes, len);
	w->at += (len + 7) & ~(size_t)7;
}

static void put(uint8_t **p, const void *v, size_t len)
{
	memcpy(*p, v, len);
	*p += len;
}

static size_t table_make(const struct kernel_file *k, uint8_t *out)
{
	uint8_t *p = out;

	for (size_t i = 0; i < k->n_alternatives; i++) {
		const struct kernel_file_alternative *a = &k->alternative[i];
		uint64_t here = TABLE + (uint64_t)(p - out);
		int32_t at = (int32_t)(TEXT + a->at - here), from = (int32_t)(REPLACEMENT + a->replacement - (here + 4));
		uint16_t old = (uint16_t)(a->feature | ((a->flags & 1) ? 0x8000 : 0));

		put(&p, &at, 4);
		put(&p, &from, 4);
		put(&p, k->entry_size == 12 ? &old : &a->feature, 2);
		if (k->entry_size == 14)
			put(&p, &a->flags, 2);
		put(&p, &a->len, 1);
		put(&p, &a->replacement_len, 1);
	}
	return (size_t)(p - out);
}

static size_t pv_make(const struct kernel_file *k, uint8_t *out)
{
	memset(out, 0, 16 * KERNEL_ENTRIES);
	for (size_t i = 0; i < k->n_pv_calls; i++) {
		uint64_t at = TEXT + k->pv_call[i].at;

		memcpy(out + 16 * i, &at, 8);
		out[16 * i + 8] = k->pv_call[i].type;
		out[16 * i + 9] = k->pv_call[i].len;
	}
	return 16 * k->n_pv_calls;
}

size_t kernel_file_elf(const struct kernel_file *k, uint8_t ret[KERNEL_FILE_MAX])
{
	static const char names[] = "\0.text\0.altinstr_replacement\0.altinstructions\0.parainstructions\0.notes\0.shstrtab";
	struct writer w = { .out = ret, .at = sizeof(Elf64_Ehdr) };
	uint8_t table[16 * KERNEL_ENTRIES], notes[40] = { 4, 0, 0, 0, 20, 0, 0, 0, NT_GNU_BUILD_ID, 0, 0, 0, 'G', 'N', 'U' };

	memset(ret, 0, KERNEL_FILE_MAX);
	memcpy(notes + 16, k->build_id, 20);
	section(&w, S_TEXT, 1, TEXT, k->text, sizeof(k->text));
	section(&w, S_REPLACEMENT, 7, REPLACEMENT, k->replacement, sizeof(k->replacement));
	section(&w, S_TABLE, 29, TABLE, table, table_make(k, table));
	section(&w, S_PV, 46, PV_TABLE, table, pv_make(k, table));
	section(&w, S_NOTES, 64, NOTES, notes, 36);
	section(&w, S_NAMES, 71, 0, names, sizeof(names));
	const Elf64_Ehdr h = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_ehsize = sizeof(h), .e_shoff = w.at,
		.e_shentsize = sizeof(Elf64_Shdr), .e_shnum = S_COUNT, .e_shstrndx = S_NAMES,
	};
	memcpy(ret, &h, sizeof(h));
	memcpy(ret + w.at, w.header, sizeof(w.header));
	return w.at + sizeof(w.header);
}

static size_t lz4_make(const uint8_t *in, size_t len, uint8_t *out, size_t cap)
{
	uint32_t magic = 0x184c2102;
	int n = LZ4_compress_default((const char *)in, (char *)out + 8, (int)len, (int)cap - 8);

	memcpy(out, &magic, 4);
	memcpy(out + 4, &n, 4);
	return n > 0 ? 8 + (size_t)n : 0;
}

static size_t gzip_make(const uint8_t *in, size_t len, uint8_t *out, size_t cap)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)cap };

	if (deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return z.total_out - 4; /* it ends with the length itself */
}

static size_t pack(const uint8_t *in, size_t len, enum kernel_packing how, uint8_t *out, size_t cap)
{
	size_t at = 0;

	switch (how) {
	case KERNEL_LZ4:
		return lz4_make(in, len, out, cap);
	case KERNEL_ZSTD:
		return ZSTD_compress(out, cap, in, len, 19);
	case KERNEL_XZ:
		if (lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, in, len, out, &at, cap) != LZMA_OK)
			abort();
		return at;
	default:
		return gzip_make(in, len, out, cap);
	}
}

size_t kernel_file_pack(const uint8_t *elf, size_t len, enum kernel_packing how, uint8_t ret[KERNEL_FILE_MAX])
{
	struct setup_header h = { .setup_sects = 1, .boot_flag = 0xaa55, .header = 0x53726448, .version = 0x020f, .payload_offset = 16 };
	uint32_t size = (uint32_t)len;
	size_t start = 2 * 512 + 16;

	memset(ret, 0, start);
	size_t n = pack(elf, len, how, ret + start, KERNEL_FILE_MAX - start - 4);
	memcpy(ret + start + n, &size, 4);
	h.payload_length = (uint32_t)n + 4;
	memcpy(ret + 0x1f1, &h, sizeof(h));
	return start + n + 4;
}
