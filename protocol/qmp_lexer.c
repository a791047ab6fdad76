// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finds the end of each QMP message in a byte stream and nothing else: tokens
 * are recognised just well enough to count brackets and to know where strings
 * end; whether a message makes sense is decided later, by Jansson. Must never
 * hold more than one message, recurse, or let a bad message swallow the next.
 *
 * States, recovery and what counts as one message follow QEMU's json-lexer.c
 * and json-streamer.c, so that a peer resynchronises with us as it does there.
 */
#include "protocol/qmp.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define BUFFER_KEEP (64u << 10) /* a larger buffer is given back after its message */

enum lex_state {
	LEX_START,    /* between tokens */
	LEX_RECOVERY, /* after a lexical error, until a byte that may begin something sane */
	LEX_DQ,
	LEX_DQ_ESCAPE,
	LEX_SQ,
	LEX_SQ_ESCAPE,
	LEX_KEYWORD,
	LEX_SIGN,
	LEX_ZERO,
	LEX_DIGITS,
	LEX_POINT,
	LEX_FRACTION,
	LEX_EXP,
	LEX_EXP_SIGN,
	LEX_EXP_DIGITS,
	LEX_TOKEN_END, /* answers of number_next(), never stored */
	LEX_BAD,
};

enum id_state { ID_NONE, ID_KEY, ID_COLON, ID_VALUE, ID_DONE };

struct qmp_lexer {
	enum lex_state state;
	bool handed_out; /* the buffer's message was returned: forget it at the next feed */
	bool discard;	 /* a cap was hit: skip to the end of this message */
	int64_t braces, brackets;
	size_t tokens;
	char *buf;
	size_t len, cap;
	size_t token_start, token_end; /* the current and the end of the previous token */
	enum id_state id_state;
	size_t id_start, id_end;
};

struct qmp_lexer *qmp_lexer_new(void)
{
	struct qmp_lexer *l = calloc(1, sizeof(*l));

	if (l)
		l->state = LEX_START;
	return l;
}

void qmp_lexer_free(struct qmp_lexer *lexer)
{
	if (!lexer)
		return;
	free(lexer->buf);
	free(lexer);
}

static void message_forget(struct qmp_lexer *l)
{
	if (l->cap > BUFFER_KEEP) {
		free(l->buf);
		l->buf = NULL;
		l->cap = 0;
	}
	l->handed_out = l->discard = false;
	l->braces = l->brackets = 0;
	l->tokens = l->len = l->token_start = l->token_end = 0;
	l->id_state = ID_NONE;
}

static void frame_error(struct qmp_frame *f, const char *sentence)
{
	*f = (struct qmp_frame){ .kind = QMP_FRAME_ERROR, .error = sentence };
}

/* A cap was hit: report it now, then skip the rest so that it cannot be taken for new messages. */
static void message_discard(struct qmp_lexer *l, struct qmp_frame *f, const char *sentence)
{
	l->discard = true;
	l->len = l->token_start = l->token_end = 0;
	l->id_state = ID_NONE;
	frame_error(f, sentence);
}

static int put(struct qmp_lexer *l, char c, struct qmp_frame *f)
{
	if (l->discard)
		return 0;
	if (l->len == QMP_MESSAGE_MAX) {
		message_discard(l, f, "JSON message size limit exceeded");
		return 0;
	}
	if (l->len == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 1024;
		char *grown = realloc(l->buf, cap);
		if (!grown)
			return -ENOMEM;
		l->buf = grown;
		l->cap = cap;
	}
	l->buf[l->len++] = c;
	return 0;
}

/* Follows the top-level member "id"; tok is the first byte of the token just completed. */
static void track_id(struct qmp_lexer *l, char tok, bool outermost)
{
	bool ends = outermost && (tok == ',' || tok == '}');

	switch (l->id_state) {
	case ID_NONE:
		if (outermost && l->len - l->token_start == 4 && memcmp(l->buf + l->token_start, "\"id\"", 4) == 0)
			l->id_state = ID_KEY;
		break;
	case ID_KEY:
		l->id_state = tok == ':' ? ID_COLON : ID_NONE;
		break;
	case ID_COLON:
		l->id_state = ends ? ID_NONE : ID_VALUE;
		l->id_start = l->token_start;
		break;
	case ID_VALUE:
		if (ends) {
			l->id_state = ID_DONE;
			l->id_end = l->token_end;
		}
		break;
	case ID_DONE:
		break;
	}
}

