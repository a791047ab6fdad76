// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Journal file: lock, append, replay, rewrite; see journal.h. Knows nothing of
 * what the records mean and must never lose one that was acknowledged.
 */
#include "vmm/worker/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

struct journal {
	int dir_fd, lock_fd, fd;
	size_t size;
	bool torn; /* behind size the file holds what is no record */
	char *owed; /* lines that could not be written; they go before any other */
	size_t owed_len;
	char name[96];
};

static int failed(struct err *e, int error, const char *what, const char *name)
{
	return err_set(e, ERR_FAILED, error, "journal", "the journal %s cannot be %s: %s", name, what,
		       strerror(error));
}

static int make_dir(const char *state_dir, int *ret)
{
	char path[4096];

	if ((size_t)snprintf(path, sizeof(path), "%s/journal", state_dir) >= sizeof(path))
		return -ENAMETOOLONG;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

static int take_lock(int fd, uint64_t timeout_us)
{
	uint64_t deadline = now_us() + timeout_us;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (now_us() >= deadline)
			return -EBUSY;
		poll(NULL, 0, 20);
	}
	return 0;
}

/* A crash can cut the last line short; it was never acknowledged, so it goes. */
static int cut_torn_line(struct journal *j)
{
	struct stat st;
	char c;

	if (fstat(j->fd, &st) < 0)
		return -errno;
	if (st.st_size > JOURNAL_SIZE_MAX)
		return -EFBIG;
	off_t end = st.st_size;
	while (end > 0) {
		if (pread(j->fd, &c, 1, end - 1) != 1)
			return -EIO;
		if (c == '\n')
			break;
		end--;
	}
	if (end != st.st_size && ftruncate(j->fd, end) < 0)
		return -errno;
	j->size = (size_t)end;
	return 0;
}

