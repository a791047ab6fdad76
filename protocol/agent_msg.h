/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the frames of protocol/agent.h say: the payload of each operation, both
 * ways, PROTOCOL.md section 4.5. Encoders write into a buffer of the caller's and
 * return the length, 0 when it does not fit; decoders return 0 or -EBADMSG and
 * believe nothing. Freestanding.
 */
#ifndef VMPOKE_PROTOCOL_AGENT_MSG_H
#define VMPOKE_PROTOCOL_AGENT_MSG_H

#include "protocol/agent.h"

#define AGENT_PING_MAX	     64
#define AGENT_SYMBOLS_MAX    256  /* names in one request */
#define AGENT_RANGES_MAX     256  /* ranges in one request */
#define AGENT_SELFCHECK_MAX  8192 /* bytes of all ranges of one request */
#define AGENT_NAME_MAX	     255
#define AGENT_TEXT_MAX	     128 /* sentence of an error */
#define AGENT_PARK_MAX_MS    60000
#define AGENT_QUIESCE_MAX_MS 10000

/* A position in a buffer being read or written; any step beyond its end makes it bad for good. */
struct agent_get {
	const uint8_t *p;
	size_t left;
	bool bad;
};
struct agent_put {
	uint8_t *p;
	size_t len, cap;
	bool bad;
};

uint64_t agent_get(struct agent_get *g, size_t bytes); /* 1..8; 0 when bad */
/* n bytes in place, NULL when bad. */
const uint8_t *agent_get_bytes(struct agent_get *g, size_t n);
void agent_put(struct agent_put *w, uint64_t value, size_t bytes);
void agent_put_bytes(struct agent_put *w, const void *bytes, size_t n);

/* --- AGENT_HELLO --- */

struct agent_hello_request {
	uint8_t nonce[AGENT_NONCE_LEN];
	uint8_t min_version, max_version;
	uint16_t flags; /* AGENT_HELLO_KEY */
};
#define AGENT_HELLO_KEY 0x0001u /* the sender holds a key for this VM and wants MACs */

enum agent_lockdown { AGENT_LOCKDOWN_UNKNOWN, AGENT_LOCKDOWN_NONE, AGENT_LOCKDOWN_INTEGRITY, AGENT_LOCKDOWN_CONFIDENTIALITY };

/* What the agent can look at (hello, and conflicts). */
#define AGENT_SRC_KALLSYMS  0x01u /* /proc/kallsyms, with addresses */
#define AGENT_SRC_KPROBES   0x02u /* debugfs kprobes/list */
#define AGENT_SRC_FTRACE    0x04u /* tracefs enabled_functions */
#define AGENT_SRC_LIVEPATCH 0x08u /* /sys/kernel/livepatch */
#define AGENT_SRC_KCORE	    0x10u /* /proc/kcore */

/* Facts; text is printable ASCII, NUL-terminated, "" when not told. */
struct agent_hello {
	uint8_t nonce[AGENT_NONCE_LEN];
	uint8_t version; /* chosen */
	uint16_t flags;	 /* AGENT_HELLO_KEY */
	uint32_t ops;	 /* bit n: enum agent_op n is known */
	char release[65], machine[65], agent[33]; /* uname, uname, the agent's own version */
	uint8_t build_id[32];
	uint8_t build_id_len; /* 0: not told */
	uint8_t boot_id[16];
	uint8_t lockdown; /* enum agent_lockdown */
	uint8_t kaslr_off; /* the kernel command line says nokaslr */
	uint32_t page_size, cpus;
	uint32_t sources;     /* AGENT_SRC_* */
	uint64_t kernel_text; /* address of _text; 0: hidden */
	uint64_t uptime_ms;   /* of the agent */
};

size_t agent_hello_request_encode(uint8_t *out, size_t cap, const struct agent_hello_request *m);
int agent_hello_request_decode(const uint8_t *in, size_t len, struct agent_hello_request *ret);
size_t agent_hello_encode(uint8_t *out, size_t cap, const struct agent_hello *m);
/* A fact that is not known, or appears twice with another length, is skipped: newer agents tell more. */
int agent_hello_decode(const uint8_t *in, size_t len, struct agent_hello *ret);

