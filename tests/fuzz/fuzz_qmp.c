// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QMP framing and request parsing. Beyond not crashing: how a stream is cut
 * into pieces must not change its frames, a request's id must be JSON on one
 * line, and what we answer must parse.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_request(const struct qmp_frame *frame)
{
	struct qmp_request req;
	struct err e = { 0 };
	int r = qmp_request_parse(frame, &req, &e);

	check(r == 0 || (r < 0 && e.text[0]));
	check(r < 0 || (req.execute && json_is_object(req.args)));
	if (req.id)
		check(!strpbrk(req.id, "\r\n"));
	char *line = r < 0 ? qmp_format_error(&e, req.id) : qmp_format_command(req.execute, req.args, req.id);
	check(line != NULL);
	/* The id may be a number Jansson cannot hold: take the line apart as a peer of ours would. */
	struct qmp_lexer *l = qmp_lexer_new();
	struct qmp_frame again;
	check(qmp_lexer_feed(l, line, strlen(line), &again) > 0);
	check(again.kind == QMP_FRAME_MESSAGE || again.kind == QMP_FRAME_ERROR);
	check(again.kind == QMP_FRAME_MESSAGE || strlen(line) > QMP_MESSAGE_MAX / 2 || req.id);
	if (again.kind == QMP_FRAME_MESSAGE && req.id) {
		check(again.id && again.id_len == strlen(req.id));
		check(memcmp(again.id, req.id, again.id_len) == 0);
	}
	qmp_lexer_free(l);
	free(line);
	qmp_request_clear(&req);
}

/* Writes all frames to f; the first pass also parses them. */
static void run(const uint8_t *data, size_t size, size_t chunk, FILE *f, bool parse)
{
	struct qmp_lexer *l = qmp_lexer_new();

	for (size_t at = 0; at < size;) {
		size_t n = chunk < size - at ? chunk : size - at;
		for (size_t done = 0; done < n;) {
			struct qmp_frame frame;
			ssize_t r = qmp_lexer_feed(l, data + at + done, n - done, &frame);
			check(r >= 0 && (size_t)r <= n - done && (r > 0 || frame.kind != QMP_FRAME_NONE));
			done += (size_t)r;
			if (frame.kind == QMP_FRAME_MESSAGE) {
				check(frame.len > 0 && frame.len <= QMP_MESSAGE_MAX);
				fwrite(frame.text, 1, frame.len, f);
				fprintf(f, "\n%zu\n", frame.id ? (size_t)(frame.id - frame.text) + frame.id_len : 0);
				if (parse)
					check_request(&frame);
			} else if (frame.kind == QMP_FRAME_ERROR) {
				fprintf(f, "E%s\n", frame.error);
			}
		}
		at += n;
	}
	qmp_lexer_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *a, *b;
	size_t a_len, b_len;
	FILE *fa = open_memstream(&a, &a_len), *fb = open_memstream(&b, &b_len);

	run(data, size, size ? size : 1, fa, true);
	run(data, size, size % 5 + 1, fb, false);
	fclose(fa);
	fclose(fb);
	check(a_len == b_len && memcmp(a, b, a_len) == 0);
	free(a);
	free(b);
	return 0;
}
