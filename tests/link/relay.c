// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A bad wire between two interfaces: each frame that comes in at one goes out at
 * the other, unless it is lost, or twice, or after some that came later. For where
 * the kernel has no sch_netem, and repeatable up to the timing.
 *   link-relay IFNAME IFNAME LOSS DOUBLED LATE SEED      (per cent)
 * Says "ready"; on SIGTERM "relay frames=N lost=N doubled=N late=N".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELD_MAX 16
#define LATE_MS	 5

struct frame {
	uint8_t bytes[2048];
	ssize_t len;
	int out; /* socket */
};

static struct frame held[HELD_MAX];
static unsigned n_held;
static unsigned long frames, lost, doubled, late;
static uint64_t random_state;
static volatile sig_atomic_t ended;

static void on_term(int signal)
{
	(void)signal;
	ended = 1;
}

static bool happens(unsigned per_cent)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (random_state >> 33) % 100 < per_cent;
}

static int wire_end(const char *name)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = (int)if_nametoindex(name) };
	struct packet_mreq all = { .mr_ifindex = addr.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		perror(name);
		exit(1);
	}
	return fd;
}

static void pass(const struct frame *f)
{
	if (send(f->out, f->bytes, (size_t)f->len, 0) < 0)
		lost++;
}

static void let_go(void)
{
	while (n_held)
		pass(&held[--n_held]);
}

static void relay_one(const struct frame *f, const unsigned per_cent[3])
{
	frames++;
	if (happens(per_cent[0])) {
		lost++;
		return;
	}
	if (happens(per_cent[2]) && n_held < HELD_MAX) {
		held[n_held++] = *f;
		late++;
		return;
	}
	pass(f);
	if (happens(per_cent[1])) {
		doubled++;
		pass(f);
	}
}

int main(int argc, char **argv)
{
	struct pollfd pfd[2] = { { .events = POLLIN }, { .events = POLLIN } };
	unsigned per_cent[3];

	if (argc != 7)
		return 2;
	for (int i = 0; i < 2; i++)
		pfd[i].fd = wire_end(argv[1 + i]);
	for (int i = 0; i < 3; i++)
		per_cent[i] = (unsigned)atoi(argv[3 + i]);
	random_state = strtoull(argv[6], NULL, 0);
	signal(SIGTERM, on_term);
	printf("ready\n");
	fflush(stdout);
	while (!ended) {
		static struct frame f;
		/* The late ones go when nothing came for a while: after all that could overtake them. */
		if (poll(pfd, 2, n_held ? LATE_MS : 1000) == 0 || n_held == HELD_MAX)
			let_go();
		for (int i = 0; i < 2; i++) {
			f.out = pfd[!i].fd;
			f.len = recv(pfd[i].fd, f.bytes, sizeof(f.bytes), 0);
			if (f.len > 0)
				relay_one(&f, per_cent);
		}
	}
	printf("relay frames=%lu lost=%lu doubled=%lu late=%lu\n", frames, lost, doubled, late);
	return 0;
}
