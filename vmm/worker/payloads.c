// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See payloads.h. Must never free memory to which some patch leads, in which anybody
 * may still be, or which is another boot's.
 */
#include "vmm/worker/payloads.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "protocol/crc32c.h"
#include "protocol/qmp.h"
#include "vmm/borrow/borrow.h"
#include "vmm/fault.h"
#include "vmm/payload/payload.h"
#include "vmm/worker/blocker.h"
#include "vmm/worker/borrowed.h"
#include "vmm/worker/session.h"

#define SCANS_MAX      5	/* pauses of one request */
#define SCAN_AGAIN_US  20000u	/* the guest runs on in between */
#define RELEASE_MAX_US 10000000u

/* --- placing --- */

static int remember(struct session *s, const struct payload_memory *m, struct err *e)
{
	int r = payload_list_add(&s->payloads, m);

	if (r < 0)
		return err_set(e, ERR_REFUSED, -r, "payload-memory", "too many payloads are in this guest");
	return journal_append(s->journal, payload_record(m), true, e);
}

static int read_back(struct session *s, uint64_t gva, const uint8_t *image, size_t size, struct err *e)
{
	uint8_t page[PAYLOAD_PAGE];
	int r = 0;

	for (size_t at = 0; at < size && r >= 0; at += sizeof(page)) {
		r = guest_read(s->guest, gva + at, page, sizeof(page), e);
		if (r >= 0 && memcmp(page, image + at, sizeof(page)) != 0)
			r = err_set_addr(e, ERR_FAILED, EIO, "payload-memory", gva + at,
					 "the payload reads back otherwise than it was written");
	}
	return r;
}

/* On the record before it is written: from then on it is freed some day, whatever happens. */
static int fill(struct session *s, struct prepared *p, struct borrow *borrow, const struct borrow_exec *x, uint8_t *image,
		struct err *e)
{
	struct payload_memory m = { .gva = x->gva, .size = x->size, .text = payload_text_size(p->payload), .boot = session_boot(s) };
	int r = prepare_image(s, p, x->gva, image, e);

	snprintf(m.patch, sizeof(m.patch), "%s", p->file->name);
	m.crc = crc32c(image, x->size);
	m.shows_code = payload_shows_code(p->payload);
	if (r >= 0)
		r = remember(s, &m, e);
	fault_point("payload-recorded");
	if (r >= 0)
		r = borrow_exec_write(borrow, x, 0, image, x->size, e);
	if (r >= 0)
		r = read_back(s, x->gva, image, x->size, e);
	fault_point("payload-written");
	return r;
}

static int place(struct session *s, struct prepared *p, struct borrow *borrow, uint8_t *image, uint64_t timeout_us,
		 struct err *e)
{
	struct borrow_exec x;
	int r = borrow_exec_alloc(borrow, payload_size(p->payload), timeout_us, &x, e);

	if (r < 0)
		return r;
	fault_point("payload-allocated");
	r = x.size == payload_size(p->payload) ? fill(s, p, borrow, &x, image, e) : -EIO;
	if (r < 0 && !payload_list_find(&s->payloads, x.gva))
		borrow_exec_free(borrow, &x, timeout_us, NULL); /* nobody else would */
	return r;
}

int payloads_place(struct session *s, struct prepared *p, uint64_t timeout_us, struct err *e)
{
	_cleanup_free_ uint8_t *image = malloc(payload_size(p->payload));
	struct err end_error = { 0 };
	struct borrowed b;

	if (!image)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int r = borrowed_begin(s, &b, e);
	if (r < 0)
		return r;
	r = place(s, p, b.borrow, image, timeout_us, e);
	int ended = borrowed_end(&b, &end_error);
	if (r >= 0 && ended < 0) {
		*e = end_error;
		r = ended;
	}
	return r < 0 ? r : 0;
}

/* --- what is there --- */

static bool leads_to(const struct poke_site *site, const struct payload_memory *m)
{
	struct arch_insn insn;

	return arch_x86_64.decode(site->new_bytes, site->len, site->gva, &insn) == 0 && insn.flow == ARCH_FLOW_JUMP &&
	       insn.target - m->gva < m->size;
}

