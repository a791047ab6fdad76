// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who else writes, or redirects, kernel text in some ranges: kprobes, ftrace,
 * livepatch, BPF trampolines. The kernel tells ftrace's and livepatch's functions
 * by name only, so the functions that ranges touch are looked up first. Must say
 * which sources it could not read: silence is not absence.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest-agent/agent.h"

#define FUNCTIONS_MAX 1024 /* that the ranges of one request touch, aliases included */
#define OPTIMIZED_LEN 20   /* x86: a jump, and the instructions copied for it */

/* A function that some range touches. */
struct function {
	uint64_t hash, addr;
};

static struct search {
	struct agent_range range[AGENT_RANGES_MAX];
	uint64_t inside[AGENT_RANGES_MAX]; /* start of the function that the range begins in */
	size_t n;
	struct function function[FUNCTIONS_MAX];
	size_t functions;
	bool overflow; /* more functions than that */
	bool named;    /* some function is traced or replaced, perhaps none of ours */

	struct agent_put *reply;
	struct agent_conflicts head;
	uint32_t first, index;
	bool full;
} search;

static void emit(const struct agent_conflict *c)
{
	if (search.index++ < search.first || search.full)
		return;
	if (agent_conflicts_add(search.reply, c)) {
		search.head.count++;
		return;
	}
	search.full = true;
	search.head.next = search.index - 1;
}

static bool touched(uint64_t addr, uint64_t len)
{
	for (size_t i = 0; i < search.n; i++)
		if (addr < search.range[i].addr + search.range[i].len && search.range[i].addr < addr + len)
			return true;
	return false;
}

static void copy_name(struct agent_conflict *c, const char *name, size_t len)
{
	len = len < AGENT_NAME_MAX ? len : AGENT_NAME_MAX;
	memcpy(c->name, name, len);
	c->name[len] = '\0';
}

static size_t word(const char *p)
{
	size_t n = 0;

	while ((unsigned char)p[n] > ' ')
		n++;
	return n;
}

/* --- kprobes: "ffffffff81234560  k  do_idle+0x0    [DISABLED][OPTIMIZED][FTRACE]" --- */

static void kprobe(const char *line)
{
	struct agent_conflict c = { .kind = AGENT_CONFLICT_KPROBE };

	if (!lines_hex(&line, &c.addr))
		return;
	line += strspn(line, " \t");
	line += word(line); /* k: a probe, r: of a return */
	line += strspn(line, " \t");
	copy_name(&c, line, word(line));
	c.flags |= strstr(line, "[OPTIMIZED]") ? AGENT_CONFLICT_OPTIMIZED : 0;
	c.flags |= strstr(line, "[DISABLED]") ? AGENT_CONFLICT_DISABLED : 0;
	c.flags |= strstr(line, "[FTRACE]") ? AGENT_CONFLICT_VIA_FTRACE : 0;
	if (c.name[0] && touched(c.addr, c.flags & AGENT_CONFLICT_OPTIMIZED ? OPTIMIZED_LEN : 1))
		emit(&c);
}

static void read_kprobes(struct agent *a)
{
	char *line;

	if (lines_open(&a->lines, a->roots.debugfs, "kprobes/list"))
		return;
	search.head.sources |= AGENT_SRC_KPROBES;
	while ((line = lines_next(&a->lines)))
		kprobe(line);
	lines_close(&a->lines);
}

/* --- functions by name --- */

static bool is_text(char type)
{
	return type == 't' || type == 'T' || type == 'w' || type == 'W';
}

/* First pass: where the function begins that a range begins in. */
static void note_start(const struct kallsym *sym)
{
	for (size_t i = 0; i < search.n; i++)
		if (sym->addr <= search.range[i].addr && sym->addr > search.inside[i])
			search.inside[i] = sym->addr;
}

/* Second pass: every name of those, and of those that begin inside a range. */
static void note_function(const struct kallsym *sym)
{
	for (size_t i = 0; i < search.n; i++) {
		const struct agent_range *r = &search.range[i];
		if (sym->addr != search.inside[i] && (sym->addr < r->addr || sym->addr >= r->addr + r->len))
			continue;
		if (search.functions == FUNCTIONS_MAX) {
			search.overflow = true;
			return;
		}
		search.function[search.functions].hash = lines_hash(sym->name, sym->len);
		search.function[search.functions++].addr = sym->addr;
		return;
	}
}

