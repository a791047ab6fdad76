// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What SIOCATMARK says of UNIX sockets: "datagram ANSWER, stream ANSWERS". A datagram socket has no
 * mark; a kernel that answers 0 and not with an error has CVE-2026-52928. Asking harms nothing:
 * the queue is empty. Of a stream with "ab" and an urgent "c" the mark is behind the first two.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int at_mark(int fd)
{
	int answer = -1;

	return ioctl(fd, SIOCATMARK, &answer) < 0 ? -errno : answer;
}

int main(void)
{
	int datagram[2], stream[2], queued = -1;
	char buf[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, datagram) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, stream) < 0)
		return 1;
	printf("datagram %d, stream", at_mark(datagram[0]));
	if (send(stream[1], "abc", 3, MSG_OOB) != 3)
		return 1;
	printf(" %d", at_mark(stream[0]));
	ioctl(stream[0], SIOCINQ, &queued);
	if (read(stream[0], buf, 2) != 2)
		return 1;
	printf(" %d, queued %d\n", at_mark(stream[0]), queued);
	return 0;
}
