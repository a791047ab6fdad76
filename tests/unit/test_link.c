// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of links, the reasons of their probes, and the links that are a
 * socket, over sockets of this process. AF_XDP needs root and a kernel: tests/e2e/xdp.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmm/link/link.h"

static char dir[] = "/tmp/test-link.XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/port", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void refuses(const char *link, const struct link_target *target, const char *reason)
{
	char why[LINK_WHY_MAX] = "";

	assert_int_equal(link_find(link)->probe(target, why, sizeof(why)), 0);
	if (!strstr(why, reason))
		fail_msg("%s says '%s', not '%s'", link, why, reason);
}

static void test_table(void **state)
{
	static const char *const names[] = { "virtio-serial", "vsock", "xdp" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_string_equal(link_table[i]->name, names[i]);
		assert_ptr_equal(link_find(names[i]), link_table[i]);
	}
	assert_null(link_table[ARRAY_SIZE(names)]);
	assert_null(link_find("carrier-pigeon"));
}

static void test_nothing_known(void **state)
{
	const struct link_target target = LINK_TARGET_NONE;
	const struct link_ops *ops = (void *)1;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(link_choose(&target, &ops, &e), -ENOENT);
	assert_ptr_equal(ops, (void *)1);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	for (size_t i = 0; link_table[i]; i++)
		assert_non_null(strstr(e.text, link_table[i]->name));
}

static void test_probe_reasons(void **state)
{
	struct link_target target = LINK_TARGET_NONE;

	(void)state;
	refuses("virtio-serial", &target, "no socket");
	target.socket = "/nonexistent/port";
	refuses("virtio-serial", &target, "No such file");
	target.socket = "/dev/null";
	refuses("virtio-serial", &target, "is not a socket");
	target.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	refuses("virtio-serial", &target, "is not a stream socket");
	close(target.fd);
	target.fd = -1;
	refuses("vsock", &target, "no vsock address");
	target.cid = 2;
	target.port = 5;
	refuses("vsock", &target, "not the address of a guest");
	target.cid = 3;
	if (access("/dev/vhost-vsock", F_OK))
		refuses("vsock", &target, "vsock"); /* no AF_VSOCK, or no vhost-vsock */
	/* Long names must not get cut into valid ones, nor overrun. */
	target.ifname = "an-interface-name-that-is-too-long-for-any-kernel-and-goes-on-and-on-and-on";
	target.has_mac = true;
	char why[LINK_WHY_MAX] = "";
	assert_int_equal(link_find("xdp")->probe(&target, why, sizeof(why)), 0);
	assert_true(why[0]);
}

static void test_choose(void **state)
{
	struct link_target target = LINK_TARGET_NONE;
	const struct link_ops *ops = NULL;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	target.fd = fds[0];
	assert_int_equal(link_choose(&target, &ops, NULL), 0);
	assert_string_equal(ops->name, "virtio-serial");
	close(fds[0]);
	close(fds[1]);
}