static int pass(struct agent *a, void (*note)(const struct kallsym *sym))
{
	struct kallsym sym;
	char *line;
	int r = lines_open(&a->lines, a->roots.root, "proc/kallsyms");

	if (r)
		return r;
	while ((line = lines_next(&a->lines)))
		if (lines_kallsym(line, &sym) && sym.addr && is_text(sym.type))
			note(&sym);
	lines_close(&a->lines);
	return 0;
}

static bool find_functions(struct agent *a)
{
	if (pass(a, note_start) || pass(a, note_function) || search.overflow || !search.functions)
		return false;
	search.head.sources |= AGENT_SRC_KALLSYMS;
	return true;
}

/* Address of a function of interest with this name, 0: none has it. */
static uint64_t function_addr(const char *name, size_t len)
{
	uint64_t hash = lines_hash(name, len);

	for (size_t i = 0; i < search.functions; i++)
		if (search.function[i].hash == hash)
			return search.function[i].addr;
	return 0;
}

/* --- ftrace: "do_idle (1) R I D   tramp: ..." or "... direct-->bpf_trampoline_..." --- */

static void ftrace(const char *line)
{
	struct agent_conflict c = { .kind = AGENT_CONFLICT_FTRACE };
	size_t len = word(line);

	search.named = true;
	c.addr = function_addr(line, len);
	if (!c.addr || !len)
		return;
	copy_name(&c, line, len);
	const char *flags = strchr(line + len, ')');
	for (const char *p = flags; p && *p && *p != '\t'; p++)
		if (p[0] == ' ' && p[1] == 'I' && (unsigned char)p[2] <= ' ')
			c.flags |= AGENT_CONFLICT_IPMODIFY;
	if (strstr(line, "direct-->"))
		c.kind = AGENT_CONFLICT_BPF;
	emit(&c);
}

static void read_ftrace(struct agent *a)
{
	char *line;

	if (lines_open(&a->lines, a->roots.tracefs, "enabled_functions"))
		return;
	search.head.sources |= AGENT_SRC_FTRACE;
	while ((line = lines_next(&a->lines)))
		ftrace(line);
	lines_close(&a->lines);
}

/* --- livepatch: folders PATCH/OBJECT/FUNCTION,POSITION --- */

static void livepatched(const char *entry)
{
	struct agent_conflict c = { .kind = AGENT_CONFLICT_LIVEPATCH, .flags = AGENT_CONFLICT_IPMODIFY };
	const char *comma = strrchr(entry, ',');

	if (!comma || comma == entry)
		return;
	search.named = true;
	c.addr = function_addr(entry, (size_t)(comma - entry));
	copy_name(&c, entry, (size_t)(comma - entry));
	if (c.addr)
		emit(&c);
}

/* Each folder in dir; those two levels down are functions. */
static int walk(int dir, const char *path, int level)
{
	_Alignas(8) char buf[1024];
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	long n;

	if (fd < 0)
		return -errno;
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0)
		for (long pos = 0; pos < n;) {
			const struct lines_dirent *d = (const void *)(buf + pos);
			pos += d->d_reclen;
			if (d->d_name[0] == '.' || (d->d_type != 4 && d->d_type != 0)) /* DT_DIR, DT_UNKNOWN */
				continue;
			if (level == 2)
				livepatched(d->d_name);
			else
				walk(fd, d->d_name, level + 1);
		}
	close(fd);
	return 0;
}

/* No such folder: a kernel without livepatch, which has none either. */
static void read_livepatch(struct agent *a)
{
	int r = walk(a->roots.root, "sys/kernel/livepatch", 0);

	if (r == 0 || r == -ENOENT)
		search.head.sources |= AGENT_SRC_LIVEPATCH;
}

/*
 * The table that has the addresses of these names is large (half a second in an emulated
 * guest): it is read only when there are any.
 */
static void read_named(struct agent *a)
{
	read_ftrace(a);
	read_livepatch(a);
	if (!search.named)
		return;
	search.head.sources &= ~(AGENT_SRC_FTRACE | AGENT_SRC_LIVEPATCH);
	if (!find_functions(a))
		return;
	read_ftrace(a);
	read_livepatch(a);
}

int op_conflicts(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	memset(&search, 0, sizeof(search));
	search.reply = reply;
	int n = agent_ranges_decode(f->payload, f->length, &search.first, search.range);
	if (n < 0)
		return agent_fail(why, AGENT_E_MALFORMED, 0, "not a list of ranges");
	search.n = (size_t)n;
	agent_conflicts_begin(reply);
	read_kprobes(a);
	read_named(a);
	reply->len = agent_conflicts_end(reply, &search.head);
	return 0;
}
