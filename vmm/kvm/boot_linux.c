// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Linux 64-bit boot protocol (Documentation/arch/x86/boot.rst): bzImage, zero
 * page, e820 map, command line, initrd. The setup header comes from a file and is
 * checked before anything is believed.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vmm/kvm/boot.h"
#include "vmm/kvm/layout.h"
#include "vmm/kvm/machine_private.h"

#define HEADER_OFFSET  0x1f1u
#define HEADER_MAGIC   0x53726448u /* "HdrS" */
#define BOOT_FLAG      0xaa55u
#define VERSION_MIN    0x020c /* xloadflags */
#define ENTRY_64       0x200u
#define SECTOR	       512u
#define LOADER_UNKNOWN 0xff
#define E820_RAM       1
#define E820_ACPI      3
#define INITRD_MAX     (1ull << 30)

static int header_read(const struct boot_image *image, struct setup_header *h)
{
	if (image->len < HEADER_OFFSET + sizeof(*h))
		return 0;
	memcpy(h, image->bytes + HEADER_OFFSET, sizeof(*h));
	return h->boot_flag == BOOT_FLAG && h->header == HEADER_MAGIC;
}

int boot_bzimage_load(struct memory *mem, const struct boot_image *image, uint64_t *ret_entry, struct err *e)
{
	struct setup_header h;

	if (!header_read(image, &h))
		return 0;
	if (h.version < VERSION_MIN || !(h.xloadflags & XLF_KERNEL_64))
		return err_set(e, ERR_FAILED, ENOEXEC, "", "this kernel has no 64-bit entry (boot protocol 0x%x)", h.version);
	size_t setup = ((h.setup_sects ? h.setup_sects : 4u) + 1) * SECTOR;
	if (setup >= image->len)
		return err_set(e, ERR_FAILED, ENOEXEC, "", "the kernel image is cut short");
	uint64_t at = h.pref_address && h.pref_address < UINT32_MAX ? h.pref_address : LAYOUT_KERNEL;
	/* init_size: what it needs to unpack itself in place. */
	if (at + h.init_size > mem->low ||
	    memory_write(mem, at, image->bytes + setup, image->len - setup) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "the kernel needs %llu MiB of memory",
			       (unsigned long long)((at + h.init_size) >> 20) + 1);
	*ret_entry = at + ENTRY_64;
	return 1;
}

static void e820_add(struct boot_params *p, uint64_t start, uint64_t end, uint32_t type)
{
	if (end > start)
		p->e820_table[p->e820_entries++] = (struct boot_e820_entry){ start, end - start, type };
}

static void e820_fill(struct boot_params *p, const struct memory *mem)
{
	e820_add(p, 0, LAYOUT_LOW_END, E820_RAM);
	e820_add(p, LAYOUT_ACPI, LAYOUT_ACPI_END, E820_ACPI);
	e820_add(p, 1 << 20, mem->low, E820_RAM);
	e820_add(p, MEMORY_HIGH_START, MEMORY_HIGH_START + mem->high, E820_RAM);
}

/* As high as the kernel allows, out of the way of its own unpacking. */
static int load_initrd(struct memory *mem, const struct machine_config *config, struct boot_params *p, struct err *e)
{
	const char *path = config->initrd ? config->initrd : "the initrd";
	_cleanup_close_ int fd = config_open(path, config->files ? &config->files->initrd : NULL, O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_FAILED, fd < 0 ? -fd : errno, "", "%s: %s", path, strerror(fd < 0 ? -fd : errno));
	uint64_t max = p->hdr.initrd_addr_max ? (uint64_t)p->hdr.initrd_addr_max + 1 : 1ull << 31;
	uint64_t top = max < mem->low ? max : mem->low, len = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode) || !len || len > INITRD_MAX || len + (64 << 20) > top)
		return err_set(e, ERR_FAILED, EFBIG, "", "%s: an initrd of %lld bytes does not fit", path,
			       (long long)st.st_size);
	uint64_t at = (top - len) & ~(uint64_t)(PAGE_SIZE - 1);
	const void *bytes = mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return err_set(e, ERR_FAILED, errno, "", "%s: %s", path, strerror(errno));
	int r = memory_write(mem, at, bytes, (size_t)len);
	munmap((void *)(uintptr_t)bytes, (size_t)len);
	p->hdr.ramdisk_image = (uint32_t)at;
	p->hdr.ramdisk_size = (uint32_t)len;
	return r < 0 ? err_set(e, ERR_FAILED, -r, "", "%s does not fit", path) : 0;
}

int boot_linux_params(struct memory *mem, const struct machine_config *config, const struct boot_image *header,
		      struct err *e)
{
	_cleanup_free_ struct boot_params *p = calloc(1, sizeof(*p));
	const char *append = config->append ? config->append : "";
	bool initrd = config->files ? config->files->initrd >= 0 : config->initrd != NULL;

	if (!p)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (header)
		header_read(header, &p->hdr);
	size_t max = p->hdr.cmdline_size && p->hdr.cmdline_size < LAYOUT_CMDLINE_MAX ? p->hdr.cmdline_size :
										       LAYOUT_CMDLINE_MAX - 1;
	if (strlen(append) > max)
		return err_set(e, ERR_USAGE, E2BIG, "", "the command line is longer than %zu bytes", max);
	p->hdr.boot_flag = BOOT_FLAG;
	p->hdr.header = HEADER_MAGIC;
	p->hdr.type_of_loader = LOADER_UNKNOWN;
	p->hdr.loadflags |= LOADED_HIGH;
	p->hdr.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE;
	p->acpi_rsdp_addr = LAYOUT_ACPI;
	e820_fill(p, mem);
	int r = initrd ? load_initrd(mem, config, p, e) : 0;
	if (r >= 0 && (memory_write(mem, LAYOUT_CMDLINE, append, strlen(append) + 1) < 0 ||
		       memory_write(mem, LAYOUT_BOOT_PARAMS, p, sizeof(*p)) < 0))
		r = err_set(e, ERR_FAILED, EFAULT, "", "boot parameters do not fit into guest memory");
	return r;
}
