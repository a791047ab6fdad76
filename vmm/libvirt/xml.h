/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libxml2 as the files of this folder use it: one bounded way to read a document that nobody vouches for. */
#ifndef VMPOKE_LIBVIRT_XML_H
#define VMPOKE_LIBVIRT_XML_H

#include <libxml/tree.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define XML_SIZE_MAX (4u << 20) /* bytes; what libvirt's own protocol takes for a domain */

DEFINE_CLEANUP(xmlDoc, xmlFreeDoc)

static inline void xml_text_free(xmlChar *text)
{
	xmlFree(text);
}
DEFINE_CLEANUP(xmlChar, xml_text_free)

/*
 * Parses a document: no network, no entities, no document type (-EBADMSG when it has one, or is not
 * well-formed), no larger than XML_SIZE_MAX (-EMSGSIZE).
 */
int xml_parse(const char *text, size_t len, xmlDoc **ret, struct err *e);

/*
 * The next element child of parent after 'after' (NULL: the first) with that name in that namespace
 * (NULL: none), or NULL.
 */
xmlNode *xml_child(const xmlNode *parent, const xmlNode *after, const char *name, const char *ns);

#endif