static void hand_out(struct qmp_lexer *l, struct qmp_frame *f)
{
	*f = (struct qmp_frame){ .kind = QMP_FRAME_MESSAGE, .text = l->buf, .len = l->len };
	if (l->id_state == ID_DONE) {
		f->id = l->buf + l->id_start;
		f->id_len = l->id_end - l->id_start;
	}
	l->handed_out = true;
}

/* A token is complete; as in QEMU, braces and brackets are counted apart and order is not checked. */
static void token_done(struct qmp_lexer *l, char tok, struct qmp_frame *f)
{
	bool outermost = l->braces == 1 && l->brackets == 0;

	l->state = LEX_START;
	if (!l->discard)
		track_id(l, tok, outermost);
	l->token_end = l->len;
	l->tokens++;
	l->braces += (tok == '{') - (tok == '}');
	l->brackets += (tok == '[') - (tok == ']');

	bool complete = l->braces < 0 || l->brackets < 0 || (l->braces == 0 && l->brackets == 0);
	if (complete && l->discard)
		message_forget(l);
	else if (complete)
		hand_out(l, f);
	else if (!l->discard && l->braces + l->brackets > QMP_DEPTH_MAX)
		message_discard(l, f, "JSON nesting depth limit exceeded");
	else if (!l->discard && l->tokens > QMP_TOKENS_MAX)
		message_discard(l, f, "JSON token count limit exceeded");
}

static bool is_reset_byte(unsigned char c)
{
	return c < 0x20 || c >= 0xfe;
}

/* Drops the message. While skipping an over-large one only a reset byte is worth a second report. */
static void lexical_error(struct qmp_lexer *l, unsigned char c, struct qmp_frame *f)
{
	if (l->discard && !is_reset_byte(c)) {
		l->state = LEX_START;
		return;
	}
	message_forget(l);
	l->state = LEX_RECOVERY;
	frame_error(f, is_reset_byte(c) ? "JSON parse error, stray control byte" :
					  "JSON parse error, stray character");
}

static int token_begin(struct qmp_lexer *l, char c, enum lex_state state, struct qmp_frame *f)
{
	int r = 0;

	/* "1-2" is two tokens: keep them apart in the text as well. */
	if (l->len && isalnum((unsigned char)l->buf[l->len - 1]) && state >= LEX_KEYWORD)
		r = put(l, ' ', f);
	l->token_start = l->len;
	l->state = state;
	return r < 0 ? r : put(l, c, f);
}

static int start_char(struct qmp_lexer *l, unsigned char c, struct qmp_frame *f)
{
	int r;

	switch (c) {
	case ' ':
	case '\t':
	case '\r':
	case '\n': /* collapsed: the text, and so a nested id, stays one line */
		return l->len && l->buf[l->len - 1] != ' ' ? put(l, ' ', f) : 0;
	case '{':
	case '}':
	case '[':
	case ']':
	case ',':
	case ':':
		r = token_begin(l, (char)c, LEX_START, f);
		if (r == 0)
			token_done(l, (char)c, f);
		return r;
	case '"':
		return token_begin(l, '"', LEX_DQ, f);
	case '\'':
		return token_begin(l, '"', LEX_SQ, f);
	case '-':
		return token_begin(l, '-', LEX_SIGN, f);
	case '0':
		return token_begin(l, '0', LEX_ZERO, f);
	default:
		if (c >= '1' && c <= '9')
			return token_begin(l, (char)c, LEX_DIGITS, f);
		if (c >= 'a' && c <= 'z')
			return token_begin(l, (char)c, LEX_KEYWORD, f);
		lexical_error(l, c, f);
		return 0;
	}
}

