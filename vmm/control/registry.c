// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registry of VMs; see registry.h. Files are small JSON objects that an
 * operator may read, copy and delete by hand, so what is read back is checked
 * like any other input. Must never leave a half-written file under a VM's name.
 */
#include "vmm/control/registry.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/control/durable.h"

#define REGISTRY_FILE_MAX 4096 /* bytes; a longest legal entry has about 700 */
#define REGISTRY_SUFFIX ".json"

static void cleanup_json(json_t **v)
{
	json_decref(*v);
}

static void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int entry_set_path(char *dst, size_t cap, const char *member, const char *path, struct err *e)
{
	if (path[0] != '/')
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'%s' must be an absolute path, not '%s'", member, path);
	if (strlen(path) >= cap)
		return err_set(e, ERR_USAGE, ENAMETOOLONG, NULL, "'%s' is longer than a unix socket path may be (%zu bytes)",
			       member, cap - 1);
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return err_set(e, ERR_USAGE, EINVAL, NULL, "'%s' holds a control character", member);
	strcpy(dst, path);
	return 0;
}

static int entry_set_name(struct registry_entry *entry, const char *name, struct err *e)
{
	if (!patch_name_valid(name))
		return err_set(e, ERR_USAGE, EINVAL, NULL,
			       "'name' must begin with a letter or digit, hold only letters, digits, '.', '_' and '-', "
			       "and have at most %d characters", PATCHFILE_NAME_MAX);
	strcpy(entry->name, name); /* patch_name_valid() bounds the length */
	return 0;
}

int registry_entry_init(struct registry_entry *ret, const char *name, const char *qmp, const char *gdb,
			struct err *e)
{
	struct registry_entry entry = { .kind = REGISTRY_QEMU };
	int r = entry_set_name(&entry, name, e);

	if (r == 0)
		r = entry_set_path(entry.qmp, sizeof(entry.qmp), "qmp", qmp, e);
	if (r == 0 && gdb)
		r = entry_set_path(entry.gdb, sizeof(entry.gdb), "gdb", gdb, e);
	if (r == 0)
		*ret = entry;
	return r;
}

int registry_entry_set_agent(struct registry_entry *entry, const char *agent, struct err *e)
{
	struct agent_addr addr;
	int r = agent ? agent_addr_parse(agent, &addr, e) : 0;

	if (r == 0 && agent && strlen(agent) >= sizeof(entry->agent))
		r = err_set(e, ERR_USAGE, ENAMETOOLONG, NULL, "'agent' is longer than %zu bytes", sizeof(entry->agent) - 1);
	if (r == 0 && agent)
		strcpy(entry->agent, agent);
	return r;
}

bool registry_uuid_valid(const char *text)
{
	static const char form[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";

	if (strlen(text) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == 'h' ? !isxdigit((unsigned char)text[i]) : text[i] != '-')
			return false;
	return true;
}

static bool origin_valid(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] <= 0x20 || text[i] >= 0x7f)
			return false;
	return len > 0 && len < REGISTRY_ORIGIN_MAX;
}

int registry_entry_set_owner(struct registry_entry *entry, const char *uuid, const char *origin, struct err *e)
{
	if (uuid && !registry_uuid_valid(uuid))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'uuid' must be 32 hex digits in groups of 8-4-4-4-12, not '%.40s'", uuid);
	if (origin && !origin_valid(origin))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "'origin' must be 1 to %d printable characters without a space",
			       REGISTRY_ORIGIN_MAX - 1);
	for (size_t i = 0; uuid && i < REGISTRY_UUID_MAX; i++)
		entry->uuid[i] = (char)tolower((unsigned char)uuid[i]);
	if (origin)
		strcpy(entry->origin, origin);
	return 0;
}

