// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake_borrow.h. Must never be kinder than a kernel: a wrong return address is a crash here as well. */
#include "tests/fake/fake_borrow.h"

#include <errno.h>
#include <string.h>

#include "vmm/borrow/borrow.h"

#define MAIN_STACK_TOP (FB_STACK + FB_STACK_SIZE)
#define PT_REGS	       (MAIN_STACK_TOP - 168)
#define MODULE_PA      (IMAGE_RAM - 0x6000)
#define PAGE_TABLE     0x7000u
#define USER_CS	       0x33

static const enum vcpu_gpr kept[] = { VCPU_RBX, VCPU_RBP, VCPU_R12, VCPU_R13, VCPU_R14, VCPU_R15 };

static struct fake_borrow *fake(struct backend *b)
{
	return container_of(b, struct fake_borrow, base);
}

void fake_borrow_broke(struct fake_borrow *f, const char *rule)
{
	if (!f->broken)
		f->broken = rule;
}

static void map(struct fake_borrow *f, uint64_t gva, uint64_t entry)
{
	memcpy(f->image.ram + PAGE_TABLE + ((gva >> 12) & 511) * 8, &entry, 8);
}

static uint64_t *word(struct fake_borrow *f, uint64_t gva)
{
	return (uint64_t *)(void *)(f->image.ram + FB_STACK_PA + (gva - FB_STACK));
}

static bool on_stack(uint64_t gva)
{
	return gva >= FB_STACK + 0x2000 && gva < MAIN_STACK_TOP && !(gva & 7);
}

static void do_return(struct fake_borrow *f)
{
	uint64_t rsp = f->regs.gpr[VCPU_RSP];

	if (!on_stack(rsp)) {
		fake_borrow_broke(f, "a return from no stack");
		return;
	}
	f->regs.rip = *word(f, rsp);
	f->regs.gpr[VCPU_RSP] += 8;
}

/* --- the kernel's functions; each returns RAX, or 0 with *ret_stay to be called again --- */

static uint64_t fn_sqrt(struct fake_borrow *f, bool *ret_stay)
{
	uint64_t x = f->regs.gpr[VCPU_RDI], r = 0;

	(void)ret_stay;
	while ((r + 1) * (r + 1) <= x)
		r++;
	if (f->clobber)
		f->regs.gpr[VCPU_RBX] = 0;
	return r;
}

static uint64_t fn_msleep(struct fake_borrow *f, bool *ret_stay)
{
	if (!f->sleeping) {
		f->sleeping = 5;
		f->sleeps++;
	}
	*ret_stay = f->never || --f->sleeping;
	return 0;
}

static void set_owner(struct fake_borrow *f, uint64_t task)
{
	memcpy(guest_image_at(&f->image, FB_MUTEX), &task, sizeof(task));
}

static uint64_t fn_lock(struct fake_borrow *f, bool *ret_stay)
{
	*ret_stay = f->mutex_elsewhere;
	if (!f->mutex_elsewhere) {
		if (f->mutex_held)
			fake_borrow_broke(f, "text_mutex is taken twice");
		f->mutex_held = true;
		f->locks++;
		set_owner(f, 0xffff888000123440 | 1); /* with a waiter */
	}
	return 0;
}

static uint64_t fn_unlock(struct fake_borrow *f, bool *ret_stay)
{
	(void)ret_stay;
	if (!f->mutex_held)
		fake_borrow_broke(f, "text_mutex is given back by who does not hold it");
	f->mutex_held = false;
	set_owner(f, 0);
	return 0;
}

static uint64_t fn_alloc(struct fake_borrow *f, bool *ret_stay)
{
	(void)ret_stay;
	f->module_size = f->regs.gpr[VCPU_RDI];
	if (f->module_size > 0x2000)
		return 0;
	for (uint64_t at = 0; at < f->module_size; at += 4096)
		map(f, FB_MODULE + at, (MODULE_PA + at) | 3 | 1ull << 63);
	return FB_MODULE;
}

static uint64_t fn_free(struct fake_borrow *f, bool *ret_stay)
{
	(void)ret_stay;
	if (!f->module_size || f->regs.gpr[VCPU_RDI] != FB_MODULE)
		fake_borrow_broke(f, "vfree() of what is not allocated");
	for (uint64_t at = 0; at < f->module_size; at += 4096)
		map(f, FB_MODULE + at, 0);
	f->module_size = 0;
	return 0;
}

static uint64_t protect(struct fake_borrow *f, uint64_t clear)
{
	for (uint64_t at = 0; at < f->regs.gpr[VCPU_RSI] * 4096; at += 4096) {
		uint64_t entry;
		memcpy(&entry, f->image.ram + PAGE_TABLE + (((FB_MODULE + at) >> 12) & 511) * 8, 8);
		map(f, FB_MODULE + at, entry & ~clear);
	}
	return 0;
}

static uint64_t fn_ro(struct fake_borrow *f, bool *ret_stay)
{
	(void)ret_stay;
	return protect(f, 2);
}

