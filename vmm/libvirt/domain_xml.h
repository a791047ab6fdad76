/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a domain's XML says that concerns us: who it is, where its agent's channel is, whether it has a
 * monitor of ours; and the elements an operator adds to give it these.
 * Source of the format: https://libvirt.org/formatdomain.html, drvqemu.html ("Pass-through of arbitrary
 * qemu commands").
 */
#ifndef VMPOKE_LIBVIRT_DOMAIN_XML_H
#define VMPOKE_LIBVIRT_DOMAIN_XML_H

#include <stdbool.h>
#include <sys/un.h>

#include "protocol/err.h"

#define DOMAIN_CHANNEL "org.vmpoke.agent.0"
#define DOMAIN_QEMU_NS "http://libvirt.org/schemas/domain/qemu/1.0"
#define DOMAIN_PATH_MAX sizeof(((struct sockaddr_un *)0)->sun_path)

struct domain_facts {
	char uuid[37];			/* lower case */
	bool has_channel;		/* a virtio channel of the agent's name, whatever is on its host side */
	char agent[DOMAIN_PATH_MAX];	/* the unix socket of that channel, absolute; "" when there is none */
	/* Sockets on QEMU's command line whose file's name begins with "vmpoke": others are somebody else's. */
	char qmp[DOMAIN_PATH_MAX], gdb[DOMAIN_PATH_MAX]; /* "" when there is none */
};

/* -EBADMSG: not a domain, or its UUID is none; -EMSGSIZE. What is too long or odd for a path counts as absent. */
int domain_xml_read(const char *xml, struct domain_facts *ret, struct err *e);

/*
 * The elements setup-domain asks for, as text to be pasted: the agent's channel, and with monitor (the
 * path of the socket to be, or NULL) a second monitor and a stub beside it. malloc'ed, or NULL.
 */
char *domain_xml_snippet(const char *monitor);

/*
 * The domain's XML with what of that is missing added: 1 and *ret (malloc'ed), 0 when nothing is. monitor: as
 * above; a domain that has such a monitor keeps it. -EINVAL: not an absolute path whose name begins with "vmpoke".
 */
int domain_xml_add(const char *xml, const char *monitor, char **ret, struct err *e);

#endif
