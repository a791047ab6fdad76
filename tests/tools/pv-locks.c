// SPDX-License-Identifier: GPL-2.0-or-later
/* See pv-locks.h. Only reads; must not ask what it is to judge: no stack is searched and no range known here. */
#include "tests/tools/pv-locks.h"

#include <errno.h>
#include <string.h>

#define ENTRIES_MAX 65536u
#define SLOW_VALUE  3u /* _Q_SLOW_VAL: owned, and the lock is in the table */

static int symbol(const struct guest *g, const char *name, uint64_t *ret, struct err *e)
{
	return guest_symbol_find(g, name, ret, NULL, NULL) < 0 ?
		       err_set(e, ERR_REFUSED, ENOENT, "", "the guest's kernel has no symbol %s", name) : 0;
}

/* struct mcs_spinlock of qnodes[0] of each CPU: how many of its four nodes are in use, by nesting. */
static int nodes_find(struct guest *g, struct pv_locks *l, uint32_t count_at, struct err *e)
{
	uint64_t offsets, base = 0, qnodes;
	int r = symbol(g, "__per_cpu_offset", &offsets, e);

	if (r >= 0)
		r = symbol(g, "qnodes", &qnodes, e);
	for (size_t i = 0; i < l->cpus && r >= 0; i++) {
		r = guest_read(g, offsets + i * sizeof(base), &base, sizeof(base), e);
		l->nodes[i] = base + qnodes + count_at;
	}
	return r;
}

static int table_find(struct guest *g, struct pv_locks *l, struct err *e)
{
	uint64_t pointer, bits_at;
	uint32_t bits = 0;
	int r = symbol(g, "pv_lock_hash", &pointer, e);

	if (r >= 0)
		r = symbol(g, "pv_lock_hash_bits", &bits_at, e);
	if (r >= 0)
		r = guest_read(g, pointer, &l->table, sizeof(l->table), e);
	if (r >= 0)
		r = guest_read(g, bits_at, &bits, sizeof(bits), e);
	if (r < 0)
		return r;
	l->entries = UINT64_C(1) << (bits & 31);
	return l->table && l->entries <= ENTRIES_MAX ?
		       0 : err_set(e, ERR_REFUSED, EOPNOTSUPP, "", "the guest has made no table of halted waiters");
}

static int wait_find(struct guest *g, struct pv_locks *l, struct err *e)
{
	struct guest_symbol s;
	uint64_t size = 0;
	int r = symbol(g, "kvm_wait", &l->wait_start, e);

	if (r >= 0 && guest_symbol_at(g, l->wait_start, &s, &size) < 0)
		r = err_set(e, ERR_REFUSED, ENOENT, "", "the bounds of kvm_wait are not known");
	l->wait_end = l->wait_start + size;
	return r;
}

int pv_locks_find(struct guest *g, size_t cpus, struct pv_locks *ret, struct err *e)
{
	struct guest_member m[] = { { "mcs_spinlock", "count", 0 }, { "pv_hash_entry", "lock", 0 },
				    { "pv_hash_entry", "node", 0 }, { "pv_node", "cpu", 0 } };
	int r = guest_member_offsets(g, m, ARRAY_SIZE(m), e);

	*ret = (struct pv_locks){ .cpus = cpus < PV_LOCKS_CPUS_MAX ? cpus : PV_LOCKS_CPUS_MAX, .lock_at = m[1].offset,
				  .node_at = m[2].offset, .cpu_at = m[3].offset, .entry_len = 2 * sizeof(uint64_t) };
	if (r >= 0)
		r = nodes_find(g, ret, m[0].offset, e);
	if (r >= 0)
		r = table_find(g, ret, e);
	return r < 0 ? r : wait_find(g, ret, e);
}

/* Of a lock that is in the table; its lowest byte says whether somebody owns it, and that he is to look there. */
static int hashed_look(struct guest *g, const struct pv_locks *l, uint64_t lock, uint64_t node,
		       const struct vcpu_regs *regs, struct pv_locks_seen *seen, struct err *e)
{
	uint32_t word = 0, cpu = 0;
	int r = guest_read(g, lock, &word, sizeof(word), e);

	if (r >= 0)
		r = guest_read(g, node + l->cpu_at, &cpu, sizeof(cpu), e);
	if (r < 0)
		return r;
	bool waits = cpu < l->cpus && regs[cpu].rip >= l->wait_start && regs[cpu].rip < l->wait_end;
	seen->hashed++;
	seen->lost += (word & 0xff) != SLOW_VALUE;
	seen->stuck += (word & 0xff) == 0 && waits;
	return 0;
}

static int table_look(struct guest *g, const struct pv_locks *l, const struct vcpu_regs *regs,
		      struct pv_locks_seen *seen, struct err *e)
{
	_cleanup_free_ uint8_t *all = calloc(l->entries, l->entry_len);
	int r = all ? guest_read(g, l->table, all, l->entries * l->entry_len, e) : -ENOMEM;

	for (size_t i = 0; i < l->entries && r >= 0; i++) {
		uint64_t lock, node;

		memcpy(&lock, all + i * l->entry_len + l->lock_at, sizeof(lock));
		memcpy(&node, all + i * l->entry_len + l->node_at, sizeof(node));
		if (lock && node)
			r = hashed_look(g, l, lock, node, regs, seen, e);
	}
	return r;
}

int pv_locks_look(struct guest *g, const struct pv_locks *l, const struct vcpu_regs *regs, struct pv_locks_seen *ret,
		  struct err *e)
{
	struct pv_locks_seen seen = { 0 };
	int r = 0;

	for (size_t i = 0; i < l->cpus && r >= 0; i++) {
		int32_t count = 0;

		r = guest_read(g, l->nodes[i], &count, sizeof(count), e);
		seen.queued += count != 0;
	}
	if (r >= 0)
		r = table_look(g, l, regs, &seen, e);
	if (r >= 0)
		*ret = seen;
	return r;
}
