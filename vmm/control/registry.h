/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VMs an operator registered, one small file each (STATE/vms/NAME.json), so
 * that a restarted daemon knows them again. Every write is atomic and durable.
 */
#ifndef VMPOKE_CONTROL_REGISTRY_H
#define VMPOKE_CONTROL_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "protocol/agent_addr.h"
#include "protocol/err.h"
#include "protocol/patchfile.h"

#define REGISTRY_VMS_MAX 1024

#define REGISTRY_UUID_MAX 37	/* bytes of a UUID as text, its end included */
#define REGISTRY_ORIGIN_MAX 128 /* the same of who registered a VM */
#define REGISTRY_TEXT_MAX 256 /* bytes of a name or sentence kept for display */

enum registry_kind {
	REGISTRY_QEMU,	  /* another VMM's, reached through its monitor */
	REGISTRY_MACHINE, /* our own: its worker is its VMM */
};

struct registry_entry {
	char name[PATCHFILE_NAME_MAX + 1];
	enum registry_kind kind;
	/* REGISTRY_QEMU */
	char qmp[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* absolute */
	char gdb[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* absolute; "" when none was given */
	char agent[AGENT_ADDR_TEXT_MAX]; /* see agent_addr_parse(); "" when none was given */
	char uuid[REGISTRY_UUID_MAX]; /* lower case; "" when none was given */
	/*
	 * Who registered it, where that was neither root nor vmpoked's own user: the sockets above count only as far as
	 * processes of this user serve them, whatever else vmpoked could connect to.
	 */
	bool has_user;
	uid_t user;
	char origin[REGISTRY_ORIGIN_MAX]; /* the program that registered it and looks after it; "": an operator did */
	/* REGISTRY_MACHINE, all for display: what runs was started with them */
	char kernel[REGISTRY_TEXT_MAX]; /* "" when its name is not known */
	unsigned vcpus;
	uint64_t memory; /* bytes */
	char ended[REGISTRY_TEXT_MAX]; /* why there is no machine any more; "" while there may be one */
};

/* Fills and checks an entry; gdb may be NULL. ERR_USAGE names the member that is wrong. */
int registry_entry_init(struct registry_entry *ret, const char *name, const char *qmp, const char *gdb,
			struct err *e);

/* Where its agent is found (NULL: leaves it as it is). ERR_USAGE. */
int registry_entry_set_agent(struct registry_entry *entry, const char *agent, struct err *e);

/*
 * Which of its manager's VMs it is ("8-4-4-4-12" hex digits) and who registered it (printable ASCII).
 * NULL leaves either as it is. ERR_USAGE.
 */
int registry_entry_set_owner(struct registry_entry *entry, const char *uuid, const char *origin, struct err *e);

/* Is it spelled as a UUID? Upper case counts. */
bool registry_uuid_valid(const char *text);

/* The same for a machine; kernel is cut to what is fit to be shown. */
int registry_machine_init(struct registry_entry *ret, const char *name, const char *kernel, unsigned vcpus,
			  uint64_t memory, struct err *e);

/* Notes why there is no machine any more. */
void registry_machine_end(struct registry_entry *entry, const char *why);

/* Makes STATE/vms when missing and opens it. */
int registry_open(const char *state_dir, int *ret_dirfd, struct err *e);

/* tmp + fsync + rename + fsync of the folder. */
int registry_save(int dirfd, const struct registry_entry *entry, struct err *e);

/* Durable as well; a file that is not there is fine. */
int registry_remove(int dirfd, const char *name, struct err *e);

/* Told of each file that is skipped and why. */
struct registry_report {
	void (*broken)(struct registry_report *report, const char *file, const struct err *e);
};

/*
 * All readable entries, sorted by name, malloc'ed (NULL when none). Broken files are
 * reported and skipped: one bad file must not take the other VMs away.
 */
int registry_load(int dirfd, struct registry_report *report, struct registry_entry **ret, size_t *ret_count,
		  struct err *e);

#endif
