// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looks commands up in the table and checks arguments against it, with QEMU's
 * sentences. Must never change anything: a request that fails here has had no
 * effect at all.
 */
#include "protocol/schema.h"

#include <errno.h>
#include <string.h>

#include "protocol/qmp.h"
#include "protocol/schema_table.h"

#define STR_MAX_DEFAULT 4096

static const char *const class_names[SCHEMA_CLASS_COUNT] = {
	[SCHEMA_CLASS_NONE] = "none",	  [SCHEMA_CLASS_SESSION] = "session", [SCHEMA_CLASS_MONITOR] = "monitor",
	[SCHEMA_CLASS_CHECK] = "check",	  [SCHEMA_CLASS_APPLY] = "apply",     [SCHEMA_CLASS_REVERT] = "revert",
	[SCHEMA_CLASS_MANAGE] = "manage", [SCHEMA_CLASS_RULES] = "rules",     [SCHEMA_CLASS_KEYS] = "keys",
	[SCHEMA_CLASS_JOB] = "job",
};

const char *schema_class_name(enum schema_class class)
{
	return class_names[class];
}

int schema_class_from_name(const char *name)
{
	for (int i = 0; i < SCHEMA_CLASS_COUNT; i++)
		if (strcmp(class_names[i], name) == 0)
			return i;
	return -EINVAL;
}

bool schema_on_read_only_socket(const struct schema_command *cmd)
{
	return cmd->read_only && (cmd->class == SCHEMA_CLASS_MONITOR || cmd->class == SCHEMA_CLASS_SESSION);
}

const struct schema_command *schema_commands(size_t *ret_count)
{
	size_t n = 0;

	while (schema_command_table[n].name)
		n++;
	*ret_count = n;
	return schema_command_table;
}

const struct schema_event *schema_events(size_t *ret_count)
{
	size_t n = 0;

	while (schema_event_table[n].name)
		n++;
	*ret_count = n;
	return schema_event_table;
}

const struct schema_command *schema_command_find(const char *name)
{
	for (const struct schema_command *c = schema_command_table; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

const char *schema_json_type(enum schema_type type)
{
	static const char *const names[] = {
		[SCHEMA_STR] = "string",     [SCHEMA_INT] = "integer",	 [SCHEMA_BOOL] = "boolean",
		[SCHEMA_ADDRESS] = "string", [SCHEMA_OBJECT] = "object", [SCHEMA_ARRAY] = "array",
		[SCHEMA_NUMBER] = "number",  [SCHEMA_OBJECTS] = "array",
	};

	return names[type];
}

static bool type_matches(enum schema_type type, json_t *value)
{
	switch (type) {
	case SCHEMA_STR:
	case SCHEMA_ADDRESS:
		return json_is_string(value);
	case SCHEMA_INT:
		return json_is_integer(value);
	case SCHEMA_BOOL:
		return json_is_boolean(value);
	case SCHEMA_OBJECT:
		return json_is_object(value);
	case SCHEMA_ARRAY:
	case SCHEMA_OBJECTS:
		return json_is_array(value);
	case SCHEMA_NUMBER:
		return json_is_number(value);
	}
	return false;
}

static int check_string(const struct schema_arg *arg, json_t *value, struct err *e)
{
	json_int_t max = arg->max ? arg->max : STR_MAX_DEFAULT;
	json_int_t len = (json_int_t)json_string_length(value);

	if (len < arg->min)
		return err_set(e, ERR_USAGE, EINVAL, "arguments", "Parameter '%s' is empty", arg->name);
	if (len > max)
		return err_set(e, ERR_USAGE, EINVAL, "arguments", "Parameter '%s' is longer than %lld bytes",
			       arg->name, (long long)max);
	return 0;
}

static int check_range(const struct schema_arg *arg, json_t *value, struct err *e)
{
	json_int_t v = json_integer_value(value);

	if (v >= arg->min && v <= arg->max)
		return 0;
	return err_set(e, ERR_USAGE, EINVAL, "arguments", "Parameter '%s' expects an integer from %lld to %lld",
		       arg->name, (long long)arg->min, (long long)arg->max);
}

static int check_elements(const struct schema_arg *arg, json_t *value, struct err *e)
{
	enum schema_type type = arg->type == SCHEMA_OBJECTS ? SCHEMA_OBJECT : SCHEMA_STR;
	json_t *item;
	size_t i;

	json_array_foreach(value, i, item)
		if (!type_matches(type, item))
			return err_set(e, ERR_USAGE, EINVAL, "arguments", "Invalid parameter type for '%s[%zu]', expected: %s",
				       arg->name, i, schema_json_type(type));
	return 0;
}

static int check_value(const struct schema_arg *arg, json_t *value, struct err *e)
{
	uint64_t addr;

	if (!type_matches(arg->type, value))
		return err_set(e, ERR_USAGE, EINVAL, "arguments", "Invalid parameter type for '%s', expected: %s",
			       arg->name, schema_json_type(arg->type));
	if (arg->type == SCHEMA_STR)
		return check_string(arg, value, e);
	if (arg->type == SCHEMA_INT)
		return check_range(arg, value, e);
	if (arg->type == SCHEMA_ARRAY || arg->type == SCHEMA_OBJECTS)
		return check_elements(arg, value, e);
	if (arg->type == SCHEMA_ADDRESS && qmp_address_parse(value, &addr) < 0)
		return err_set(e, ERR_USAGE, EINVAL, "arguments",
			       "Parameter '%s' expects an address, \"0x\" and 1 to 16 hex digits", arg->name);
	return 0;
}

static const struct schema_arg *arg_find(const struct schema_command *cmd, const char *key)
{
	for (const struct schema_arg *a = cmd->args; a < cmd->args + SCHEMA_ARGS_MAX && a->name; a++)
		if (strcmp(a->name, key) == 0)
			return a;
	return NULL;
}

bool schema_takes(const struct schema_command *cmd, const char *name)
{
	return arg_find(cmd, name);
}

int schema_check_args(const struct schema_command *cmd, json_t *args, struct err *e)
{
	const char *key;
	json_t *value;

	for (const struct schema_arg *a = cmd->args; a < cmd->args + SCHEMA_ARGS_MAX && a->name; a++) {
		value = json_object_get(args, a->name);
		if (!value && !a->optional)
			return err_set(e, ERR_USAGE, EINVAL, "arguments", "Parameter '%s' is missing", a->name);
		int r = value ? check_value(a, value, e) : 0;
		if (r < 0)
			return r;
	}
	json_object_foreach(args, key, value)
		if (!arg_find(cmd, key))
			return err_set(e, ERR_USAGE, EINVAL, "arguments", "Parameter '%s' is unexpected", key);
	return 0;
}

int schema_refuse_internal(const struct schema_command *cmd, json_t *args, struct err *e)
{
	for (const struct schema_arg *a = cmd->args; a < cmd->args + SCHEMA_ARGS_MAX && a->name; a++)
		if (a->internal && json_object_get(args, a->name))
			return err_set(e, ERR_USAGE, EINVAL, "arguments", "Parameter '%s' is unexpected", a->name);
	return 0;
}

json_t *schema_query_commands(bool read_only)
{
	json_t *list = json_array();

	for (const struct schema_command *c = schema_command_table; c->name; c++)
		if (!read_only || schema_on_read_only_socket(c))
			if (json_array_append_new(list, json_pack("{s:s}", "name", c->name)) < 0) {
				json_decref(list);
				return NULL;
			}
	return list;
}
