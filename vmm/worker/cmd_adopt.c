// SPDX-License-Identifier: GPL-2.0-or-later
/* patch-adopt: the request and what is said of it; see adopt.h. Writes to the journal, never to the guest. */
#include <errno.h>

#include "vmm/guest/vmlinux.h"
#include "vmm/kvm/machine.h"
#include "vmm/worker/adopt.h"
#include "vmm/worker/commands.h"

static json_t *adoption_json(const struct adoption *a)
{
	json_t *o = json_pack("{s:s, s:s}", "patch", a->record.t->patch, "state", adopt_state_name(a->state));

	if (a->why.kind == ERR_NONE || a->state == ADOPT_ADOPTED || a->state == ADOPT_ALREADY)
		return o;
	/* The formatter repairs a text that is not UTF-8. */
	json_t *error = qmp_error_to_json(&a->why);
	json_object_set(o, "why", json_object_get(error, "desc"));
	json_decref(error);
	if (a->why.rule[0])
		json_object_set_new(o, "rule", json_string(a->why.rule));
	return o;
}

static json_t *reply(const struct session *s, const struct adopt_list *l)
{
	json_t *records = json_array();
	bool changed = false;

	for (size_t i = 0; i < l->n; i++) {
		changed |= l->list[i].state == ADOPT_ADOPTED;
		json_array_append_new(records, adoption_json(&l->list[i]));
	}
	return json_pack("{s:s, s:b, s:s, s:o}", "vm", s->target.vm, "changed", changed, "build_id",
			 guest_facts(s->guest)->build_id_hex, "records", records);
}

/* Of another VM's VMM only when somebody passed it. */
static int image_open(struct session *s, json_t *args, struct vmlinux **ret, struct err *e)
{
	_cleanup_close_ int passed = json_object_get(args, "vmlinux") ? control_take_fd(s->control) : -1;
	int fd = passed >= 0 || !s->machine ? passed : machine_kernel_fd(s->machine);
	const struct guest_facts *f = guest_facts(s->guest);

	if (fd < 0)
		return 0;
	int r = vmlinux_open(fd, ret, e);
	return r < 0 ? r : vmlinux_check_build_id(*ret, f->build_id, sizeof(f->build_id), e);
}

int command_patch_adopt(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	__attribute__((cleanup(adopt_list_clear))) struct adopt_list list = { 0 };
	_cleanup_(vmlinux_free) struct vmlinux *vmlinux = NULL;
	int r = adopt_list_parse(json_object_get(args, "records"), &list, e);

	if (r == 0)
		r = session_guest(s, NULL, e);
	if (r == 0)
		r = image_open(s, args, &vmlinux, e);
	if (r == 0)
		r = adopt_judge(s, &list, vmlinux, e);
	if (r < 0)
		return r;
	*ret = reply(s, &list);
	return 0;
}
