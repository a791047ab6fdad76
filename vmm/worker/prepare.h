/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a request to a plan against the guest as it is now. Reads, never writes the guest. */
#ifndef VMPOKE_VMM_WORKER_PREPARE_H
#define VMPOKE_VMM_WORKER_PREPARE_H

#include "vmm/worker/session.h"

struct manifest;
struct payload;

struct prepared {
	char *text;	  /* the patch file, as given or as stored */
	size_t text_len;
	struct patchfile *file;
	struct manifest *manifest; /* NULL: there is none */
	struct vmlinux *vmlinux; /* the file of the guest's kernel, where a kind needs it and somebody has it */
	bool vmlinux_passed;	 /* ... by the client */
	uint8_t *object; /* the object file that goes with it; NULL: it has no sites of kind function */
	size_t object_len;
	struct payload *payload; /* made of it by prepare_plan() ... */
	uint64_t payload_base;	 /* ... for this address; at first one where it may not be in the end */
	struct poke_plan *plan; /* n_sites 0: the guest already holds the new bytes */
};

void prepared_clear(struct prepared *p);

/* The patch a request means: "text" (with "filename"), or "patch", a name whose text was stored. -ENOENT. */
int prepare_file(struct session *s, json_t *args, struct prepared *ret, struct err *e);

/*
 * Opens the file of the guest's kernel when the patch has a kind that needs it: passed with the request
 * ("vmlinux"), or of a machine of our own. Neither: 0, and the kind says what is missing. -ESTALE
 * (ERR_REFUSED, "build-id") when it is another kernel's.
 */
int prepare_vmlinux(struct session *s, json_t *args, struct prepared *p, struct err *e);

/* Gates (release, build-id), symbols, kinds, overlap with patches that are in, plan. Needs prepare_file(). */
int prepare_plan(struct session *s, struct prepared *p, struct err *e);

/* object.c: the payload, opened and linked to where there might be memory for it: whatever is wrong with it shows. */
int prepare_payload(struct session *s, struct prepared *p, struct err *e);
/* Links the payload to base; image has payload_size() bytes. */
int prepare_image(struct session *s, struct prepared *p, uint64_t base, uint8_t *image, struct err *e);
/* The object of a request, or the stored one of a patch that was named. */
int prepare_object(struct session *s, json_t *args, bool stored, struct prepared *p, struct err *e);
/* STATE/patches/VM/NAME.o. 0 also when there is none to be stored. */
int prepare_store_object(struct session *s, const struct prepared *p);
bool prepare_same_object(struct session *s, const struct prepared *p);
/* "STATE/patches/VM/NAME" and suffix. -ENAMETOOLONG. */
int prepare_store_path(const struct session *s, const char *name, const char *suffix, char *buf, size_t cap);
/* Writes it anew, and to the disk. */
int prepare_write_synced(const char *path, const void *bytes, size_t len);

/* STATE/patches/VM/NAME.yaml, replaced atomically, and NAME.o. */
int prepare_store(struct session *s, const struct prepared *p, struct err *e);

/* True when the stored text of that patch is the given one. */
bool prepare_same_text(struct session *s, const struct prepared *p);

/*
 * The plan that takes a patch out again: old and new bytes change places, the group and its excluded
 * ranges stay; the mode is the gentlest safe one for that on a backend with these abilities. -ENOMEM.
 */
int prepare_inverse(const struct poke_plan *plan, unsigned caps, struct poke_plan **ret);

#endif
