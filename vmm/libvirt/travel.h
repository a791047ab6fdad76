/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records of applied patches in a domain's metadata, with which they go wherever the domain goes:
 *
 *   <vmpoke:patches xmlns:vmpoke="urn:vmpoke:patches:1">JSON</vmpoke:patches>
 *
 * JSON is the array of patch-export, in ASCII. libvirt wants one element for each namespace and keeps it
 * in the live definition only, so that a cold start has none.
 */
#ifndef VMPOKE_LIBVIRT_TRAVEL_H
#define VMPOKE_LIBVIRT_TRAVEL_H

#include <jansson.h>

#include "protocol/err.h"

#define TRAVEL_NS "urn:vmpoke:patches:1"
#define TRAVEL_PREFIX "vmpoke"
#define TRAVEL_SIZE_MAX (256u << 10) /* bytes of JSON */
#define TRAVEL_RECORDS_MAX 1024

/*
 * The element for records (a borrowed array that is not empty), malloc'ed. -EMSGSIZE: too many or too large,
 * the sentence says how large they are; -EINVAL: not an array of objects.
 */
int travel_format(json_t *records, char **ret, struct err *e);

/* The array in an element that libvirt gave back (new reference). -EBADMSG, -EMSGSIZE. */
int travel_parse(const char *xml, json_t **ret, struct err *e);

#endif
