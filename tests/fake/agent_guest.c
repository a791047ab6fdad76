// SPDX-License-Identifier: GPL-2.0-or-later
/* A kernel of files and an agent that looks at it; see agent_guest.h. */
#include "tests/fake/agent_guest.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fake/fd_link.h"

static char dir[64];

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

/* path below dir, its folders made. */
static int create(const char *path)
{
	char full[256];

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(full, 0700);
	}
	if (path[strlen(path) - 1] == '/')
		return -1;
	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	must(fd >= 0, full);
	return fd;
}

static void file(const char *path, const void *bytes, size_t len)
{
	int fd = create(path);

	must(write_full(fd, bytes, len) == 0, path);
	close(fd);
}

static void text(const char *path, const char *content)
{
	file(path, content, strlen(content));
}

static void make_kcore(void)
{
	static struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph[2];
		uint8_t bytes[FAKE_TEXT_LEN];
	} core;

	memcpy(core.eh.e_ident, ELFMAG, SELFMAG);
	core.eh.e_ident[EI_CLASS] = ELFCLASS64;
	core.eh.e_phoff = sizeof(core.eh);
	core.eh.e_phnum = 2;
	core.ph[0].p_type = PT_NOTE;
	core.ph[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_vaddr = FAKE_TEXT, .p_memsz = FAKE_TEXT_LEN,
				   .p_offset = sizeof(core.eh) + sizeof(core.ph) };
	for (size_t i = 0; i < sizeof(core.bytes); i++)
		core.bytes[i] = (uint8_t)(i * 7);
	file("proc/kcore", &core, sizeof(core));
}

/* A note that is none of ours, then the build-id 00 01 .. 13. */
static void make_notes(void)
{
	static const uint8_t notes[] = {
		6, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0, 0, 'L', 'i', 'n', 'u', 'x', 0, 0, 0, 1, 2, 3, 4, /* Linux */
		4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0,
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
	};

	file("sys/kernel/notes", notes, sizeof(notes));
}

static void make_kallsyms(void)
{
	char *content = NULL;
	size_t len;
	FILE *f = open_memstream(&content, &len);

	must(f, "open_memstream");
	fprintf(f, "0000000000000000 A fixed_percpu_data\n");
	fprintf(f, "%016lx T _text\n", (unsigned long)FAKE_TEXT);
	fprintf(f, "%016lx T do_idle\n%016lx t do_idle_alias\n", (unsigned long)FAKE_IDLE, (unsigned long)FAKE_IDLE);
	fprintf(f, "%016lx T do_open\n", (unsigned long)FAKE_OPEN);
	fprintf(f, "%016lx T do_sleep\n", (unsigned long)FAKE_SLEEP);
	fprintf(f, "%016lx t do_meta\n", (unsigned long)FAKE_META);
	fprintf(f, "%016lx T do_plain\n", (unsigned long)FAKE_PLAIN);
	fprintf(f, "%016lx t twice\n%016lx t twice\n", (unsigned long)FAKE_PLAIN + 0x100, (unsigned long)FAKE_PLAIN + 0x200);
	for (unsigned i = 0; i < 3000; i++) /* more than one buffer of the reader */
		fprintf(f, "%016lx d some_data_%u\t[module]\n", (unsigned long)FAKE_TEXT + 0x100000 + 16ul * i, i);
	fclose(f);
	file("proc/kallsyms", content, len);
	free(content);
}

void fake_kernel_add_probes(unsigned n)
{
	int fd = create("debug/kprobes/list");

	dprintf(fd, "%016lx  k  do_idle+0x0    [FTRACE]\n", (unsigned long)FAKE_IDLE);
	dprintf(fd, "%016lx  r  do_open+0x8    [OPTIMIZED]\n", (unsigned long)FAKE_OPEN + 8);
	dprintf(fd, "not a line of this file\n\n");
	for (unsigned i = 0; i < n; i++)
		dprintf(fd, "%016lx  k  do_plain_with_a_long_name_so_that_pages_fill_up+0x%x    [DISABLED]\n",
			(unsigned long)FAKE_PLAIN + i, i);
	close(fd);
}

void fake_kernel_make(struct agent_roots *ret)
{
	char path[128];

	strcpy(dir, "/tmp/test-agent.XXXXXX");
	must(mkdtemp(dir), "mkdtemp");
	make_kcore();
	make_notes();
	make_kallsyms();
	fake_kernel_add_probes(0);
	text("tracing/enabled_functions",
	     "do_idle (1) R   \ttramp: 0xffffffffc0000000 (kprobe_ftrace_handler+0x0/0x1c0) ->arch_ftrace\n"
	     "do_meta (1) R I \tklp_ftrace_handler+0x0/0x140\n"
	     "do_sleep (1) R   D   \tdirect-->bpf_trampoline_6442469111+0x0/0x8f\n"
	     "other_function (2)\n");
	create("sys/kernel/livepatch/fix_cve/vmlinux/do_meta,1/");
	text("sys/kernel/livepatch/fix_cve/enabled", "1\n");
	text("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
	text("sys/devices/system/cpu/online", "0\n");
	text("proc/cmdline", "root=/dev/vda notnokaslr nokaslr quiet\n");
	text("proc/sys/kernel/random/boot_id", "00112233-4455-6677-8899-aabbccddeeff\n");
	text("proc/self/smaps_rollup", "00400000-7ffc1e9fe000 ---p 00000000 00:00 0                          [rollup]\n"
				      "Rss:                 100 kB\nPss:                  60 kB\n");
	ret->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/tracing", dir);
	ret->tracefs = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/debug", dir);
	ret->debugfs = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(ret->root >= 0 && ret->tracefs >= 0 && ret->debugfs >= 0, dir);
}

void fake_kernel_remove(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	must(system(command) == 0, command);
}

static _Noreturn void serve(int fd, const struct agent_roots *roots, const uint8_t *key)
{
	static struct agent agent;
	char where[16];

	snprintf(where, sizeof(where), "%d", fd);
	must(agent_init(&agent, agent_fd_link, where, roots, key) == 0, "agent_init");
	while (agent_pump(&agent) == 0 && agent.opened) {
		struct pollfd p = { 0 };
		p.fd = agent_poll_fd(&agent, &p.events);
		poll(&p, 1, agent_timeout(&agent));
	}
	_exit(0); /* the test closed its end */
}

pid_t fake_agent_start(int fd, const struct agent_roots *roots, const uint8_t *key)
{
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	serve(fd, roots, key);
}

void fake_agent_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