/* A connected descriptor, as our own VMM hands one over. */
static struct link *open_pair(int *ret_far)
{
	struct link_target target = LINK_TARGET_NONE;
	struct link *link = NULL;
	struct err e = { 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	target.fd = fds[0];
	assert_int_equal(link_find("virtio-serial")->open(&target, &link, &e), 0);
	/* It has a descriptor of its own. */
	close(fds[0]);
	*ret_far = fds[1];
	return link;
}

static void test_stream(void **state)
{
	int far;
	_cleanup_(link_close) struct link *link = open_pair(&far);
	struct link_stats stats;
	struct err e = { 0 };
	char buf[8];

	(void)state;
	assert_int_equal(link->ops->read(link, buf, sizeof(buf), &e), -EAGAIN);
	assert_int_equal(link->ops->timeout_ms(link), -1);
	assert_int_equal(link->ops->events(link), POLLIN);
	assert_int_equal(link->ops->tick(link, &e), 0);
	assert_int_equal(link->ops->write(link, "hello", 5, &e), 5);
	assert_int_equal(read(far, buf, sizeof(buf)), 5);
	assert_int_equal(write(far, "back", 4), 4);
	struct pollfd pfd = { .fd = link->ops->fd(link), .events = POLLIN };
	assert_int_equal(poll(&pfd, 1, 0), 1);
	assert_int_equal(link->ops->read(link, buf, sizeof(buf), &e), 4);
	assert_memory_equal(buf, "back", 4);
	assert_int_equal(link->ops->stats(link, &stats), 0);
	assert_int_equal(stats.rx_bytes, 4);
	assert_int_equal(stats.tx_bytes, 5);
	assert_string_equal(stats.mode, "");
	close(far);
	assert_int_equal(link->ops->read(link, buf, sizeof(buf), &e), 0);
	/* No SIGPIPE. */
	assert_int_equal(link->ops->write(link, "x", 1, &e), -ECONNRESET);
	assert_int_equal(e.kind, ERR_INACTIVE);
}

/* A guest that does not read: what does not fit is not taken, and we are told when it would. */
static void test_full(void **state)
{
	static char block[65536];
	int far;
	_cleanup_(link_close) struct link *link = open_pair(&far);
	struct err e = { 0 };
	size_t taken = 0, back = 0;
	ssize_t n;

	(void)state;
	while ((n = link->ops->write(link, block, sizeof(block), &e)) > 0)
		taken += (size_t)n;
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(e.error, 0);
	assert_int_equal(link->ops->events(link), POLLIN | POLLOUT);
	while (back < taken && (n = read(far, block, sizeof(block))) > 0)
		back += (size_t)n;
	assert_int_equal(back, taken);
	assert_int_equal(link->ops->write(link, "x", 1, &e), 1);
	assert_int_equal(link->ops->events(link), POLLIN);
	close(far);
}

static void test_socket_path(void **state)
{
	struct link_target target = LINK_TARGET_NONE;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_(link_close) struct link *link = NULL;
	_cleanup_close_ int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char why[LINK_WHY_MAX], c;
	struct err e = { 0 };

	(void)state;
	strcpy(addr.sun_path, path);
	assert_int_equal(bind(server, (struct sockaddr *)&addr, sizeof(addr)), 0);
	target.socket = path;
	assert_int_equal(link_find("virtio-serial")->open(&target, &link, &e), -ECONNREFUSED);
	assert_non_null(strstr(e.text, path));
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(link_find("virtio-serial")->probe(&target, why, sizeof(why)), 1);
	/* Somebody else's socket is not for who registered the VM. */
	target.has_user = true;
	target.user = getuid() + 1;
	assert_int_equal(link_find("virtio-serial")->open(&target, &link, &e), -EACCES);
	assert_string_equal(e.rule, "foreign-socket");
	close(accept(server, NULL, NULL));
	target.user = geteuid();
	assert_int_equal(link_find("virtio-serial")->open(&target, &link, &e), 0);
	_cleanup_close_ int peer = accept(server, NULL, NULL);
	assert_int_equal(write(peer, "q", 1), 1);
	assert_int_equal(link->ops->read(link, &c, 1, &e), 1);
	assert_int_equal(c, 'q');
}

/* A tap may be anybody's: it is refused before it is looked at. */
static void test_tap_of_a_user(void **state)
{
	struct link_target target = LINK_TARGET_NONE;
	const struct link_ops *xdp = link_find("xdp");
	struct link *link = NULL;
	char why[LINK_WHY_MAX];
	struct err e = { 0 };

	(void)state;
	target.ifname = "lo";
	target.has_mac = true;
	memcpy(target.mac, "\x52\x54\x00\x00\x00\x01", sizeof(target.mac));
	target.has_user = true;
	target.user = geteuid() + 1;
	int r = xdp->open(&target, &link, &e);
	if (r == -EOPNOTSUPP)
		skip(); /* built without XDP */
	assert_int_equal(r, -EACCES);
	assert_int_equal(e.kind, ERR_REFUSED);
	assert_int_equal(xdp->probe(&target, why, sizeof(why)), 0);
	assert_non_null(strstr(why, "root's alone"));
}

static void test_close_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; link_table[i]; i++)
		if (link_table[i]->close)
			link_table[i]->close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),	 cmocka_unit_test(test_nothing_known), cmocka_unit_test(test_probe_reasons),
		cmocka_unit_test(test_choose),	 cmocka_unit_test(test_stream),	       cmocka_unit_test(test_full),
		cmocka_unit_test(test_socket_path), cmocka_unit_test(test_tap_of_a_user),
		cmocka_unit_test(test_close_nothing),
	};

	return cmocka_run_group_tests_name("link", tests, make_dir, remove_dir);
}
