// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake_backend.h. Must never be kinder than a real backend: what the contract forbids fails here. */
#include "tests/fake/fake_backend.h"

#include <errno.h>
#include <string.h>

static struct fake_backend *fake(struct backend *b)
{
	return container_of(b, struct fake_backend, base);
}

void fake_backend_note(struct fake_backend *f, int event)
{
	if (f->n_events < FAKE_EVENTS_MAX)
		f->events[f->n_events++] = event;
}

uint64_t fake_backend_random(struct fake_backend *f)
{
	f->seed ^= f->seed << 13;
	f->seed ^= f->seed >> 7;
	f->seed ^= f->seed << 17;
	return f->seed;
}

/* Counts the call; true when this one was told to fail. */
static bool call_fails(struct fake_backend *f)
{
	f->calls++;
	return f->fail_at && f->calls >= f->fail_at && f->calls - f->fail_at < f->fail_for;
}

static int failed(struct fake_backend *f, const char *what, struct err *e)
{
	return err_set(e, ERR_FAILED, f->fail_errno, "", "the fake's %s failed (call %u)", what, f->calls);
}

static int fake_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	struct fake_backend *f = fake(b);

	if (call_fails(f))
		return failed(f, "info", e);
	*ret = (struct backend_info){ .caps = f->caps,
				      .accel = "fake",
				      .version = "0",
				      .vcpus = f->n_vcpus,
				      .state = f->running ? BACKEND_RUNNING : BACKEND_PAUSED };
	return 0;
}

static uint8_t *ram_at(struct fake_backend *f, uint64_t gpa, size_t len)
{
	if (gpa < FAKE_GPA || len > FAKE_RAM_SIZE || gpa - FAKE_GPA > FAKE_RAM_SIZE - len)
		return NULL;
	return f->ram + (gpa - FAKE_GPA);
}

static int fake_read(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct fake_backend *f = fake(b);
	const uint8_t *at = ram_at(f, gpa, len);

	if (call_fails(f))
		return failed(f, "read", e);
	if (!at)
		return err_set_addr(e, ERR_FAILED, EFAULT, "", gpa, "not RAM");
	memcpy(buf, at, len);
	fake_backend_note(f, FAKE_READ);
	return 0;
}

static int fake_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	struct fake_backend *f = fake(b);
	uint8_t *at = ram_at(f, gpa, len);
	bool fails = call_fails(f);

	f->writes++;
	if (f->running) {
		f->writes_while_running++;
		return err_set(e, ERR_FAILED, EBUSY, "", "the VM is running");
	}
	if (!at || f->read_only)
		return err_set_addr(e, ERR_FAILED, EFAULT, "", gpa, "not RAM");
	if (f->writes == f->lose_write)
		return 0;
	fake_backend_note(f, FAKE_WROTE);
	if (fails && f->fail_writes_half)
		memcpy(at, buf, len / 2);
	if (fails)
		return failed(f, "write", e);
	memcpy(at, buf, len);
	return 0;
}

static int fake_pause(struct backend *b, struct backend_pause_hook *hook, bool *ret_was_running, struct err *e)
{
	struct fake_backend *f = fake(b);
	bool fails = call_fails(f);

	if (f->paused)
		return err_set(e, ERR_FAILED, EALREADY, "", "paused already");
	int r = hook ? hook->before(hook, f->running, e) : 0;
	if (r < 0)
		return r;
	if (fails)
		return failed(f, "pause", e);
	f->found_running = *ret_was_running = f->running;
	f->running = false;
	f->paused = true;
	fake_backend_note(f, FAKE_PAUSED);
	return 0;
}

static int fake_resume(struct backend *b, struct err *e)
{
	struct fake_backend *f = fake(b);

	if (call_fails(f))
		return failed(f, "resume", e);
	if (!f->paused)
		return err_set(e, ERR_FAILED, EINVAL, "", "not paused");
	f->paused = false;
	f->running = f->found_running;
	fake_backend_note(f, FAKE_RESUMED);
	if (f->running && f->on_run)
		f->on_run(f);
	return 0;
}

static int fake_regs_get(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	struct fake_backend *f = fake(b);

	if (call_fails(f))
		return failed(f, "regs_get", e);
	if (f->running || vcpu >= f->n_vcpus)
		return err_set(e, ERR_FAILED, EINVAL, "", "no such vCPU, or the VM is running");
	*ret = (struct vcpu_regs){ .rip = f->vcpus[vcpu].rip, .halted = f->vcpus[vcpu].halted, .cs = 0x10 };
	return 0;
}

static int fake_step(struct backend *b, size_t vcpu, struct err *e)
{
	struct fake_backend *f = fake(b);

	if (call_fails(f))
		return failed(f, "step", e);
	if (!(f->caps & BACKEND_STEP) || f->running || vcpu >= f->n_vcpus || f->vcpus[vcpu].halted)
		return err_set(e, ERR_FAILED, EINVAL, "", "cannot step that");
	if (!f->vcpus[vcpu].stuck)
		f->vcpus[vcpu].rip += 1 + fake_backend_random(f) % 4;
	fake_backend_note(f, FAKE_STEPPED);
	return 0;
}

static const struct backend_ops fake_ops = {
	.name = "fake",
	.info = fake_info,
	.read = fake_read,
	.write = fake_write,
	.pause = fake_pause,
	.resume = fake_resume,
	.regs_get = fake_regs_get,
	.step = fake_step,
};

void fake_backend_init(struct fake_backend *f, size_t n_vcpus, bool running)
{
	memset(f, 0, sizeof(*f));
	f->base.ops = &fake_ops;
	f->n_vcpus = n_vcpus;
	f->caps = BACKEND_STEP;
	f->running = running;
	f->fail_for = 1;
	f->fail_errno = EIO;
	f->seed = 0x9e3779b97f4a7c15u;
}
