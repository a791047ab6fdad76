// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads the kernel, told apart by content, and points the vCPUs at it. With an
 * irqchip the other vCPUs wait for the guest's INIT and SIPI, as on hardware.
 */
#include "vmm/kvm/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vmm/kvm/layout.h"
#include "vmm/kvm/machine_private.h"

#define IMAGE_MAX    (1ll << 30)
#define APIC_LVT0    0x350
#define APIC_LVT1    0x360
#define LVT_EXTINT   0x700
#define LVT_NMI	     0x400

static int image_open(const struct machine_config *config, struct boot_image *ret, struct err *e)
{
	const char *path = config->kernel;
	_cleanup_close_ int fd = config_open(path, config->files ? &config->files->kernel : NULL, O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_FAILED, fd < 0 ? -fd : errno, "", "%s: %s", path, strerror(fd < 0 ? -fd : errno));
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > IMAGE_MAX)
		return err_set(e, ERR_FAILED, ENOEXEC, "", "%s is not a kernel", path);
	void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return err_set(e, ERR_FAILED, errno, "", "%s: %s", path, strerror(errno));
	*ret = (struct boot_image){ .bytes = bytes, .len = (size_t)st.st_size };
	return 0;
}

static int load_linux(struct machine *m, const struct machine_config *config, const struct boot_image *header,
		      struct err *e)
{
	int r;

	if (!m->irqchip)
		return err_set(e, ERR_USAGE, ENOTSUP, "no-irqchip", "Linux needs an in-kernel irqchip");
	r = boot_linux_params(&m->memory, config, header, e);
	return r < 0 ? r : acpi_write(&m->memory, config->vcpus, (unsigned)m->devices.n, e);
}

static int load(struct machine *m, const struct machine_config *config, const struct boot_image *image,
		struct boot_entry *ret, struct err *e)
{
	*ret = (struct boot_entry){ .rdi = config->vcpus, .rsi = config->memory };
	int r = boot_elf_load(&m->memory, image, &ret->rip, &ret->linux_kernel, e);
	const struct boot_image *header = NULL;

	if (r == 0) {
		r = boot_bzimage_load(&m->memory, image, &ret->rip, e);
		ret->linux_kernel = r > 0;
		header = image;
	}
	if (r == 0)
		r = err_set(e, ERR_FAILED, ENOEXEC, "", "%s is not a bzImage or an ELF64 image", config->kernel);
	if (r > 0 && ret->linux_kernel) {
		ret->rdi = 0;
		ret->rsi = LAYOUT_BOOT_PARAMS;
		r = load_linux(m, config, header, e);
	}
	return r < 0 ? r : 0;
}

/* What firmware leaves behind: the 8259 reaches the first CPU as ExtINT, NMI reaches all. */
static int set_lvt(struct cpu *c, struct err *e)
{
	struct kvm_lapic_state apic;
	uint32_t lvt0 = LVT_EXTINT, lvt1 = LVT_NMI;

	if (ioctl(c->fd, KVM_GET_LAPIC, &apic) < 0)
		return err_set(e, ERR_FAILED, errno, "", "KVM_GET_LAPIC: %s", strerror(errno));
	memcpy(&apic.regs[APIC_LVT0], &lvt0, sizeof(lvt0));
	memcpy(&apic.regs[APIC_LVT1], &lvt1, sizeof(lvt1));
	if (ioctl(c->fd, KVM_SET_LAPIC, &apic) < 0)
		return err_set(e, ERR_FAILED, errno, "", "KVM_SET_LAPIC: %s", strerror(errno));
	return 0;
}

static int point_vcpus(struct machine *m, const struct machine_config *config, const struct boot_entry *entry,
		       struct err *e)
{
	bool all = config->start_all && !entry->linux_kernel;
	int r = 0;

	if (!m->irqchip && !all && m->n_cpus > 1)
		return err_set(e, ERR_USAGE, EINVAL, "", "without an irqchip only start_all gets several vCPUs going");
	for (size_t i = 0; i < m->n_cpus && r >= 0; i++) {
		if (m->irqchip)
			r = set_lvt(&m->cpus[i], e);
		if (r >= 0 && (i == 0 || all))
			r = longmode_enter(&m->cpus[i], entry->rip, all ? i : entry->rdi, entry->rsi, e);
	}
	return r;
}

int boot_load(struct machine *m, const struct machine_config *config, struct err *e)
{
	struct boot_image image = { 0 };
	struct boot_entry entry;
	int r = image_open(config, &image, e);

	if (r < 0)
		return r;
	r = longmode_tables(m, e);
	if (r >= 0)
		r = load(m, config, &image, &entry, e);
	munmap((void *)(uintptr_t)image.bytes, image.len);
	return r < 0 ? r : point_vcpus(m, config, &entry, e);
}