bool payloads_in_use(const struct session *s, const struct payload_memory *m)
{
	for (const struct patch_record *p = s->patches.first; p; p = p->next)
		for (size_t i = 0; p->status != PATCH_LOST && i < p->begin->plan->n_sites; i++)
			if (leads_to(&p->begin->plan->sites[i], m))
				return true;
	return false;
}

const struct payload_memory *payloads_of(const struct session *s, const struct patch_record *in)
{
	for (const struct payload_memory *m = s->payloads.first; m; m = m->next)
		for (size_t i = 0; i < in->begin->plan->n_sites; i++)
			if (leads_to(&in->begin->plan->sites[i], m))
				return m;
	return NULL;
}

/* On the record before a patch that leads there is. */
int payloads_adopt(struct session *s, struct prepared *p, struct err *e)
{
	struct payload_memory m = { .gva = p->payload_base, .size = payload_size(p->payload), .text = payload_text_size(p->payload),
				    .boot = session_boot(s) };
	_cleanup_free_ uint8_t *image = malloc(m.size);
	struct err differs = { 0 };

	if (!image)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (payload_list_find(&s->payloads, m.gva))
		return err_set(e, ERR_REFUSED, EEXIST, "payload-memory", "the payload's memory is another patch's");
	int r = prepare_image(s, p, m.gva, image, e);
	if (r >= 0 && read_back(s, m.gva, image, m.size, &differs) < 0)
		r = err_set_addr(e, ERR_REFUSED, ESTALE, "payload-memory", m.gva,
				 "the guest does not hold the object's code there");
	if (r < 0)
		return r;
	snprintf(m.patch, sizeof(m.patch), "%s", p->file->name);
	m.crc = crc32c(image, m.size);
	m.shows_code = payload_shows_code(p->payload);
	return remember(s, &m, e);
}

static json_t *memory_json(const struct payload_memory *m, const char *state)
{
	return json_pack("{s:s, s:o, s:I, s:s}", "patch", m->patch, "address", qmp_address(m->gva), "size",
			 (json_int_t)m->size, "state", state);
}

json_t *payloads_json(const struct session *s)
{
	json_t *list = json_array();

	for (const struct payload_memory *m = s->payloads.first; m; m = m->next)
		json_array_append_new(list, memory_json(m, payloads_in_use(s, m) ? "in-use" : "unused"));
	return list;
}

int payloads_crc(struct session *s, const struct payload_memory *m, uint32_t *ret, struct err *e)
{
	uint8_t page[PAYLOAD_PAGE];
	uint32_t crc = 0;

	for (size_t at = 0; at < m->size; at += sizeof(page)) {
		int r = guest_read(s->guest, m->gva + at, page, sizeof(page), e);

		if (r < 0)
			return r;
		crc = crc32c_more(crc, page, sizeof(page));
	}
	*ret = crc;
	return 0;
}

static bool same_boot(const struct session *s, const struct payload_memory *m)
{
	struct boot now = session_boot(s);

	return !session_other_process(s, &m->boot) && now.base == m->boot.base &&
	       strcmp(now.build_id, m->boot.build_id) == 0;
}

/* The journal is told later when it cannot be now: what is gone is gone. */
static void forget(struct session *s, uint64_t gva)
{
	struct payload_memory *m = payload_list_find(&s->payloads, gva);
	struct err ignored = { 0 };

	if (m)
		journal_owe(s->journal, payload_record_free(m), &ignored);
	payload_list_remove(&s->payloads, gva);
}

void payloads_lose(struct session *s)
{
	while (s->payloads.first)
		forget(s, s->payloads.first->gva);
}

/* --- giving back --- */

static int scan(struct session *s, const struct payload_memory *m, struct err *e)
{
	/* The first address of its text counts as well; before it, and in its constants, there is nobody. */
	const struct guest_range range = { m->gva + PAYLOAD_LEAD - 1, m->gva + m->text };
	_cleanup_free_ struct vcpu_regs *regs = calloc(VCPU_MAX, sizeof(*regs));
	struct guest_blocker who;
	char what[96];

	if (!regs)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	int n = session_regs(s, regs, e);
	if (n < 0)
		return n;
	int r = guest_stacks_scan(s->guest, regs, (size_t)n, &range, 1, GUEST_STACKS_ALL, &who, e);
	if (r <= 0)
		return r;
	snprintf(what, sizeof(what), "the payload of %s", m->patch);
	return blocker_describe(s->guest, &who, what, e);
}

