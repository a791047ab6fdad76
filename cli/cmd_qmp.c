// SPDX-License-Identifier: GPL-2.0-or-later
/* qmp: one raw command, one raw answer. Speaks to any QMP server -c names, QEMU included. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/client.h"
#include "protocol/qmp.h"

static int stdin_read(char **ret, size_t *ret_len, struct err *e)
{
	int r = read_file("/dev/stdin", QMP_MESSAGE_MAX, ret, ret_len);

	if (r < 0)
		return err_set(e, r == -EFBIG ? ERR_USAGE : ERR_FAILED, -r, "", "cannot read the command from standard input: %s",
			       strerror(-r));
	return 0;
}

static int not_a_command(struct err *e, const char *why)
{
	return err_set(e, ERR_USAGE, EINVAL, "", "not a QMP command: %s (expected {\"execute\": NAME, \"arguments\": {...}})", why);
}

/* Exactly one request in text. ret is the caller's to clear, on failure too. */
static int command_parse(const char *text, size_t len, struct qmp_request *ret, struct err *e)
{
	_cleanup_(qmp_lexer_free) struct qmp_lexer *lexer = qmp_lexer_new();
	struct qmp_frame frame = { 0 };

	if (!lexer || !text)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	ssize_t n = qmp_lexer_feed(lexer, text, len, &frame);
	if (n < 0)
		return err_set(e, ERR_FAILED, (int)-n, "", "%s", strerror((int)-n));
	if (frame.kind == QMP_FRAME_ERROR)
		return not_a_command(e, frame.error);
	if (frame.kind == QMP_FRAME_NONE)
		return not_a_command(e, "the JSON text is not complete");
	if (strspn(text + n, " \t\r\n") != len - (size_t)n)
		return not_a_command(e, "there is more behind it; one command at a time");
	if (qmp_request_parse(&frame, ret, e) < 0) {
		char why[sizeof(e->text)];

		snprintf(why, sizeof(why), "%s", e->text);
		return not_a_command(e, why);
	}
	return ret->oob ? not_a_command(e, "'exec-oob' is not supported") : 0;
}

/* {"return": value} or {"error": ...}, as the peer sent it. Steals value. */
static void reply_print(struct cli *c, const char *member, json_t *value)
{
	json_auto_t *reply = json_pack("{s:o}", member, value);

	if (reply)
		output_json(&c->out, reply);
	else
		c->out.failed = true;
}

static int command_send(struct cli *c, const struct qmp_request *req)
{
	json_t *value = NULL;
	struct err e = { 0 };

	if (cli_connect(c, &e) < 0)
		return cli_fail(c, &e);
	int r = qmp_client_call(c->client, req->execute, req->args, cli_deadline_us(c), &value, &e);
	if (r >= 0) {
		reply_print(c, "return", value);
		return 0;
	}
	if (qmp_client_alive(c->client))
		reply_print(c, "error", qmp_error_to_json(&e));
	else
		cli_lost(c, req->execute, r, &e);
	return cli_fail(c, &e);
}

int cmd_qmp(struct cli *c)
{
	bool from_stdin = strcmp(c->args[0], "-") == 0;
	_cleanup_free_ char *text = from_stdin ? NULL : strdup(c->args[0]);
	size_t len = text ? strlen(text) : 0;
	struct qmp_request req = { 0 };
	struct err e = { 0 };
	int r = 0, code;

	if (from_stdin)
		r = stdin_read(&text, &len, &e);
	else if (!text)
		r = err_set(&e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (r >= 0)
		r = command_parse(text, len, &req, &e);
	code = r < 0 ? cli_fail(c, &e) : command_send(c, &req);
	qmp_request_clear(&req);
	return code;
}
