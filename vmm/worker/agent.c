// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The worker's conversation with its guest's agent; see agent.h. Must never make a
 * request wait for longer than it says, and never take an agent of an earlier boot
 * for the present one.
 */
#include "vmm/worker/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "protocol/agent_key.h"
#include "vmm/kvm/machine.h"
#include "vmm/link/agent_ask.h"
#include "vmm/worker/session.h"

#define FIRST_ANSWER_MS 300u
#define PING_MS		500u

static void agent_forget(struct worker_agent *a)
{
	a->addr = (struct agent_addr){ .kind = AGENT_ADDR_NONE };
	a->address[0] = '\0';
	a->target = (struct link_target){ .fd = -1 };
	a->ops = NULL;
	a->why = (struct err){ 0 };
}

int worker_agent_configure(struct session *s, const char *address, struct err *e)
{
	struct worker_agent *a = &s->agent;
	struct agent_addr addr;

	if (strcmp(address, "none") == 0) {
		agent_forget(a);
		return 0;
	}
	int r = agent_addr_parse(address, &addr, e);
	if (r < 0)
		return r;
	a->addr = addr;
	snprintf(a->address, sizeof(a->address), "%s", address);
	a->target = (struct link_target){ .vm = s->target.vm, .fd = -1, .has_user = s->target.has_user, .user = s->target.user };
	switch (a->addr.kind) {
	case AGENT_ADDR_UNIX:
		a->target.socket = a->addr.path;
		break;
	case AGENT_ADDR_VSOCK:
		a->target.cid = a->addr.cid;
		a->target.port = a->addr.port;
		break;
	default:
		a->target.ifname = a->addr.ifname;
		a->target.has_mac = true;
		memcpy(a->target.mac, a->addr.mac, sizeof(a->target.mac));
	}
	return 0;
}

/* Our own machine has a port of its own; the other end of it is this process. */
static int port_take(struct session *s, struct err *e)
{
	struct worker_agent *a = &s->agent;
	int fd = machine_agent_connect(s->machine, e);

	if (fd < 0)
		return fd;
	snprintf(a->address, sizeof(a->address), "port");
	a->target = (struct link_target){ .vm = s->target.vm, .fd = fd };
	return 0;
}

static const struct link_ops *row_of(const struct worker_agent *a)
{
	switch (a->addr.kind) {
	case AGENT_ADDR_VSOCK: return link_find("vsock");
	case AGENT_ADDR_XDP: return link_find("xdp");
	default: return link_find("virtio-serial");
	}
}

static int way_check(struct worker_agent *a, struct err *e)
{
	char why[LINK_WHY_MAX] = "";

	a->ops = row_of(a);
	if (a->ops && a->ops->probe(&a->target, why, sizeof(why)) > 0)
		return 0;
	return err_set(e, ERR_INACTIVE, ENOENT, "no-link", "no way to the agent: %s", why);
}

/* 1, or 0 when this VM has none. */
static int key_load(const struct session *s, uint8_t key[AGENT_KEY_LEN], struct err *e)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/keys/%s.agent", s->state_dir, s->target.vm);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_FAILED, ENAMETOOLONG, NULL, "the agent's key: the state folder's name is too long");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_FAILED, errno, NULL, "the agent's key: %s", strerror(errno));
	int r = agent_key_read(fd, key, e);
	return r < 0 ? r : 1;
}

/* A key that cannot be read must not mean a conversation without one. */
static int begin(struct session *s, struct err *e)
{
	struct worker_agent *a = &s->agent;
	uint8_t key[AGENT_KEY_LEN];
	int r = s->machine && a->target.fd <= 0 ? port_take(s, e) : 0;

	if (r >= 0)
		r = way_check(a, e);
	int has_key = r < 0 ? r : key_load(s, key, e);
	if (has_key < 0)
		return has_key;
	const struct agent_session_config config = { .ops = a->ops, .target = &a->target, .key = has_key ? key : NULL };
	r = agent_session_new(&config, &a->session, e);
	explicit_bzero(key, sizeof(key));
	return r;
}

void worker_agent_start(struct session *s)
{
	struct worker_agent *a = &s->agent;

	if (a->session || (!s->machine && a->addr.kind == AGENT_ADDR_NONE))
		return;
	a->why = (struct err){ 0 };
	a->awaited = false;
	a->n_known = 0;
	if (s->info.arch != VCPU_X86_64) {
		err_set(&a->why, ERR_REFUSED, EOPNOTSUPP, "arch", "there is an agent for x86-64 guests only");
		return;
	}
	begin(s, &a->why);
}

