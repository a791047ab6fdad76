// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's side of tests/e2e/virtio-guest.sh: runs a machine of our own with a disk,
 * a read-only disk and the agent's port, and checks the port from outside:
 *   kvm-virtio KERNEL INITRD SECONDS DISK READ-ONLY-DISK CONSOLE
 *   kvm-virtio KERNEL INITRD SECONDS CONSOLE     boots in huge pages, and once more when the guest reboots
 * Result lines as all tests have them; exit status 0 when all are ok.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "vmm/kvm/machine.h"

#define ECHO_BYTES  (512u << 10)
#define FLOOD_MAX   (2u << 20)
#define ECHO_US	    60000000u
#define OPEN_US	    90000000u

static int failed;

static void result(bool ok, const char *name, const char *why)
{
	printf("%s %s%s%s\n", ok ? "ok" : "not ok", name, ok ? "" : ": ", ok ? "" : why);
	fflush(stdout);
	failed |= !ok;
}

static bool wait_open(struct machine *m, uint64_t times)
{
	uint64_t end = now_us() + OPEN_US, opens = 0;

	while (now_us() < end && !machine_wait(m, 10000, NULL, 0))
		if (machine_agent_is_open(m, &opens) && opens >= times)
			return true;
	return false;
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 11);
}

/* Sends some of what is left, as much as is taken. */
static size_t feed(int fd, size_t sent)
{
	uint8_t buf[8192];
	size_t n = ECHO_BYTES - sent < sizeof(buf) ? ECHO_BYTES - sent : sizeof(buf);

	for (size_t i = 0; i < n; i++)
		buf[i] = pattern(sent + i);
	ssize_t r = n ? write(fd, buf, n) : 0;
	return r > 0 ? (size_t)r : 0;
}

/* How far what comes back is what was sent; more than ECHO_BYTES when it is not. */
static size_t check(int fd, size_t got)
{
	uint8_t buf[8192];
	ssize_t r = read(fd, buf, sizeof(buf));

	for (ssize_t i = 0; i < r; i++)
		if (buf[i] != pattern(got + (size_t)i))
			return ECHO_BYTES + 1;
	return r == 0 ? ECHO_BYTES + 1 : got + (size_t)(r > 0 ? r : 0);
}

static bool echo(int fd)
{
	uint64_t start = now_us();
	size_t sent = 0, got = 0;

	while (got < ECHO_BYTES && now_us() - start < ECHO_US) {
		struct pollfd p = { .fd = fd, .events = (short)(POLLIN | (sent < ECHO_BYTES ? POLLOUT : 0)) };
		poll(&p, 1, 1000);
		if (p.revents & POLLOUT)
			sent += feed(fd, sent);
		if (p.revents & (POLLIN | POLLHUP))
			got = check(fd, got);
	}
	printf("# %u bytes there and back in %llu ms\n", ECHO_BYTES, (unsigned long long)(now_us() - start) / 1000);
	return got == ECHO_BYTES;
}

static void echo_round(struct machine *m, int fd, uint64_t round, const char *name)
{
	if (!wait_open(m, round))
		result(false, name, "the guest did not open the port");
	else
		result(echo(fd), name, "bytes were lost or changed");
}

/* Once with the host there before the guest opens, once over the same host end after the guest opened anew. */
static void echoes(struct machine *m)
{
	struct err e = { 0 };
	_cleanup_close_ int fd = machine_agent_connect(m, &e);

	if (fd < 0) {
		result(false, "a host end for the agent's port", e.text);
		return;
	}
	echo_round(m, fd, 1, "512 KiB through the agent's port and back");
	echo_round(m, fd, 2, "and again after the guest opened it anew");
}

/* Nobody reads there: we must be told "full" after a bounded number of bytes, at once. */
static void flood(struct machine *m)
{
	static const uint8_t zeroes[65536];
	struct err e = { 0 };
	size_t sent = 0;
	_cleanup_close_ int fd = wait_open(m, 3) ? machine_agent_connect(m, &e) : -1;

	if (fd < 0) {
		result(false, "a guest that does not read", "the guest did not open the port");
		return;
	}
	for (uint64_t last = now_us(); now_us() - last < 1000000 && sent < FLOOD_MAX;) {
		ssize_t n = write(fd, zeroes, sizeof(zeroes));
		if (n > 0) {
			sent += (size_t)n;
			last = now_us();
		}
	}
	printf("# %zu bytes until full\n", sent);
	result(sent > 0 && sent < FLOOD_MAX, "a guest that does not read", "there was no end to what was taken");
}

static int run(char **argv)
{
	struct machine_config config = {
		.name = "virtio", .kernel = argv[0], .initrd = argv[1], .console = argv[5],
		.append = "console=ttyS0 quiet panic=-1 loglevel=1", .vcpus = 2, .memory = 256ull << 20, .agent = true,
		.disks = { { open(argv[3], O_RDWR | O_CLOEXEC), false }, { open(argv[4], O_RDONLY | O_CLOEXEC), true } },
		.n_disks = 2,
	};
	_cleanup_(machine_destroy) struct machine *m = NULL;
	char reason[256] = "";
	struct err e = { 0 };

	if (machine_create(&config, &m, &e) < 0 || machine_start(m, &e) < 0) {
		result(false, "a machine with disks and the agent's port", e.text);
		return 1;
	}
	echoes(m);
	flood(m);
	machine_wait(m, strtoull(argv[2], NULL, 10) * 1000000, reason, sizeof(reason));
	result(!strcmp(reason, "the guest powered off"), "the guest powers off", reason);
	return failed;
}

/* The guest reset itself; asked for that event, the backend starts it anew. */
static bool resets(struct machine *m, uint64_t timeout_us)
{
	enum backend_event_kind event = BACKEND_EVENT_NONE;
	char reason[256] = "";

	machine_wait(m, timeout_us, reason, sizeof(reason));
	machine_backend(m)->ops->event(machine_backend(m), &event, NULL);
	printf("# %s\n", reason);
	return event == BACKEND_EVENT_RESET;
}

/* Text there cannot be flipped: the backend must not offer it. */
static int run_huge(char **argv)
{
	struct machine_config config = {
		.name = "huge", .kernel = argv[0], .initrd = argv[1], .console = argv[3], .hugepages = true, .reboot = true,
		.append = "console=ttyS0 quiet panic=-1 vmpoke.brief", .vcpus = 2, .memory = 256ull << 20,
	};
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct backend_info info;
	uint64_t limit = strtoull(argv[2], NULL, 10) * 1000000;
	struct err e = { 0 };

	if (machine_create(&config, &m, &e) < 0 || machine_start(m, &e) < 0) {
		result(false, "a machine in huge pages", e.text);
		return 1;
	}
	result(resets(m, limit), "a stock kernel runs in huge pages", "it did not come to its reboot");
	result(resets(m, limit), "and comes up again after a reboot", "it did not come to its second reboot");
	machine_backend(m)->ops->info(machine_backend(m), &info, NULL);
	result(!(info.caps & BACKEND_REMAP) && info.caps & BACKEND_NONSTOP, "huge pages are not remapped", "REMAP is offered");
	return failed;
}

int main(int argc, char **argv)
{
	if (argc == 7)
		return run(argv + 1);
	if (argc == 5)
		return run_huge(argv + 1);
	fprintf(stderr, "usage: kvm-virtio KERNEL INITRD SECONDS [DISK READ-ONLY-DISK] CONSOLE\n");
	return 2;
}