/* --- an error's payload --- */

struct agent_failure {
	uint32_t guest_errno; /* 0: none */
	char text[AGENT_TEXT_MAX + 1];
};

size_t agent_failure_encode(uint8_t *out, size_t cap, const struct agent_failure *m);
/* Characters that are not printable ASCII become '?'. */
int agent_failure_decode(const uint8_t *in, size_t len, struct agent_failure *ret);

/* --- AGENT_SYMBOLS: names in, for each an answer, in the same order --- */

enum agent_symbol_status { AGENT_SYMBOL_FOUND, AGENT_SYMBOL_MISSING, AGENT_SYMBOL_HIDDEN };

struct agent_symbol {
	uint8_t status;	  /* enum agent_symbol_status */
	uint16_t matches; /* how many symbols have this name; the address is that of the first */
	uint64_t addr;
};

/* names: n strings of 1..AGENT_NAME_MAX. */
size_t agent_symbols_request_encode(uint8_t *out, size_t cap, const char *const *names, size_t n);
/* Reads how many names follow, then agent_name_next() gives each in place (not terminated). 0 or -EBADMSG. */
int agent_symbols_request_begin(struct agent_get *g, size_t *ret_n);
int agent_name_next(struct agent_get *g, const char **ret, size_t *ret_len);
size_t agent_symbols_encode(uint8_t *out, size_t cap, const struct agent_symbol *s, size_t n);
/* Must hold exactly n answers. */
int agent_symbols_decode(const uint8_t *in, size_t len, struct agent_symbol *ret, size_t n);

/* --- ranges, as several operations take them --- */

struct agent_range {
	uint64_t addr;
	uint32_t len; /* 1.. ; addr + len does not wrap */
};

/* first: which entry of the answer to begin with (AGENT_CONFLICTS); for AGENT_SELFCHECK: 1 asks for bytes. */
size_t agent_ranges_encode(uint8_t *out, size_t cap, uint32_t first, const struct agent_range *r, size_t n);
/* At most AGENT_RANGES_MAX. Returns their number or -EBADMSG. */
int agent_ranges_decode(const uint8_t *in, size_t len, uint32_t *ret_first, struct agent_range ret[AGENT_RANGES_MAX]);

/* --- AGENT_CONFLICTS --- */

enum agent_conflict_kind {
	AGENT_CONFLICT_KPROBE = 1, /* addr: the probe */
	AGENT_CONFLICT_FTRACE = 2, /* addr: the traced function */
	AGENT_CONFLICT_LIVEPATCH = 3,
	AGENT_CONFLICT_BPF = 4, /* ftrace calls a BPF trampoline (or another direct user) */
	AGENT_CONFLICT_KIND_COUNT,
};
#define AGENT_CONFLICT_OPTIMIZED 0x0001u /* a kprobe that became a jump: more bytes than one differ */
#define AGENT_CONFLICT_DISABLED	 0x0002u
#define AGENT_CONFLICT_VIA_FTRACE 0x0004u /* a kprobe that uses ftrace's call */
#define AGENT_CONFLICT_IPMODIFY	 0x0008u /* ftrace may continue elsewhere (livepatch) */

struct agent_conflict {
	uint8_t kind;
	uint16_t flags;
	uint64_t addr;
	char name[AGENT_NAME_MAX + 1]; /* symbol as the guest wrote it */
};

/* The head of an answer; count entries follow. */
struct agent_conflicts {
	uint32_t next;	  /* ask again with first = next; 0: this was all */
	uint32_t sources; /* AGENT_SRC_* that were read. What is missing was not looked at */
	uint16_t count;
};

void agent_conflicts_begin(struct agent_put *w);
/* False: no room, the entry was not written. */
bool agent_conflicts_add(struct agent_put *w, const struct agent_conflict *c);
size_t agent_conflicts_end(struct agent_put *w, const struct agent_conflicts *head);
int agent_conflicts_decode(struct agent_get *g, struct agent_conflicts *ret);
int agent_conflict_next(struct agent_get *g, struct agent_conflict *ret);