/* Strings are rewritten to strict JSON: 'a"b' becomes "a\"b", and \' becomes '. */
static int string_char(struct qmp_lexer *l, unsigned char c, struct qmp_frame *f)
{
	unsigned char quote = l->state == LEX_DQ ? '"' : '\'';
	int r = 0;

	if (is_reset_byte(c)) {
		lexical_error(l, c, f);
		return 0;
	}
	if (c == quote) {
		r = put(l, '"', f);
		if (r == 0)
			token_done(l, '"', f);
		return r;
	}
	if (c == '\\') {
		l->state = l->state == LEX_DQ ? LEX_DQ_ESCAPE : LEX_SQ_ESCAPE;
		return 0;
	}
	if (c == '"')
		r = put(l, '\\', f);
	return r < 0 ? r : put(l, (char)c, f);
}

static int escape_char(struct qmp_lexer *l, unsigned char c, struct qmp_frame *f)
{
	int r = 0;

	if (is_reset_byte(c)) {
		lexical_error(l, c, f);
		return 0;
	}
	l->state = l->state == LEX_DQ_ESCAPE ? LEX_DQ : LEX_SQ;
	if (c != '\'')
		r = put(l, '\\', f);
	return r < 0 ? r : put(l, (char)c, f);
}

/* RFC 8259 numbers and QEMU's keywords ([a-z]+, judged later). */
static enum lex_state number_next(enum lex_state state, unsigned char c)
{
	bool digit = c >= '0' && c <= '9';

	switch (state) {
	case LEX_KEYWORD:
		return c >= 'a' && c <= 'z' ? LEX_KEYWORD : LEX_TOKEN_END;
	case LEX_SIGN:
		return c == '0' ? LEX_ZERO : digit ? LEX_DIGITS : LEX_BAD;
	case LEX_ZERO:
		if (digit)
			return LEX_BAD;
		return c == '.' ? LEX_POINT : c == 'e' || c == 'E' ? LEX_EXP : LEX_TOKEN_END;
	case LEX_DIGITS:
		if (digit)
			return LEX_DIGITS;
		return c == '.' ? LEX_POINT : c == 'e' || c == 'E' ? LEX_EXP : LEX_TOKEN_END;
	case LEX_POINT:
		return digit ? LEX_FRACTION : LEX_BAD;
	case LEX_FRACTION:
		if (digit)
			return LEX_FRACTION;
		return c == 'e' || c == 'E' ? LEX_EXP : LEX_TOKEN_END;
	case LEX_EXP:
		return digit ? LEX_EXP_DIGITS : c == '+' || c == '-' ? LEX_EXP_SIGN : LEX_BAD;
	case LEX_EXP_SIGN:
		return digit ? LEX_EXP_DIGITS : LEX_BAD;
	default:
		return digit ? LEX_EXP_DIGITS : LEX_TOKEN_END;
	}
}

static int number_char(struct qmp_lexer *l, unsigned char c, bool *consumed, struct qmp_frame *f)
{
	enum lex_state next = number_next(l->state, c);

	if (next == LEX_BAD) {
		lexical_error(l, c, f);
		return 0;
	}
	if (next == LEX_TOKEN_END) {
		*consumed = false;
		token_done(l, '0', f);
		return 0;
	}
	l->state = next;
	return put(l, (char)c, f);
}

static int lexer_step(struct qmp_lexer *l, unsigned char c, bool *consumed, struct qmp_frame *f)
{
	switch (l->state) {
	case LEX_START:
		return start_char(l, c, f);
	case LEX_DQ:
	case LEX_SQ:
		return string_char(l, c, f);
	case LEX_DQ_ESCAPE:
	case LEX_SQ_ESCAPE:
		return escape_char(l, c, f);
	case LEX_RECOVERY:
		if ((is_reset_byte(c) && c != '\t') || (c && strchr("[]{}:,", c))) {
			*consumed = false;
			l->state = LEX_START;
		}
		return 0;
	default:
		return number_char(l, c, consumed, f);
	}
}

ssize_t qmp_lexer_feed(struct qmp_lexer *lexer, const void *buf, size_t len, struct qmp_frame *ret)
{
	const unsigned char *bytes = buf;
	size_t done = 0;

	*ret = (struct qmp_frame){ .kind = QMP_FRAME_NONE };
	if (lexer->handed_out)
		message_forget(lexer);
	while (done < len && ret->kind == QMP_FRAME_NONE) {
		bool consumed = true;
		int r = lexer_step(lexer, bytes[done], &consumed, ret);
		if (r < 0)
			return r;
		done += consumed;
	}
	return (ssize_t)done;
}