static int scan_paused(struct session *s, const struct payload_memory *m, struct err *e)
{
	struct err resume_error = { 0 };
	bool was_running;
	int r = s->backend->ops->pause(s->backend, NULL, &was_running, e);

	if (r < 0)
		return r;
	fault_point("payload-paused");
	r = scan(s, m, e);
	int resumed = s->backend->ops->resume(s->backend, &resume_error);
	if (r >= 0 && resumed < 0) {
		*e = resume_error;
		r = resumed;
	}
	return r;
}

/* 0: nobody is in there, and as nothing leads there, nobody will be. */
static int await_quiet(struct session *s, const struct payload_memory *m, struct err *e)
{
	int r = guest_stacks_prepare(s->guest, e);

	if (r >= 0)
		r = session_hold_paused(s, e);
	if (r < 0)
		return r;
	for (int i = 0; i < SCANS_MAX; i++) {
		if (i)
			usleep(SCAN_AGAIN_US);
		r = scan_paused(s, m, e);
		if (r != -EBUSY && r != -EBADMSG) /* a list in mid-change is as good as busy */
			break;
	}
	return r;
}

static int free_in_guest(struct session *s, const struct payload_memory *m, uint64_t timeout_us, struct err *e)
{
	const struct borrow_exec x = { .gva = m->gva, .size = m->size };
	struct err ignored = { 0 };
	struct borrowed b;
	int r = borrowed_begin(s, &b, e);

	if (r < 0)
		return r;
	r = borrow_rcu_tasks(b.borrow, timeout_us, e);
	if (r >= 0)
		r = borrow_exec_free(b.borrow, &x, timeout_us, e);
	fault_point("payload-freed");
	borrowed_end(&b, &ignored); /* freed is freed */
	return r;
}

/* 0: given back, or gone; else why it is kept. */
static int release(struct session *s, const struct payload_memory *m, uint64_t timeout_us, struct err *e)
{
	uint32_t crc = 0;
	int r = same_boot(s, m) ? payloads_crc(s, m, &crc, e) : -EFAULT;

	if (r == -EFAULT || (r >= 0 && crc != m->crc))
		return 0; /* another boot's: whatever is there is not ours */
	if (r < 0)
		return r;
	if (m->shows_code)
		return err_set(e, ERR_REFUSED, EBUSY, "payload-address",
			       "it takes addresses of its own code, so nothing tells that the guest will not come back to it");
	r = await_quiet(s, m, e);
	return r < 0 ? r : free_in_guest(s, m, timeout_us, e);
}

static json_t *kept_json(const struct payload_memory *m, const struct err *why)
{
	json_t *o = memory_json(m, "kept");
	json_t *e = qmp_error_to_json(why), *blocker = json_object_get(json_object_get(e, "detail"), "blocker");

	json_object_set_new(o, "why", json_incref(json_object_get(e, "desc")));
	if (blocker)
		json_object_set(o, "blocker", blocker);
	json_decref(e);
	return o;
}

json_t *payloads_release(struct session *s, uint64_t timeout_us)
{
	uint64_t deadline = now_us() + (timeout_us < RELEASE_MAX_US ? timeout_us : RELEASE_MAX_US);
	json_t *told = json_array();
	struct payload_memory *m, *next;

	for (m = s->payloads.first; m && s->guest && s->backend; m = next) {
		struct err why = { 0 };
		uint64_t now = now_us();

		next = m->next;
		if (payloads_in_use(s, m))
			continue;
		int r = now < deadline ? release(s, m, deadline - now, &why) :
					 err_set(&why, ERR_TIMEOUT, ETIMEDOUT, "payload-memory", "the time was up");
		json_array_append_new(told, r < 0 ? kept_json(m, &why) : memory_json(m, "freed"));
		if (r >= 0)
			forget(s, m->gva);
	}
	return told;
}