static uint64_t fn_x(struct fake_borrow *f, bool *ret_stay)
{
	(void)ret_stay;
	return f->odd_pages ? 0 : protect(f, 1ull << 63);
}

/* Takes its time, like msleep(). */
static uint64_t fn_wait(struct fake_borrow *f, bool *ret_stay)
{
	if (!f->sleeping) {
		f->sleeping = 9;
		f->waits++;
	}
	*ret_stay = f->never || --f->sleeping;
	return 0xbad;
}

static const struct {
	const char *name;
	uint64_t (*run)(struct fake_borrow *f, bool *ret_stay);
} functions[] = {
	{ "int_sqrt", fn_sqrt },
	{ "msleep", fn_msleep },
	{ "synchronize_rcu", fn_wait },
	{ "module_alloc", fn_alloc },
	{ "vfree", fn_free },
	{ "set_memory_ro", fn_ro },
	{ "set_memory_x", fn_x },
	{ "ftrace_arch_code_modify_prepare", fn_lock },
	{ "ftrace_arch_code_modify_post_process", fn_unlock },
};

static uint64_t function_addr(size_t i)
{
	return IMAGE_BASE + 0xa00 + i * 0x20;
}

/* --- the thread --- */

static void enter(struct fake_borrow *f)
{
	struct vcpu_regs *r = &f->regs;
	uint64_t pt[21] = { [7] = f->nonce[1], [12] = f->nonce[0], [15] = BORROW_SYSCALL, [17] = USER_CS };

	f->depth = (f->depth * 5 + 8) & 0x3f8;
	memcpy(word(f, PT_REGS), pt, sizeof(pt));
	r->cs = 0x10;
	r->rflags = 0x202;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		r->gpr[kept[i]] = 0x1000 * (i + 1) + f->depth;
	r->gpr[VCPU_RDI] = PT_REGS;
	r->gpr[VCPU_RSP] = PT_REGS - 0x40 - f->depth;
	*word(f, r->gpr[VCPU_RSP]) = FB_CALLER;
	r->rip = FB_ENTRY;
}

static void leave(struct fake_borrow *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (f->regs.gpr[kept[i]] != 0x1000 * (i + 1) + f->depth)
			fake_borrow_broke(f, "a callee-saved register is not what it was");
	if (f->regs.gpr[VCPU_RSP] != PT_REGS - 0x40 - f->depth + 8)
		fake_borrow_broke(f, "the stack pointer is not what it was");
	if (f->mutex_held)
		fake_borrow_broke(f, "back in user mode with text_mutex held");
	f->regs.cs = USER_CS;
	f->syscalls++;
}

static void run_function(struct fake_borrow *f)
{
	bool stay = false;

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		if (f->regs.rip != function_addr(i))
			continue;
		uint64_t rax = functions[i].run(f, &stay);
		if (stay)
			return;
		/* What a function may clobber it does. */
		for (int g = VCPU_RCX; g <= VCPU_RDX; g++)
			f->regs.gpr[g] = 0xdead;
		f->regs.gpr[VCPU_RSI] = f->regs.gpr[VCPU_RDI] = f->regs.gpr[VCPU_R8] = 0xdead;
		f->regs.gpr[VCPU_RAX] = rax;
		do_return(f);
		return;
	}
	fake_borrow_broke(f, "execution where there is no code");
}

void fake_borrow_step(struct fake_borrow *f)
{
	uint64_t rip = f->regs.rip;

	f->steps++;
	if (f->broken)
		return;
	if (f->before)
		f->before(f);
	if (f->regs.cs == USER_CS) {
		enter(f);
	} else if (rip == FB_CALLER) {
		leave(f);
	} else if (rip >= FB_ENTRY && rip < FB_LEAVE) {
		f->regs.rip = rip == FB_ENTRY ? FB_ENTRY + 4 : FB_LEAVE;
		f->regs.gpr[VCPU_RAX] = (uint64_t)-EINVAL;
	} else if (rip == FB_LEAVE) {
		do_return(f);
	} else if (rip == FB_MODULE && f->module_size) {
		f->regs.gpr[VCPU_RAX] = f->image.ram[MODULE_PA];
		do_return(f);
	} else {
		run_function(f);
	}
}

bool fake_borrow_trapped(const struct fake_borrow *f)
{
	for (size_t i = 0; i < f->n_traps; i++)
		if (f->regs.cs != USER_CS && f->traps[i] == f->regs.rip)
			return true;
	return false;
}

/* --- backend: both roads --- */

static int fb_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	(void)e;
	*ret = (struct backend_info){
		.caps = fake(b)->caps,
		.accel = "fake",
		.vcpus = IMAGE_CPUS,
		.state = fake(b)->running ? BACKEND_RUNNING : BACKEND_PAUSED,
	};
	return 0;
}

static int fb_read(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	return fake(b)->image.mem.read(&fake(b)->image.mem, gpa, buf, len, e);
}

