// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The beginning of a session: who the guest is, and with a key the nonce that
 * makes this session's MACs unlike any other's. Facts are read afresh each time;
 * what cannot be read is left out, never guessed.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "guest-agent/agent.h"

static void copy(char *out, size_t cap, const char *in)
{
	size_t n = strlen(in);

	n = n < cap - 1 ? n : cap - 1;
	memcpy(out, in, n);
	out[n] = '\0';
}

/* Notes: name size, description size, type, then both padded to 4 bytes. Type 3 of "GNU" is the build-id. */
static void build_id(struct agent *a, struct agent_hello *h)
{
	char buf[1024];
	int n = lines_head(a->roots.root, "sys/kernel/notes", buf, sizeof(buf));
	struct agent_get g = { .p = (const uint8_t *)buf, .left = n > 0 ? (size_t)n : 0 };

	while (g.left >= 12) {
		size_t name_len = (size_t)agent_get(&g, 4), len = (size_t)agent_get(&g, 4);
		uint64_t type = agent_get(&g, 4);
		if (name_len > g.left || len > g.left)
			return;
		const uint8_t *name = agent_get_bytes(&g, (name_len + 3) & ~(size_t)3);
		const uint8_t *id = agent_get_bytes(&g, len);
		if (name && id && type == 3 && name_len == 4 && !memcmp(name, "GNU", 4) && len <= sizeof(h->build_id)) {
			memcpy(h->build_id, id, len);
			h->build_id_len = (uint8_t)len;
			return;
		}
		agent_get_bytes(&g, (4 - len % 4) % 4);
	}
}

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" */
static void boot_id(struct agent *a, struct agent_hello *h)
{
	char buf[64];
	size_t n = 0;

	if (lines_head(a->roots.root, "proc/sys/kernel/random/boot_id", buf, sizeof(buf)) <= 0)
		return;
	for (const char *p = buf; *p && n < 2 * sizeof(h->boot_id); p++) {
		char c = *p;
		if (c == '-')
			continue;
		unsigned d = c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : (unsigned)(c - '0') & 15;
		h->boot_id[n / 2] = (uint8_t)((unsigned)h->boot_id[n / 2] << 4 | d);
		n++;
	}
}

/* "none [integrity] confidentiality"; securityfs may not be mounted. */
static uint8_t lockdown(struct agent *a)
{
	char buf[64];

	if (lines_head(a->roots.root, "sys/kernel/security/lockdown", buf, sizeof(buf)) <= 0)
		return AGENT_LOCKDOWN_UNKNOWN;
	if (strstr(buf, "[none]"))
		return AGENT_LOCKDOWN_NONE;
	if (strstr(buf, "[integrity]"))
		return AGENT_LOCKDOWN_INTEGRITY;
	return strstr(buf, "[confidentiality]") ? AGENT_LOCKDOWN_CONFIDENTIALITY : AGENT_LOCKDOWN_UNKNOWN;
}

static uint8_t kaslr_off(struct agent *a)
{
	static const char word[] = "nokaslr";
	char buf[4096];
	size_t len = sizeof(word) - 1;

	if (lines_head(a->roots.root, "proc/cmdline", buf, sizeof(buf)) <= 0)
		return 0;
	for (const char *p = buf; (p = strstr(p, word)); p += len)
		if ((p == buf || p[-1] == ' ') && (!p[len] || p[len] == ' ' || p[len] == '\n'))
			return 1;
	return 0;
}

/* Early in the table, behind the per-CPU symbols. 0: not there, or hidden from us. */
static uint64_t kernel_text(struct agent *a)
{
	struct kallsym sym;
	uint64_t addr = 0;
	char *line;

	if (lines_open(&a->lines, a->roots.root, "proc/kallsyms"))
		return 0;
	while (!addr && (line = lines_next(&a->lines)))
		if (lines_kallsym(line, &sym) && (!strcmp(sym.name, "_text") || !strcmp(sym.name, "_stext")))
			addr = sym.addr;
	lines_close(&a->lines);
	return addr;
}

static uint32_t source(int dir, const char *path, int flags, uint32_t bit)
{
	int fd = dir < 0 ? -1 : openat(dir, path, flags | O_CLOEXEC);

	if (fd < 0)
		return 0;
	close(fd);
	return bit;
}

static void facts(struct agent *a, struct agent_hello *h)
{
	struct utsname u = { 0 };

	uname(&u);
	copy(h->release, sizeof(h->release), u.release);
	copy(h->machine, sizeof(h->machine), u.machine);
	copy(h->agent, sizeof(h->agent), VMPOKE_VERSION);
	build_id(a, h);
	boot_id(a, h);
	h->lockdown = lockdown(a);
	h->kaslr_off = kaslr_off(a);
	h->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	h->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	h->kernel_text = kernel_text(a);
	h->sources = (h->kernel_text ? AGENT_SRC_KALLSYMS : 0) |
		     source(a->roots.debugfs, "kprobes/list", O_RDONLY, AGENT_SRC_KPROBES) |
		     source(a->roots.tracefs, "enabled_functions", O_RDONLY, AGENT_SRC_FTRACE) |
		     source(a->roots.root, "sys/kernel/livepatch", O_RDONLY | O_DIRECTORY, AGENT_SRC_LIVEPATCH) |
		     source(a->roots.root, "proc/kcore", O_RDONLY, AGENT_SRC_KCORE);
	h->uptime_ms = agent_now_ms() - a->started_at;
}

/* Which MACs this session has. The host's key is proven by its next request, ours by this very answer. */
static int agree(struct agent *a, const struct agent_hello_request *r, uint8_t nonce[AGENT_NONCE_LEN],
		 struct agent_failure *why)
{
	if (!a->has_key)
		return 0;
	if (!(r->flags & AGENT_HELLO_KEY))
		return agent_fail(why, AGENT_E_AUTH, 0, "this agent has a key and wants to see the host's");
	if (getrandom(nonce, AGENT_NONCE_LEN, GRND_NONBLOCK) != AGENT_NONCE_LEN)
		return agent_fail(why, AGENT_E_UNAVAILABLE, EAGAIN, "the guest has no random numbers yet");
	agent_session_key(a->session_key, a->key, r->nonce, nonce, a->session);
	return 0;
}

int op_hello(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	struct agent_hello h = { .version = AGENT_VERSION };
	struct agent_hello_request r;

	a->greeted = a->keyed = false;
	park_end(&a->park, AGENT_PARK_HOST_GONE, 0);
	if (agent_hello_request_decode(f->payload, f->length, &r))
		return agent_fail(why, AGENT_E_MALFORMED, 0, "the hello is too short");
	if (r.min_version > AGENT_VERSION || r.max_version < AGENT_VERSION)
		return agent_fail(why, AGENT_E_VERSION, 0, "this agent speaks version 1");
	int error = agree(a, &r, h.nonce, why);
	if (error)
		return error;
	h.flags = a->has_key ? AGENT_HELLO_KEY : 0;
	for (size_t i = 0; i < agent_row_count; i++)
		h.ops |= 1u << agent_rows[i].op;
	facts(a, &h);
	a->greeted = true;
	a->keyed = a->has_key;
	a->last_seq = f->seq;
	a->stats.sessions++;
	reply->len = agent_hello_encode(reply->p, reply->cap, &h);
	return 0;
}
