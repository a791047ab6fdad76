// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmpoke-agent: options, then poll for ever. Must not become a daemon by itself,
 * write a file or read its environment: who starts it decides about all that.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest-agent/roots.h"

/* Static: the agent has all the memory it will ever use when it starts. */
static struct agent agent;

static const char usage[] =
	"usage: vmpoke-agent [--link port|vsock|packet] [--where PLACE] [--key FILE]\n"
	"Answers vmpoke on the host. It tells; it changes nothing.\n"
	"  -l, --link NAME    port (default): a virtio-serial port; vsock: listens for the host;\n"
	"                     packet: Ethernet frames\n"
	"  -w, --where PLACE  the port's device, the vsock port's number, or the network interface\n"
	"  -k, --key FILE     64 hex digits, the same as the host's; readable by root alone\n"
	"  -h, --help\n"
	"  -V, --version\n";

static int complain(const char *what, const char *why)
{
	dprintf(STDERR_FILENO, "vmpoke-agent: %s: %s\n", what, why);
	return EXIT_FAILURE;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse_key(const char *text, uint8_t key[AGENT_KEY_LEN])
{
	for (size_t i = 0; i < AGENT_KEY_LEN; i++, text += 2) {
		int hi = digit(text[0]), lo = hi < 0 ? -1 : digit(text[1]);
		if (lo < 0)
			return -EINVAL;
		key[i] = (uint8_t)(hi << 4 | lo);
	}
	return text[strspn(text, " \n")] ? -EINVAL : 0;
}

/* A key that others can read is none. */
static int load_key(const char *path, uint8_t key[AGENT_KEY_LEN])
{
	char text[2 * AGENT_KEY_LEN + 8] = "";
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || read(fd, text, sizeof(text) - 1) < 0)
		r = -errno;
	else if (st.st_mode & 077)
		r = -EPERM;
	close(fd);
	return r ? r : parse_key(text, key);
}

static int serve(void)
{
	for (;;) {
		int r = agent_pump(&agent);
		if (r < 0)
			return complain(agent.where, strerror(-r));
		struct pollfd p = { 0 };
		p.fd = agent_poll_fd(&agent, &p.events);
		if (poll(&p, 1, agent_timeout(&agent)) < 0 && errno != EINTR)
			return complain("poll", strerror(errno));
	}
}

static int start(const char *link_name, const char *where, const char *key_file)
{
	struct agent_link *link = link_name ? agent_link_find(link_name) : agent_link_at(0);
	uint8_t key[AGENT_KEY_LEN];
	struct agent_roots roots;
	int r;

	if (!link)
		return complain(link_name, "no such link");
	where = where ? where : link->ops->where;
	if (!where)
		return complain(link_name, "--where is needed for this link");
	if (key_file && (r = load_key(key_file, key)))
		return complain(key_file, r == -EPERM  ? "others than its owner can read it" :
					  r == -EINVAL ? "not 64 hex digits" :
							 strerror(-r));
	r = roots_open(&roots);
	if (!r)
		r = agent_init(&agent, link, where, &roots, key_file ? key : NULL);
	memset(key, 0, sizeof(key));
	if (r)
		return complain("cannot start", strerror(-r));
	signal(SIGPIPE, SIG_IGN);
	return serve();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "link", required_argument, NULL, 'l' }, { "where", required_argument, NULL, 'w' },
		{ "key", required_argument, NULL, 'k' },  { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },	  { 0 },
	};
	const char *link_name = NULL, *where = NULL, *key = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "l:w:k:hV", options, NULL)) != -1)
		switch (opt) {
		case 'l':
			link_name = optarg;
			break;
		case 'w':
			where = optarg;
			break;
		case 'k':
			key = optarg;
			break;
		case 'h':
			return write(STDOUT_FILENO, usage, sizeof(usage) - 1) < 0;
		case 'V':
			return dprintf(STDOUT_FILENO, "vmpoke-agent %s\n", VMPOKE_VERSION) < 0;
		default:
			return 2;
		}
	if (optind < argc)
		return complain(argv[optind], "unexpected argument"), 2;
	return start(link_name, where, key);
}