/* Printable ASCII passes; what else a file may be called does not belong on a terminal or into JSON. */
static void text_set(char *dst, size_t cap, const char *text)
{
	size_t n = 0;

	for (; *text && n < cap - 1; text++)
		dst[n++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
	dst[n] = '\0';
}

int registry_machine_init(struct registry_entry *ret, const char *name, const char *kernel, unsigned vcpus,
			  uint64_t memory, struct err *e)
{
	struct registry_entry entry = { .kind = REGISTRY_MACHINE, .vcpus = vcpus, .memory = memory };
	int r = entry_set_name(&entry, name, e);

	if (r < 0)
		return r;
	text_set(entry.kernel, sizeof(entry.kernel), kernel);
	*ret = entry;
	return 0;
}

void registry_machine_end(struct registry_entry *entry, const char *why)
{
	text_set(entry->ended, sizeof(entry->ended), why);
}

int registry_open(const char *state_dir, int *ret_dirfd, struct err *e)
{
	int fd = durable_folder(state_dir, "vms", e);

	if (fd < 0)
		return fd;
	*ret_dirfd = fd;
	return 0;
}

static char *machine_format(const struct registry_entry *entry)
{
	__attribute__((cleanup(cleanup_json))) json_t *o =
		json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", entry->name, "kind", "machine", "kernel", entry->kernel,
			  "vcpus", (json_int_t)entry->vcpus, "memory", (json_int_t)entry->memory);

	if (!o || (entry->ended[0] && json_object_set_new(o, "ended", json_string(entry->ended)) < 0))
		return NULL;
	return json_dumps(o, JSON_INDENT(2));
}

static char *entry_format(const struct registry_entry *entry)
{
	if (entry->kind == REGISTRY_MACHINE)
		return machine_format(entry);
	__attribute__((cleanup(cleanup_json))) json_t *o =
		json_pack("{s:s, s:s}", "name", entry->name, "qmp", entry->qmp);

	if (!o || (entry->gdb[0] && json_object_set_new(o, "gdb", json_string(entry->gdb)) < 0) ||
	    (entry->agent[0] && json_object_set_new(o, "agent", json_string(entry->agent)) < 0) ||
	    (entry->uuid[0] && json_object_set_new(o, "uuid", json_string(entry->uuid)) < 0) ||
	    (entry->origin[0] && json_object_set_new(o, "origin", json_string(entry->origin)) < 0) ||
	    (entry->has_user && json_object_set_new(o, "user", json_integer((json_int_t)entry->user)) < 0))
		return NULL; /* also when a path is not UTF-8 */
	return json_dumps(o, JSON_INDENT(2));
}

int registry_save(int dirfd, const struct registry_entry *entry, struct err *e)
{
	char file[PATCHFILE_NAME_MAX + 16], tmp[PATCHFILE_NAME_MAX + 16];
	_cleanup_free_ char *text = entry_format(entry);

	if (!text)
		return err_set(e, ERR_USAGE, EINVAL, NULL, "the socket path is not valid UTF-8");
	snprintf(file, sizeof(file), "%s" REGISTRY_SUFFIX, entry->name);
	snprintf(tmp, sizeof(tmp), ".%s.tmp", entry->name); /* no legal name begins with a dot */
	int r = durable_write(dirfd, tmp, file, text);
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, NULL, "cannot write the registry file vms/%s: %s", file, strerror(-r));
	return 0;
}

int registry_remove(int dirfd, const char *name, struct err *e)
{
	char file[PATCHFILE_NAME_MAX + 16];

	snprintf(file, sizeof(file), "%s" REGISTRY_SUFFIX, name);
	int r = durable_remove(dirfd, file);
	return r < 0 ? err_set(e, ERR_FAILED, -r, NULL, "cannot remove the registry file vms/%s: %s", file, strerror(-r)) : 0;
}

/* O_NONBLOCK: a FIFO somebody put there must not hang the start. */
static int file_open(int dirfd, const char *file, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > REGISTRY_FILE_MAX)
		return err_set(e, ERR_FAILED, EINVAL, NULL, "not a regular file of at most %d bytes", REGISTRY_FILE_MAX);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int machine_parse(json_t *o, struct registry_entry *ret, struct err *e)
{
	const char *name, *kind, *kernel, *ended = "";
	json_int_t vcpus, memory;
	json_error_t je;

	if (json_unpack_ex(o, &je, JSON_STRICT, "{s:s, s:s, s:s, s:I, s:I, s?s}", "name", &name, "kind", &kind, "kernel",
			   &kernel, "vcpus", &vcpus, "memory", &memory, "ended", &ended) < 0)
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "%s", je.text);
	if (strcmp(kind, "machine") != 0 || vcpus < 1 || vcpus > UINT16_MAX || memory < 1)
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "not the description of a machine");
	int r = registry_machine_init(ret, name, kernel, (unsigned)vcpus, (uint64_t)memory, e);
	if (r == 0)
		registry_machine_end(ret, ended);
	return r;
}

