// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading XML; see xml.h. What libvirt hands out was written by operators and by other hosts. Must never
 * fetch or expand anything.
 */
#include "vmm/libvirt/xml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <string.h>

int xml_parse(const char *text, size_t len, xmlDoc **ret, struct err *e)
{
	if (len > XML_SIZE_MAX)
		return err_set(e, ERR_FAILED, EMSGSIZE, "xml", "the XML is longer than %u bytes", XML_SIZE_MAX);
	_cleanup_(xmlFreeDoc) xmlDoc *doc =
		xmlReadMemory(text, (int)len, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (!doc || !xmlDocGetRootElement(doc))
		return err_set(e, ERR_FAILED, EBADMSG, "xml", "the XML is not well-formed");
	if (doc->intSubset || doc->extSubset)
		return err_set(e, ERR_FAILED, EBADMSG, "xml", "the XML has a document type, which no domain's has");
	*ret = TAKE_PTR(doc);
	return 0;
}

static bool node_is(const xmlNode *node, const char *name, const char *ns)
{
	if (node->type != XML_ELEMENT_NODE || strcmp((const char *)node->name, name) != 0)
		return false;
	return ns ? node->ns && node->ns->href && strcmp((const char *)node->ns->href, ns) == 0 : !node->ns;
}

xmlNode *xml_child(const xmlNode *parent, const xmlNode *after, const char *name, const char *ns)
{
	for (xmlNode *node = after ? after->next : parent ? parent->children : NULL; node; node = node->next)
		if (node_is(node, name, ns))
			return node;
	return NULL;
}
