// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads a key file; see agent_key.h. Must never show a byte of it, nor leave a copy behind. */
#include "protocol/agent_key.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/util.h"

#define TEXT_MAX (2 * AGENT_KEY_LEN + 2) /* and a line end */

static int file_check(int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "the agent's key: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_USAGE, EINVAL, NULL, "the agent's key is not in a regular file");
	if (st.st_mode & 077)
		return err_set(e, ERR_USAGE, EPERM, "key-readable",
			       "the agent's key: others than the owner may use the file (mode %03o); make it 0600, and the key "
			       "a new one", (unsigned)st.st_mode & 0777u);
	return 0;
}

int agent_key_read(int fd, uint8_t ret[AGENT_KEY_LEN], struct err *e)
{
	char text[TEXT_MAX + 1] = "";
	uint8_t key[AGENT_KEY_LEN];
	int r = file_check(fd, e);

	if (r < 0)
		return r;
	ssize_t n = pread(fd, text, TEXT_MAX, 0);
	if (n < 0)
		return err_set(e, ERR_FAILED, errno, NULL, "the agent's key: %s", strerror(errno));
	text[strcspn(text, "\r\n")] = '\0';
	if (strlen(text) == 2 * AGENT_KEY_LEN && hex_decode(text, key, sizeof(key)) == sizeof(key))
		memcpy(ret, key, sizeof(key));
	else
		r = err_set(e, ERR_USAGE, EINVAL, NULL, "the agent's key is not 64 hex digits");
	explicit_bzero(key, sizeof(key));
	explicit_bzero(text, sizeof(text));
	return r;
}
