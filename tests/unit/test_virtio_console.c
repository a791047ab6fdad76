// SPDX-License-Identifier: GPL-2.0-or-later
/* The agent's port: handshake, bytes both ways, back pressure both ways, hosts that come and go, guests that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/fake/fake_virtio.h"
#include "vmm/kvm/virtio_console.h"

#define MEMORY	 (16ull << 20)
#define CONTROL	 0x100000ull /* a page for each buffer of the guest */
#define DATA	 0x200000ull
#define RING	 16

enum { READY = 0, ADD = 1, PORT_READY = 3, OPEN = 6, NAME = 7 };

struct control {
	uint32_t id;
	uint16_t event, value;
};

static struct memory mem;
static struct fake_line line;
static struct virtio_console *console;
static struct virtio_device *dev;
static struct fake_driver drv;

static void offer_control(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct fake_buf buf = { CONTROL + i * 4096ull, 64, true };
		fake_add(&drv, CONSOLE_CONTROL_IN, &buf, 1);
	}
}

static void up(void)
{
	fake_up(&drv, dev, &mem, RING);
	offer_control(8);
}

static int setup(void **state)
{
	(void)state;
	fake_line_init(&line);
	if (memory_init(&mem, MEMORY, NULL) < 0 || virtio_console_create(&mem, &line.irq, &console, NULL) < 0)
		return -1;
	dev = virtio_console_device(console);
	up();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtio_console_destroy(console);
	memory_done(&mem);
	return 0;
}

static void say(uint32_t id, uint16_t event, uint16_t value)
{
	const struct control m = { id, event, value };
	const struct fake_buf buf = { CONTROL + 0x10000, sizeof(m), false };

	memory_write(&mem, buf.gpa, &m, sizeof(m));
	fake_add(&drv, CONSOLE_CONTROL_OUT, &buf, 1);
	virtio_work(dev);
	assert_int_not_equal(fake_used(&drv, CONSOLE_CONTROL_OUT, NULL), -1);
}

/* The next control message to the guest is this one. */
static void hears(uint16_t event, uint16_t value)
{
	struct control m;
	uint32_t len;
	int head = fake_used(&drv, CONSOLE_CONTROL_IN, &len);

	assert_int_not_equal(head, -1);
	memory_read(&mem, CONTROL + (unsigned)head * 4096ull, &m, sizeof(m));
	assert_int_equal(m.id, 1);
	assert_int_equal(m.event, event);
	assert_int_equal(m.value, value);
	if (event == NAME) {
		char name[64] = "";
		memory_read(&mem, CONTROL + (unsigned)head * 4096ull + sizeof(m), name, len - sizeof(m));
		assert_string_equal(name, "org.vmpoke.agent.0");
	} else {
		assert_int_equal(len, sizeof(m));
	}
}

static void hears_nothing(void)
{
	assert_int_equal(fake_used(&drv, CONSOLE_CONTROL_IN, NULL), -1);
}

static void open_port(void)
{
	say(0xffffffff, READY, 1);
	hears(ADD, 1);
	say(1, PORT_READY, 1);
	hears(NAME, 1);
	say(1, OPEN, 1);
}

static int plug(void)
{
	struct err e = { 0 };
	int fd = virtio_console_connect(console, &e);

	assert_true(fd >= 0);
	virtio_work(dev);
	return fd;
}

static void handshake(void **state)
{
	uint64_t opens;

	(void)state;
	assert_int_equal(fake_reg(dev, 0x104), 2); /* max_nr_ports */
	open_port();
	hears_nothing(); /* no host yet */
	assert_true(virtio_console_is_open(console, &opens));
	assert_int_equal(opens, 1);
	say(1, OPEN, 1); /* once is enough */
	int fd = plug();
	hears(OPEN, 1);
	say(1, OPEN, 0);
	say(1, OPEN, 1);
	assert_true(virtio_console_is_open(console, &opens));
	assert_int_equal(opens, 2);
	close(fd);
	virtio_work(dev);
	hears(OPEN, 0);
	hears_nothing();
}