static int open_file(struct journal *j, const char *name, int flags)
{
	int fd = openat(j->dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? -errno : fd;
}

int journal_open(const char *state_dir, const char *vm, uint64_t lock_timeout_us,
		 struct journal **ret, struct err *e)
{
	_cleanup_(journal_close) struct journal *j = calloc(1, sizeof(*j));
	char lock_name[96];
	int r;

	if (!j)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	j->dir_fd = j->lock_fd = j->fd = -1;
	snprintf(j->name, sizeof(j->name), "%s.jsonl", vm);
	snprintf(lock_name, sizeof(lock_name), "%s.lock", vm);
	r = make_dir(state_dir, &j->dir_fd);
	if (r < 0)
		return failed(e, -r, "put into the state directory", j->name);
	j->lock_fd = open_file(j, lock_name, O_RDWR | O_CREAT);
	r = j->lock_fd < 0 ? j->lock_fd : take_lock(j->lock_fd, lock_timeout_us);
	if (r < 0)
		return failed(e, -r, "locked (another worker of this VM is alive)", j->name);
	j->fd = open_file(j, j->name, O_RDWR | O_CREAT | O_APPEND);
	r = j->fd < 0 ? j->fd : cut_torn_line(j);
	if (r < 0)
		return failed(e, -r, "opened", j->name);
	if (fsync(j->dir_fd) < 0)
		return failed(e, errno, "synced", j->name);
	*ret = TAKE_PTR(j);
	return 0;
}

/* All of it, or nothing of it counts: a later record must not run into what a failed write left. */
static int append_text(struct journal *j, const char *text, size_t len, bool sync)
{
	if (j->torn && ftruncate(j->fd, (off_t)j->size) < 0)
		return -errno;
	j->torn = false;
	int r = write_full(j->fd, text, len);
	if (r == 0 && sync && fdatasync(j->fd) < 0)
		r = -errno;
	if (r == 0)
		j->size += len;
	else
		j->torn = ftruncate(j->fd, (off_t)j->size) < 0;
	return r;
}

static int pay_owed(struct journal *j)
{
	int r = j->owed_len ? append_text(j, j->owed, j->owed_len, true) : 0;

	if (r < 0)
		return r;
	free(TAKE_PTR(j->owed));
	j->owed_len = 0;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		pay_owed(j);
	free(j->owed);
	if (j->fd >= 0)
		close(j->fd);
	if (j->lock_fd >= 0)
		close(j->lock_fd);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	free(j);
}

static char *record_line(json_t *record, size_t *ret_len)
{
	_cleanup_free_ char *text = json_dumps(record, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (!text || len >= JOURNAL_LINE_MAX)
		return NULL;
	char *line = realloc(text, len + 2);
	if (!line)
		return NULL;
	text = NULL;
	memcpy(line + len, "\n", 2);
	*ret_len = len + 1;
	return line;
}

int journal_append(struct journal *j, json_t *record, bool sync, struct err *e)
{
	size_t len = 0;
	_cleanup_free_ char *line = record_line(record, &len);
	int r;

	json_decref(record);
	if (!line)
		return failed(e, ENOMEM, "written", j->name);
	r = pay_owed(j);
	if (r == 0)
		r = append_text(j, line, len, sync);
	return r < 0 ? failed(e, -r, "written", j->name) : 0;
}

int journal_owe(struct journal *j, json_t *record, struct err *e)
{
	size_t len = 0;
	_cleanup_free_ char *line = record_line(record, &len);
	int r = journal_append(j, record, true, e);

	if (r == 0 || !line)
		return r;
	char *grown = realloc(j->owed, j->owed_len + len);
	if (!grown)
		return r;
	memcpy(grown + j->owed_len, line, len);
	j->owed = grown;
	j->owed_len += len;
	return r;
}

int journal_replay(struct journal *j, struct journal_visitor *v, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	int fd = open_file(j, j->name, O_RDONLY);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	size_t cap = 0;
	ssize_t n;

	if (!f) {
		int error = fd < 0 ? -fd : errno;
		if (fd >= 0)
			close(fd);
		return failed(e, error, "read", j->name);
	}
	for (unsigned number = 1; (n = getline(&line, &cap, f)) > 0; number++) {
		json_t *record = json_loadb(line, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(record)) {
			json_decref(record);
			return err_set(e, ERR_ATTENTION, EBADMSG, "journal",
				       "line %u of the journal %s is damaged; move the file away after checking "
				       "the guest with the records before it", number, j->name);
		}
		int r = v->record(v, record);
		json_decref(record);
		if (r < 0)
			return err_set(e, ERR_ATTENTION, -r, "journal",
				       "line %u of the journal %s does not make sense", number, j->name);
	}
	/* Half a journal would pass for a whole one. */
	return ferror(f) ? failed(e, EIO, "read", j->name) : 0;
}

static int write_all(int fd, json_t *records)
{
	json_t *record;
	size_t i;

	json_array_foreach(records, i, record) {
		size_t len = 0;
		_cleanup_free_ char *line = record_line(record, &len);
		int r = line ? write_full(fd, line, len) : -ENOMEM;
		if (r < 0)
			return r;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int journal_rewrite(struct journal *j, json_t *records, struct err *e)
{
	char temp[112];
	_cleanup_close_ int fd = -1;
	struct stat st = { 0 };

	if (j->owed_len)
		return failed(e, EBUSY, "rewritten (it is behind)", j->name);
	snprintf(temp, sizeof(temp), "%s.new", j->name);
	fd = open_file(j, temp, O_RDWR | O_CREAT | O_TRUNC | O_APPEND);
	int r = fd < 0 ? fd : write_all(fd, records);
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r == 0 && renameat(j->dir_fd, temp, j->dir_fd, j->name) < 0)
		r = -errno;
	if (r < 0)
		return failed(e, -r, "rewritten", j->name);
	close(j->fd);
	j->fd = TAKE_FD(fd);
	j->size = (size_t)st.st_size;
	j->torn = false;
	return fsync(j->dir_fd) < 0 ? failed(e, errno, "synced", j->name) : 0;
}

size_t journal_size(const struct journal *j)
{
	return j->size;
}
