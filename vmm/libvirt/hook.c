// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmpoke-hook: what libvirt's hook script runs, while libvirtd holds the domain and waits. One datagram to
 * vmpoke-libvirt, or none. Must never wait, never fail and never read the XML it is offered.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/libvirt/hook.h"

int main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/run/vmpoke-libvirt/" HOOK_SOCKET };
	char message[HOOK_SIZE_MAX];
	int at = 1;

	if (argc > 2 && strcmp(argv[1], "-s") == 0 && strlen(argv[2]) < sizeof(addr.sun_path)) {
		strcpy(addr.sun_path, argv[2]);
		at = 3;
	}
	if (argc < at + 2)
		return 0;
	int len = snprintf(message, sizeof(message), "%s\n%s\n%s", argv[at], argv[at + 1], argc > at + 2 ? argv[at + 2] : "");
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && len > 0 && len < (int)sizeof(message))
		(void)!sendto(fd, message, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&addr, sizeof(addr));
	return 0;
}
