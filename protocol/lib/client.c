// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvmpoke, a skin over protocol/client.h whose types are opaque or of C itself, so that it can stay as it
 * is while they change; see vmpoke/client.h. Must never show a type, a name or an error of another library.
 */
#include "protocol/lib/vmpoke/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "protocol/client.h"
#include "protocol/err.h"

#define API __attribute__((visibility("default")))

struct vmpoke_client {
	struct qmp_client *connection;
	struct err e;
};

API const char *vmpoke_version(void)
{
	return VMPOKE_VERSION;
}

API int vmpoke_new(struct vmpoke_client **ret)
{
	struct vmpoke_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	*ret = c;
	return 0;
}

API void vmpoke_free(struct vmpoke_client *c)
{
	if (!c)
		return;
	qmp_client_free(c->connection);
	free(c);
}

static uint64_t microseconds(unsigned ms)
{
	return (uint64_t)ms * 1000;
}

API int vmpoke_connect(struct vmpoke_client *c, const char *path, unsigned timeout_ms)
{
	c->e = (struct err){ 0 };
	qmp_client_free(TAKE_PTR(c->connection));
	return qmp_client_connect(path ? path : VMPOKE_SOCKET, microseconds(timeout_ms), ERR_UNREACHABLE, &c->connection,
				  &c->e);
}

static int connected(struct vmpoke_client *c)
{
	c->e = (struct err){ 0 };
	if (c->connection && qmp_client_alive(c->connection))
		return 0;
	return err_set(&c->e, ERR_UNREACHABLE, ENOTCONN, NULL, "there is no connection to vmpoked");
}

static int arguments_parse(struct vmpoke_client *c, const char *text, json_t **ret)
{
	json_error_t error;
	json_t *args = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!json_is_object(args)) {
		json_decref(args);
		return err_set(&c->e, ERR_USAGE, EINVAL, NULL, "the arguments are no JSON object%s%s", args ? "" : ": ",
			       args ? "" : error.text);
	}
	*ret = args;
	return 0;
}

/* Takes value. */
static int text_make(struct vmpoke_client *c, json_t *value, char **ret)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	json_decref(value);
	if (!text)
		return err_set(&c->e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	*ret = text;
	return 0;
}

API int vmpoke_call(struct vmpoke_client *c, const char *command, const char *args, unsigned timeout_ms, char **ret)
{
	json_t *object = NULL, *value = NULL;
	int r = connected(c);

	if (r == 0 && args)
		r = arguments_parse(c, args, &object);
	if (r == 0)
		r = qmp_client_call(c->connection, command, object, microseconds(timeout_ms), ret ? &value : NULL, &c->e);
	json_decref(object);
	return r == 0 && ret ? text_make(c, value, ret) : r;
}

API int vmpoke_event(struct vmpoke_client *c, unsigned timeout_ms, char **ret)
{
	json_t *event = NULL;

	/* What came before the connection was lost is still to be had. */
	if (!c->connection)
		return connected(c);
	c->e = (struct err){ 0 };
	int r = qmp_client_event(c->connection, microseconds(timeout_ms), &event, &c->e);
	if (r == 0)
		c->e = (struct err){ 0 }; /* that none came is no failure */
	if (r <= 0)
		return r;
	r = text_make(c, event, ret);
	return r < 0 ? r : 1;
}

API int vmpoke_fd(const struct vmpoke_client *c)
{
	return c->connection ? qmp_client_fd(c->connection) : -ENOTCONN;
}

API const char *vmpoke_error_text(const struct vmpoke_client *c)
{
	return c->e.text;
}

API const char *vmpoke_error_kind(const struct vmpoke_client *c)
{
	return c->e.kind == ERR_NONE ? "" : err_kind_name(c->e.kind);
}

API const char *vmpoke_error_rule(const struct vmpoke_client *c)
{
	return c->e.rule;
}

API int vmpoke_error_exit_code(const struct vmpoke_client *c)
{
	return err_exit_code(c->e.kind);
}