void worker_agent_stop(struct session *s)
{
	struct worker_agent *a = &s->agent;

	agent_session_free(a->session);
	a->session = NULL;
	if (s->machine && a->target.fd > 0) {
		close(a->target.fd);
		a->target.fd = -1;
	}
}

void worker_agent_poll(const struct session *s, struct pollfd *ret, int *timeout_ms)
{
	const struct worker_agent *a = &s->agent;

	*ret = (struct pollfd){ .fd = -1 };
	if (!a->session)
		return;
	ret->fd = agent_session_fd(a->session);
	ret->events = agent_session_events(a->session);
	int ms = agent_session_timeout_ms(a->session);
	if (ms >= 0 && (*timeout_ms < 0 || ms < *timeout_ms))
		*timeout_ms = ms;
}

void worker_agent_run(struct session *s)
{
	if (s->agent.session)
		agent_session_run(s->agent.session);
}

const char *worker_agent_state(const struct session *s)
{
	const struct worker_agent *a = &s->agent;

	if (!s->machine && a->addr.kind == AGENT_ADDR_NONE)
		return "none";
	if (!a->session || agent_session_state(a->session) == AGENT_SESSION_DOWN)
		return "off";
	return agent_session_state(a->session) == AGENT_SESSION_READY ? "ready" : "silent";
}

static int not_ready(const struct worker_agent *a, struct err *why)
{
	const struct err *e = a->session ? agent_session_why(a->session) : &a->why;

	if (e->kind != ERR_NONE)
		*why = *e;
	else
		err_set(why, ERR_INACTIVE, ENOTCONN, "agent", "no agent answers in this guest");
	return -ENOTCONN;
}

/* A ping finds out that it died or was started anew since we last heard of it; then there is one more hello. */
static int wait_ready(struct worker_agent *a, struct err *why)
{
	agent_session_run(a->session);
	if (agent_session_state(a->session) != AGENT_SESSION_READY) {
		if (a->awaited)
			return not_ready(a, why);
		a->awaited = true;
		return agent_session_wait_ready(a->session, FIRST_ANSWER_MS, why);
	}
	a->awaited = true;
	int r = agent_ask_ping(a->session, PING_MS, why);
	if (r == -ESTALE)
		r = agent_session_wait_ready(a->session, FIRST_ANSWER_MS, why);
	return r;
}

struct agent_session *worker_agent_ready(struct session *s, struct err *why)
{
	struct worker_agent *a = &s->agent;
	int r = 0;

	if (!s->machine && a->addr.kind == AGENT_ADDR_NONE)
		r = err_set(why, ERR_INACTIVE, ENOENT, "agent", "no way to an agent of this VM was given (vmpoke add --agent)");
	else if (!s->backend || s->info.state != BACKEND_RUNNING)
		r = err_set(why, ERR_INACTIVE, EHOSTDOWN, "agent", "the VM does not run");
	if (r < 0)
		return NULL;
	worker_agent_start(s);
	r = a->session ? wait_ready(a, why) : not_ready(a, why);
	return r < 0 ? NULL : a->session;
}

bool worker_agent_agrees(const struct session *s, const struct agent_hello *h, char *why, size_t cap)
{
	const struct guest_facts *f = guest_facts(s->guest);
	char id[2 * sizeof(h->build_id) + 1];

	hex_encode(h->build_id, h->build_id_len, id);
	if (h->release[0] && strcmp(h->release, f->release) != 0)
		snprintf(why, cap, "release %s, in memory is %s", h->release, f->release);
	else if (h->build_id_len && strcmp(id, f->build_id_hex) != 0)
		snprintf(why, cap, "build-id %s, in memory is %s", id, f->build_id_hex);
	else if (h->kernel_text && h->kernel_text != f->base)
		snprintf(why, cap, "_text at 0x%llx, in memory it is at 0x%llx", (unsigned long long)h->kernel_text,
			 (unsigned long long)f->base);
	else if (h->kaslr_off && f->kaslr_offset)
		snprintf(why, cap, "nokaslr, in memory it is moved by 0x%llx", (unsigned long long)f->kaslr_offset);
	else
		return true;
	return false;
}

json_t *worker_agent_text(const char *text)
{
	char clean[512];
	size_t n = 0;

	for (; *text && n < sizeof(clean) - 1; text++)
		clean[n++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
	clean[n] = '\0';
	return json_string(clean);
}
