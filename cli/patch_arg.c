// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the PATCH argument means: a file, whose text is sent as it is, with the object file
 * it may name, and parsed by the VM's worker; or the name of a patch vmpoked has seen before.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "protocol/patchfile.h"

static bool ends_with(const char *text, const char *end)
{
	size_t lt = strlen(text), le = strlen(end);

	return lt >= le && strcmp(text + lt - le, end) == 0;
}

static bool is_file(const char *arg)
{
	struct stat st;

	if (strchr(arg, '/') || ends_with(arg, ".yaml") || ends_with(arg, ".yml"))
		return true;
	return stat(arg, &st) == 0 && S_ISREG(st.st_mode);
}

static int file_read(const char *path, char **ret, size_t *ret_len, struct err *e)
{
	int r = read_file(path, PATCHFILE_SIZE_MAX, ret, ret_len);

	if (r == -EFBIG)
		return err_set(e, ERR_USAGE, EFBIG, "", "'%s' is larger than %u KiB: no patch file", path,
			       PATCHFILE_SIZE_MAX >> 10);
	if (r < 0)
		return err_set(e, r == -ENOENT ? ERR_NOT_FOUND : ERR_FAILED, -r, "", "cannot read '%s': %s", path, strerror(-r));
	return 0;
}

/* "FOLDER/of/patch.yaml" and "fix.o" make "FOLDER/of/fix.o". -ENAMETOOLONG. */
static int beside(const char *path, const char *name, char *buf, size_t cap)
{
	const char *slash = strrchr(path, '/');
	int folder = slash && name[0] != '/' ? (int)(slash - path) + 1 : 0;
	int n = snprintf(buf, cap, "%.*s%s", folder, path, name);

	return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

static int object_read(const char *path, char **ret, size_t *ret_len, struct err *e)
{
	int r = read_file(path, PATCHFILE_OBJECT_SIZE_MAX, ret, ret_len);

	if (r == -EFBIG)
		return err_set(e, ERR_USAGE, EFBIG, "", "'%s' is larger than %u KiB", path, PATCHFILE_OBJECT_SIZE_MAX >> 10);
	if (r < 0)
		return err_set(e, r == -ENOENT ? ERR_NOT_FOUND : ERR_FAILED, -r, "", "cannot read '%s': %s", path, strerror(-r));
	return *ret_len ? 0 : err_set(e, ERR_USAGE, EINVAL, "", "'%s' is empty: no object file", path);
}

/* The object a patch file names. A text that does not parse goes to vmpoked as it is: the sentence is its. */
static int object_add(const char *path, const char *text, size_t len, json_t *args, struct err *e)
{
	_cleanup_(patchfile_free) struct patchfile *patch = NULL;
	_cleanup_free_ char *object = NULL, *hex = NULL;
	char file[4096];
	size_t n;

	if (patchfile_parse(text, len, path, &patch, NULL) < 0 || !patch->object[0])
		return 0;
	if (beside(path, patch->object, file, sizeof(file)) < 0)
		return err_set(e, ERR_USAGE, ENAMETOOLONG, "", "the name of the object file is too long");
	int r = object_read(file, &object, &n, e);
	if (r < 0)
		return r;
	hex = malloc(2 * n + 1);
	if (hex)
		hex_encode(object, n, hex);
	if (!hex || json_object_set_new(args, "object", json_string(hex)) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	return 0;
}

static int text_add(const char *path, bool with_object, json_t *args, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(path, &text, &len, e);

	if (r < 0)
		return r;
	if (len == 0)
		return err_set(e, ERR_USAGE, EINVAL, "", "'%s' is empty: no patch file", path);
	json_t *value = memchr(text, '\0', len) ? NULL : json_stringn(text, len);
	if (!value)
		return err_set(e, ERR_USAGE, EINVAL, "", "'%s' is not UTF-8 text: no patch file", path);
	if (json_object_set_new(args, "text", value) < 0 || json_object_set_new(args, "filename", json_string(path)) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	return with_object ? object_add(path, text, len, args, e) : 0;
}

static int name_check(const char *arg, struct err *e)
{
	if (patch_name_valid(arg))
		return 0;
	return err_set(e, ERR_USAGE, EINVAL, "", "'%s' is neither a file nor a patch name (letters, digits, '.', '_', '-')", arg);
}

int patch_arg_add(const char *arg, bool with_object, json_t *args, struct err *e)
{
	if (!args)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (is_file(arg))
		return text_add(arg, with_object, args, e);
	int r = name_check(arg, e);
	if (r < 0)
		return r;
	if (json_object_set_new(args, "patch", json_string(arg)) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	return 0;
}

int patch_arg_name(const char *arg, char *name, size_t cap, struct err *e)
{
	_cleanup_(patchfile_free) struct patchfile *patch = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (!is_file(arg)) {
		snprintf(name, cap, "%s", arg);
		return name_check(arg, e);
	}
	r = file_read(arg, &text, &len, e);
	if (r >= 0)
		r = patchfile_parse(text, len, arg, &patch, e);
	if (r >= 0)
		snprintf(name, cap, "%s", patch->name);
	return r;
}