static int fb_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	struct fake_borrow *f = fake(b);

	f->writes_running += !(f->caps & BACKEND_NONSTOP) && !f->paused;
	if (gpa > IMAGE_RAM || len > IMAGE_RAM - gpa)
		return err_set(e, ERR_FAILED, EFAULT, "", "not RAM");
	memcpy(f->image.ram + gpa, buf, len);
	return 0;
}

/* vCPU 0 runs the thread; the other one idles where the image put it. */
int fake_borrow_regs(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	(void)e;
	*ret = vcpu ? fake(b)->image.regs[vcpu] : fake(b)->regs;
	ret->cr3 = fake(b)->image.regs[0].cr3;
	return 0;
}

static int fb_regs_set(struct backend *b, size_t vcpu, const struct vcpu_regs *regs, struct err *e)
{
	(void)e;
	if (vcpu || !fake(b)->paused)
		return -EBUSY;
	fake(b)->regs = *regs;
	return 0;
}

static int fb_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret, struct err *e)
{
	if (fake(b)->paused)
		return -EALREADY;
	int r = hook ? hook->before(hook, fake(b)->running, e) : 0;
	if (r < 0)
		return r;
	b->stop_asked_us = now_us();
	fake(b)->paused = true;
	*ret = fake(b)->running;
	return 0;
}

static int fb_resume(struct backend *b, struct err *e)
{
	(void)e;
	fake(b)->paused = false;
	fake(b)->n_traps = 0;
	return 0;
}

static int fb_trap_set(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e)
{
	struct fake_borrow *f = fake(b);

	(void)e;
	if (kind != BACKEND_TRAP_KIND_HW || !f->paused || f->n_traps == ARRAY_SIZE(f->traps))
		return -ENOSPC;
	f->traps[f->n_traps++] = gva;
	return 0;
}

static int fb_trap_clear(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e)
{
	struct fake_borrow *f = fake(b);

	(void)kind;
	(void)e;
	for (size_t i = 0; i < f->n_traps; i++) {
		if (f->traps[i] != gva)
			continue;
		f->traps[i] = f->traps[--f->n_traps];
		return 0;
	}
	return -ENOENT;
}

static int fb_step(struct backend *b, size_t vcpu, struct err *e)
{
	(void)vcpu;
	(void)e;
	fake_borrow_step(fake(b));
	return 0;
}

static int fb_run(struct backend *b, uint64_t timeout_us, struct backend_stop *ret, struct err *e)
{
	struct fake_borrow *f = fake(b);

	(void)timeout_us;
	for (int i = 0; i < 50; i++) {
		if (fake_borrow_trapped(f)) {
			*ret = (struct backend_stop){ .trap = true, .rip = f->regs.rip };
			return 0;
		}
		fake_borrow_step(f);
	}
	return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "", "no trap was hit");
}

static const struct backend_ops live_ops = {
	.name = "fake-live",
	.live = &fake_borrow_live,
	.info = fb_info,
	.read = fb_read,
	.write = fb_write,
	.regs_get = fake_borrow_live_regs,
};
static const struct backend_ops stopped_ops = {
	.name = "fake-stopped",
	.info = fb_info,
	.read = fb_read,
	.write = fb_write,
	.pause = fb_pause,
	.resume = fb_resume,
	.regs_get = fake_borrow_regs,
	.regs_set = fb_regs_set,
	.step = fb_step,
	.trap_set = fb_trap_set,
	.trap_clear = fb_trap_clear,
	.run = fb_run,
};

void fake_borrow_init(struct fake_borrow *f, bool is_live)
{
	/* endbr64; nopl 0(%rax,%rax); mov 0x70(%rdi),%rdx; ret, padded to FB_LEAVE */
	static const uint8_t code[] = { 0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0x00, 0x00,
					0x48, 0x8b, 0x57, 0x70, 0x66, 0x66, 0x90, 0xc3 };
	struct guest_image_symbol extra[ARRAY_SIZE(functions) + 3] = {
		{ FB_MUTEX, "text_mutex" },
		{ FB_ENTRY, BORROW_SYSCALL_FN },
		{ FB_ENTRY + sizeof(code), "what_follows" },
	};

	memset(f, 0, sizeof(*f));
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		extra[i + 3] = (struct guest_image_symbol){ function_addr(i), functions[i].name };
	guest_image_build(&f->image, &(struct guest_image_options){ .extra = extra, .n_extra = ARRAY_SIZE(extra) });
	memcpy(guest_image_at(&f->image, FB_ENTRY), code, sizeof(code));
	for (uint64_t at = 0; at < 0x4000; at += 4096)
		map(f, FB_STACK + at, (FB_STACK_PA + at) | 3 | 1ull << 63);
	pthread_mutex_init(&f->lock, NULL);
	f->base.ops = is_live ? &live_ops : &stopped_ops;
	f->caps = BACKEND_TRAP_HW | (is_live ? BACKEND_NONSTOP | BACKEND_LIVE_REGS : BACKEND_STEP);
	f->running = true;
	f->regs = f->image.regs[0];
	f->regs.cs = USER_CS;
	f->nonce[0] = 0x1111222233334444;
	f->nonce[1] = 0x5555666677778888;
}