/* The guest has to see that it is another host, even when the new one is there before the old one goes. */
static void hosts_come_and_go(void **state)
{
	(void)state;
	open_port();
	int a = plug();
	hears(OPEN, 1);
	int b = plug();
	hears(OPEN, 0);
	hears(OPEN, 1);
	hears_nothing();
	assert_int_equal(read(a, &(char){ 0 }, 1), 0);
	close(a);
	virtio_work(dev);
	hears_nothing();
	assert_int_equal(write(b, "x", 1), 1);
	close(b);
	virtio_work(dev); /* the guest offers no buffer: the byte is dropped, the end is seen */
	hears(OPEN, 0);
}

static void host_to_guest(void **state)
{
	char got[16] = "";
	uint32_t len;

	(void)state;
	open_port();
	int fd = plug();
	const struct fake_buf small = { DATA, 4, true }, large = { DATA + 4096, 4096, true };
	assert_int_equal(write(fd, "abcdefg", 7), 7);
	fake_add(&drv, CONSOLE_PORT_IN, &small, 1);
	virtio_work(dev);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_IN, &len), 0);
	assert_int_equal(len, 4);
	fake_add(&drv, CONSOLE_PORT_IN, &large, 1);
	virtio_work(dev);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_IN, &len), 1);
	assert_int_equal(len, 3);
	memory_read(&mem, DATA, got, 4);
	memory_read(&mem, DATA + 4096, got + 4, 3);
	assert_string_equal(got, "abcdefg");
	close(fd);
}

/* Not before the port is open: Linux would drop it. */
static void closed_port_gets_nothing(void **state)
{
	const struct fake_buf buf = { DATA, 4096, true };
	uint32_t len;

	(void)state;
	open_port();
	int fd = plug();
	say(1, OPEN, 0);
	fake_add(&drv, CONSOLE_PORT_IN, &buf, 1);
	assert_int_equal(write(fd, "later", 5), 5);
	virtio_work(dev);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_IN, &len), -1);
	say(1, OPEN, 1);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_IN, &len), 0);
	assert_int_equal(len, 5);
	close(fd);
}

/* A guest that never reads: the host is told "full", and the device sleeps. */
static void guest_does_not_read(void **state)
{
	static const uint8_t zeroes[65536];
	struct pollfd p = { .fd = -1 };
	size_t sent = 0;
	ssize_t n;

	(void)state;
	open_port();
	int fd = plug();
	while ((n = write(fd, zeroes, sizeof(zeroes))) > 0) {
		sent += (size_t)n;
		virtio_work(dev);
		assert_true(sent < 4u << 20);
	}
	assert_int_equal(errno, EAGAIN);
	dev->ops->wants(dev, &p);
	assert_int_equal(p.events, 0);
	close(fd);
}

/* A host that never reads: the guest's request stays with us, its others in its queue; nothing is lost. */
static void host_does_not_read(void **state)
{
	static uint8_t out[65536], in[65536];
	struct pollfd p = { .fd = -1 };
	uint64_t sent = 0, got = 0;
	ssize_t n;

	(void)state;
	open_port();
	int fd = plug();
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	memory_write(&mem, DATA, out, sizeof(out));
	const struct fake_buf buf = { DATA, sizeof(out), false };
	do {
		fake_add(&drv, CONSOLE_PORT_OUT, &buf, 1);
		sent += sizeof(out);
		virtio_work(dev);
		assert_true(sent < 4u << 20);
	} while (fake_used(&drv, CONSOLE_PORT_OUT, NULL) >= 0);
	dev->ops->wants(dev, &p);
	assert_int_equal(p.events, POLLOUT);
	fake_add(&drv, CONSOLE_PORT_OUT, &buf, 1);
	sent += sizeof(out);
	while ((n = read(fd, in, 1000)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(in[i], out[(got + (uint64_t)i) % sizeof(out)]);
		got += (uint64_t)n;
		virtio_work(dev);
	}
	assert_int_equal(got, sent);
	assert_int_not_equal(fake_used(&drv, CONSOLE_PORT_OUT, NULL), -1);
	assert_int_not_equal(fake_used(&drv, CONSOLE_PORT_OUT, NULL), -1);
	close(fd);
}

/* Nobody listens: what the guest sends is taken and dropped. */
static void no_host(void **state)
{
	const struct fake_buf buf = { DATA, 100000, false };

	(void)state;
	open_port();
	fake_add(&drv, CONSOLE_PORT_OUT, &buf, 1);
	virtio_work(dev);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_OUT, NULL), 0);
}

