// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * query-qmp-schema: the table in QEMU's SchemaInfo format, so that tools made
 * for QEMU can ask what vmpoked understands. Type names are opaque to a client,
 * as in QEMU; ours are readable ("patch-apply-arg").
 * Spec: QEMU qapi/introspect.json.
 */
#include <stdio.h>

#include "protocol/schema.h"
#include "protocol/schema_table.h"
#include "protocol/util.h"

/* Nested objects and arrays of them are described in docs/qmp-commands.md; here they are "any". */
static const char *type_name(const struct schema_arg *m, bool argument)
{
	switch (m->type) {
	case SCHEMA_STR:
	case SCHEMA_ADDRESS:
		return "str";
	case SCHEMA_INT:
		return "int";
	case SCHEMA_BOOL:
		return "bool";
	case SCHEMA_NUMBER:
		return "number";
	case SCHEMA_ARRAY:
		return argument ? "[str]" : "[any]";
	case SCHEMA_OBJECTS:
		return "[any]";
	case SCHEMA_OBJECT:
		break;
	}
	return "any";
}

static int put(json_t *list, json_t *item)
{
	return json_array_append_new(list, item);
}

static json_t *member(const struct schema_arg *m, bool argument)
{
	json_t *j = json_pack("{s:s, s:s}", "name", m->name, "type", type_name(m, argument));

	/* In QEMU's schema a "default" of null is what marks an optional member. */
	if (m->optional && json_object_set_new(j, "default", json_null()) < 0) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static int put_object(json_t *list, const char *name, const struct schema_arg *members, size_t max, bool argument)
{
	json_t *array = json_array();
	int r = 0;

	for (size_t i = 0; i < max && members[i].name; i++)
		if (!members[i].internal)
			r |= put(array, member(&members[i], argument));
	r |= put(list, json_pack("{s:s, s:s, s:o}", "name", name, "meta-type", "object", "members", array));
	return r;
}

static int put_array(json_t *list, const char *element)
{
	char name[80];

	snprintf(name, sizeof(name), "[%s]", element);
	return put(list, json_pack("{s:s, s:s, s:s}", "name", name, "meta-type", "array", "element-type", element));
}

static int put_builtins(json_t *list)
{
	static const struct {
		const char *name, *json_type;
	} builtins[] = { { "str", "string" },	{ "int", "int" },   { "bool", "boolean" },
			 { "number", "number" }, { "any", "value" } };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(builtins); i++)
		r |= put(list, json_pack("{s:s, s:s, s:s}", "name", builtins[i].name, "meta-type", "builtin",
					 "json-type", builtins[i].json_type));
	r |= put_array(list, "str");
	r |= put_array(list, "any");
	return r | put_object(list, "empty", NULL, 0, false);
}

static int put_command(json_t *list, const struct schema_command *c)
{
	char arg[64] = "empty", ret[64] = "empty", ret_array[72];
	int r = 0;

	if (c->args[0].name) {
		snprintf(arg, sizeof(arg), "%s-arg", c->name);
		r |= put_object(list, arg, c->args, SCHEMA_ARGS_MAX, true);
	}
	if (c->returns[0].name) {
		snprintf(ret, sizeof(ret), "%s-ret", c->name);
		r |= put_object(list, ret, c->returns, SCHEMA_FIELDS_MAX, false);
	}
	snprintf(ret_array, sizeof(ret_array), "[%s]", ret);
	if (c->returns_array)
		r |= put_array(list, ret);
	return r | put(list, json_pack("{s:s, s:s, s:s, s:s, s:b}", "name", c->name, "meta-type", "command",
				       "arg-type", arg, "ret-type", c->returns_array ? ret_array : ret,
				       "allow-oob", 0));
}

static int put_event(json_t *list, const struct schema_event *ev)
{
	char arg[64];

	snprintf(arg, sizeof(arg), "%s-arg", ev->name);
	return put_object(list, arg, ev->data, SCHEMA_FIELDS_MAX, false) |
	       put(list, json_pack("{s:s, s:s, s:s}", "name", ev->name, "meta-type", "event", "arg-type", arg));
}

json_t *schema_query_qmp_schema(void)
{
	json_t *list = json_array();
	int r = put_builtins(list);

	for (const struct schema_command *c = schema_command_table; c->name; c++)
		r |= put_command(list, c);
	for (const struct schema_event *ev = schema_event_table; ev->name; ev++)
		r |= put_event(list, ev);
	if (r == 0)
		return list;
	json_decref(list);
	return NULL;
}