/* --- AGENT_SELFCHECK: for each range --- */

struct agent_bytes {
	uint32_t guest_errno; /* 0: read */
	uint32_t crc;	      /* CRC-32C of the len bytes */
	uint32_t len;	      /* of bytes[], 0 when only the CRC was asked for */
	const uint8_t *bytes;
};

void agent_bytes_put(struct agent_put *w, const struct agent_bytes *b);
int agent_bytes_next(struct agent_get *g, struct agent_bytes *ret);

/* --- AGENT_QUIESCE --- */

struct agent_quiesce {
	uint32_t online, visited, refused; /* CPUs */
	uint32_t flags;			   /* AGENT_QUIESCE_* */
	uint64_t elapsed_us;
};
#define AGENT_QUIESCE_RCU 0x0001u /* an RCU grace period began and ended meanwhile (membarrier) */

size_t agent_quiesce_request_encode(uint8_t *out, size_t cap, uint32_t timeout_ms);
int agent_quiesce_request_decode(const uint8_t *in, size_t len, uint32_t *ret_timeout_ms);
size_t agent_quiesce_encode(uint8_t *out, size_t cap, const struct agent_quiesce *m);
int agent_quiesce_decode(const uint8_t *in, size_t len, struct agent_quiesce *ret);

/* --- AGENT_PARK, AGENT_UNPARK, AGENT_STATE --- */

enum agent_park_call { AGENT_PARK_GETPGID, AGENT_PARK_GETSID, AGENT_PARK_BORROW, AGENT_PARK_CALL_COUNT };

struct agent_park_request {
	uint64_t nonce[2];
	uint16_t call;	      /* enum agent_park_call */
	uint16_t interval_ms; /* 1..1000 between two calls */
	uint32_t timeout_ms;  /* 1..AGENT_PARK_MAX_MS, then it ends by itself */
};

enum agent_park_end { AGENT_PARK_NEVER, AGENT_PARK_UNPARKED, AGENT_PARK_TIMEOUT, AGENT_PARK_HOST_GONE, AGENT_PARK_END_COUNT };

struct agent_state {
	uint8_t parked;	   /* 1: the calls are being made */
	uint8_t ended;	   /* enum agent_park_end: why the last one ended */
	uint16_t call;
	uint32_t tid;	   /* of the thread that makes them, in the agent's pid namespace */
	uint32_t nr;	   /* system call number, of this guest's architecture */
	uint32_t left_ms;
	uint64_t nonce[2];
	uint64_t calls;	   /* made so far */
	char function[48]; /* the kernel's function for it, e.g. "__x64_sys_getpgid" */
};

size_t agent_park_request_encode(uint8_t *out, size_t cap, const struct agent_park_request *m);
int agent_park_request_decode(const uint8_t *in, size_t len, struct agent_park_request *ret);
size_t agent_state_encode(uint8_t *out, size_t cap, const struct agent_state *m);
int agent_state_decode(const uint8_t *in, size_t len, struct agent_state *ret);

/* --- AGENT_STATS --- */

struct agent_stats {
	uint64_t cpu_us;	     /* user and system, of the whole process */
	uint64_t uptime_ms;
	uint64_t frames_in, frames_out;
	uint64_t skipped, damaged;   /* struct agent_decoder */
	uint64_t refused;	     /* requests answered with an error */
	uint32_t rss_kib;
	uint32_t sessions;	     /* hellos answered */
};

size_t agent_stats_encode(uint8_t *out, size_t cap, const struct agent_stats *m);
int agent_stats_decode(const uint8_t *in, size_t len, struct agent_stats *ret);

/* Names for people: "symbols", "unknown-op", "kprobe"; "?" for what is none. */
const char *agent_op_name(unsigned op);
const char *agent_error_name(unsigned error);
const char *agent_conflict_name(unsigned kind);

#endif