static int qemu_parse(json_t *o, struct registry_entry *ret, struct err *e)
{
	const char *name, *qmp, *gdb = NULL, *agent = NULL, *uuid = NULL, *origin = NULL;
	struct registry_entry entry;
	json_int_t user = -1;
	json_error_t je;

	if (json_unpack_ex(o, &je, JSON_STRICT, "{s:s, s:s, s?s, s?s, s?s, s?s, s?I}", "name", &name, "qmp", &qmp, "gdb", &gdb,
			   "agent", &agent, "uuid", &uuid, "origin", &origin, "user", &user) < 0)
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "%s", je.text);
	if (json_object_get(o, "user") && (user < 0 || user >= UINT32_MAX))
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "'user' is no user");
	int r = registry_entry_init(&entry, name, qmp, gdb, e);
	if (r == 0)
		r = registry_entry_set_agent(&entry, agent, e);
	if (r == 0)
		r = registry_entry_set_owner(&entry, uuid, origin, e);
	entry.has_user = user >= 0;
	entry.user = (uid_t)user;
	if (r == 0)
		*ret = entry;
	return r;
}

static int entry_load(int dirfd, const char *file, struct registry_entry *ret, struct err *e)
{
	__attribute__((cleanup(cleanup_json))) json_t *o = NULL;
	_cleanup_close_ int fd = -1;
	struct registry_entry entry;
	json_error_t je;

	int r = file_open(dirfd, file, &fd, e);
	if (r < 0)
		return r;
	o = json_loadfd(fd, JSON_REJECT_DUPLICATES, &je);
	if (!o)
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "line %d: %s", je.line, je.text);
	r = json_object_get(o, "kind") ? machine_parse(o, &entry, e) : qemu_parse(o, &entry, e);
	if (r < 0)
		return r;
	if (strncmp(entry.name, file, strlen(entry.name)) != 0 || strcmp(file + strlen(entry.name), REGISTRY_SUFFIX) != 0)
		return err_set(e, ERR_FAILED, EBADMSG, NULL, "the name inside does not match the file's name");
	*ret = entry;
	return 0;
}

static int entry_compare(const void *a, const void *b)
{
	const struct registry_entry *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static bool file_is_entry(const char *file)
{
	size_t len = strlen(file), suffix = strlen(REGISTRY_SUFFIX);

	return file[0] != '.' && len > suffix && strcmp(file + len - suffix, REGISTRY_SUFFIX) == 0;
}

/* Reads the folder into a list with room for REGISTRY_VMS_MAX entries. */
static size_t entries_read(DIR *dir, struct registry_report *report, struct registry_entry *list)
{
	const struct dirent *de;
	size_t n = 0;

	while ((de = readdir(dir))) {
		struct err why;

		if (!file_is_entry(de->d_name)) /* ".", "..", what a crash left of a write */
			continue;
		int r = n < REGISTRY_VMS_MAX ? entry_load(dirfd(dir), de->d_name, &list[n], &why) :
			err_set(&why, ERR_FAILED, E2BIG, NULL, "more than %d VMs", REGISTRY_VMS_MAX);
		if (r == 0)
			n++;
		else
			report->broken(report, de->d_name, &why);
	}
	return n;
}

int registry_load(int dir_fd, struct registry_report *report, struct registry_entry **ret, size_t *ret_count,
		  struct err *e)
{
	__attribute__((cleanup(cleanup_dir))) DIR *dir = NULL;
	_cleanup_free_ struct registry_entry *list = NULL;

	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int error = errno;
		if (fd >= 0)
			close(fd);
		return err_set(e, ERR_FAILED, error, NULL, "cannot read the registry folder: %s", strerror(error));
	}
	list = calloc(REGISTRY_VMS_MAX, sizeof(*list));
	if (!list)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	size_t n = entries_read(dir, report, list);
	if (n > 1)
		qsort(list, n, sizeof(*list), entry_compare);
	*ret = n ? TAKE_PTR(list) : NULL;
	*ret_count = n;
	return 0;
}