static void hostile_guest(void **state)
{
	const struct fake_buf bad_out = { MEMORY, 4096, false }, bad_in = { MEMORY - 2, 4096, true },
			      empty = { DATA, 0, true }, cut = { CONTROL, 3, false };
	uint32_t len;

	(void)state;
	say(7, PORT_READY, 1);
	say(0, OPEN, 1);
	say(1, 0xffff, 0xffff);
	assert_false(virtio_console_is_open(console, NULL));
	hears_nothing();
	fake_add(&drv, CONSOLE_CONTROL_OUT, &cut, 1);
	virtio_work(dev);
	assert_int_not_equal(fake_used(&drv, CONSOLE_CONTROL_OUT, NULL), -1);
	open_port();
	int fd = plug();
	fake_add(&drv, CONSOLE_PORT_OUT, &bad_out, 1);
	fake_add(&drv, CONSOLE_PORT_IN, &empty, 1);
	fake_add(&drv, CONSOLE_PORT_IN, &bad_in, 1);
	assert_int_equal(write(fd, "abc", 3), 3);
	virtio_work(dev);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_OUT, NULL), 0);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_IN, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_IN, &len), 1);
	assert_int_equal(len, 0);
	assert_true(virtio_running(dev));
	close(fd);
}

/* Messages wait for buffers, as bits: asking a thousand times does not make more of them. */
static void control_queue_full(void **state)
{
	(void)state;
	fake_up(&drv, dev, &mem, RING);
	for (int i = 0; i < 1000; i++) {
		say(0, READY, 1);
		say(1, PORT_READY, 1);
	}
	offer_control(8);
	virtio_work(dev);
	hears(ADD, 1);
	hears(NAME, 1);
	hears_nothing();
}

static void reset_forgets(void **state)
{
	const struct fake_buf buf = { DATA, 65536, false };

	(void)state;
	open_port();
	int fd = plug();
	for (int i = 0; i < 10; i++)
		fake_add(&drv, CONSOLE_PORT_OUT, &buf, 1);
	virtio_work(dev); /* now it has one in hand */
	up();
	assert_false(virtio_console_is_open(console, NULL));
	virtio_work(dev);
	assert_int_equal(fake_used(&drv, CONSOLE_PORT_OUT, NULL), -1);
	hears_nothing();
	say(0, READY, 1);
	hears(ADD, 1);
	say(1, PORT_READY, 1);
	hears(NAME, 1);
	hears(OPEN, 1); /* the host is still there */
	close(fd);
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* With its thread: 50 lives leave no descriptor behind, and a host is served without being asked for. */
static void threads_and_descriptors(void **state)
{
	unsigned before = count_fds();

	(void)state;
	for (int i = 0; i < 50; i++) {
		const struct fake_buf buf = { DATA, 5, false };
		struct virtio_console *c;
		char got[8] = "";
		assert_int_equal(virtio_console_create(&mem, &line.irq, &c, NULL), 0);
		assert_int_equal(virtio_start(virtio_console_device(c), NULL), 0);
		int fd = virtio_console_connect(c, NULL);
		struct pollfd p = { .fd = fd, .events = POLLIN };
		struct fake_driver f;
		fake_up(&f, virtio_console_device(c), &mem, RING);
		memory_write(&mem, DATA, "hello", 5);
		fake_add(&f, CONSOLE_PORT_OUT, &buf, 1);
		fake_set(virtio_console_device(c), 0x50, CONSOLE_PORT_OUT);
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(read(fd, got, sizeof(got)), 5);
		assert_string_equal(got, "hello");
		virtio_console_destroy(c);
		assert_int_equal(read(fd, got, sizeof(got)), 0);
		close(fd);
	}
	assert_int_equal(count_fds(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(hosts_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(host_to_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(closed_port_gets_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(guest_does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(host_does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(no_host, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(control_queue_full, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_forgets, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_and_descriptors, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
