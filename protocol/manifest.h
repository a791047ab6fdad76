/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The manifest of a patch (YAML, format version 1): the small file that is signed.
 * It says which patch file is meant, for which kernels and VMs, until when, and the
 * how-manieth manifest of this patch it is. docs/policy.md describes it. The text is
 * untrusted even when its signature is good: size and lists are bounded.
 */
#ifndef VMPOKE_PROTOCOL_MANIFEST_H
#define VMPOKE_PROTOCOL_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/patchfile.h"

#define MANIFEST_SIZE_MAX (32u << 10) /* bytes of text */
#define MANIFEST_HASH_LEN 32	      /* SHA-256 */
#define MANIFEST_OBJECTS_MAX 8
#define MANIFEST_BUILD_IDS_MAX 64
#define MANIFEST_VMS_MAX 32
#define MANIFEST_SERIAL_MAX (1LL << 53)

struct manifest_build_id {
	uint8_t bytes[32];
	size_t len; /* 8..32 */
};

struct manifest {
	char patch[PATCHFILE_NAME_MAX + 1];
	uint8_t sha256[MANIFEST_HASH_LEN]; /* of the patch file */
	size_t n_objects;		   /* of the object files it comes with, in order */
	uint8_t objects[MANIFEST_OBJECTS_MAX][MANIFEST_HASH_LEN];
	size_t n_build_ids; /* 0: any kernel */
	struct manifest_build_id build_ids[MANIFEST_BUILD_IDS_MAX];
	size_t n_vms; /* 0: any VM; else patterns as of fnmatch(3) */
	char vms[MANIFEST_VMS_MAX][PATCHFILE_NAME_MAX + 1];
	int64_t expires; /* seconds since 1970, UTC: not to be applied from then on; 0: never */
	uint64_t serial; /* 1..MANIFEST_SERIAL_MAX */
};

/* filename is only used in sentences. ERR_USAGE with "FILE:LINE: ...", rule "manifest"; -EINVAL, -EFBIG, -ENOMEM. */
int manifest_parse(const char *text, size_t len, const char *filename, struct manifest *ret, struct err *e);

/* The text that parses to m again, malloc'ed. -ENOMEM. */
int manifest_format(const struct manifest *m, char **ret);

bool manifest_allows_build_id(const struct manifest *m, const uint8_t *id, size_t len);
bool manifest_allows_vm(const struct manifest *m, const char *vm);

/* "2027-01-31" (its first second) or "2027-01-31T12:00:00Z", years 1971 to 9999; -EINVAL. And back: buf has 21 bytes. */
int manifest_time_parse(const char *text, int64_t *ret);
void manifest_time_format(int64_t t, char buf[static 21]);

/* True for a pattern that may stand in "vms": what a VM's name may hold, and "*?[]". */
bool manifest_vm_pattern_valid(const char *text);

#endif
