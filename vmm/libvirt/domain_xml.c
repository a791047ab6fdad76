// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading a domain's XML; see domain_xml.h. The XML is an operator's, on a migration another host's: whatever
 * is not exactly what we look for counts as absent. Must never take a socket for ours by its place alone.
 */
#include "vmm/libvirt/domain_xml.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "vmm/libvirt/xml.h"

#define ARGS_MAX 1024 /* elements looked at on a command line */

/* Path of a unix socket fit for us: absolute, printable, short enough. */
static bool path_fits(const char *path, size_t len)
{
	if (len == 0 || len >= DOMAIN_PATH_MAX || path[0] != '/')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
			return false;
	return true;
}

static void read_uuid(const xmlNode *root, struct domain_facts *facts)
{
	xmlNode *node = xml_child(root, NULL, "uuid", NULL);
	_cleanup_(xml_text_free) xmlChar *text = node ? xmlNodeGetContent(node) : NULL;
	const char *at = text ? (const char *)text : "";
	size_t n = 0;

	at += strspn(at, " \t\r\n");
	for (; n < 36 && (n == 8 || n == 13 || n == 18 || n == 23 ? at[n] == '-' : isxdigit((unsigned char)at[n])); n++)
		facts->uuid[n] = (char)tolower((unsigned char)at[n]);
	if (n != 36 || at[n + strspn(at + n, " \t\r\n")])
		facts->uuid[0] = '\0';
}

static void read_channel(const xmlNode *channel, struct domain_facts *facts)
{
	xmlNode *target = xml_child(channel, NULL, "target", NULL), *source = xml_child(channel, NULL, "source", NULL);
	_cleanup_(xml_text_free) xmlChar *name = target ? xmlGetNoNsProp(target, BAD_CAST "name") : NULL;
	_cleanup_(xml_text_free) xmlChar *kind = xmlGetNoNsProp(channel, BAD_CAST "type");
	_cleanup_(xml_text_free) xmlChar *path = source ? xmlGetNoNsProp(source, BAD_CAST "path") : NULL;

	if (!name || strcmp((const char *)name, DOMAIN_CHANNEL) != 0)
		return;
	facts->has_channel = true;
	if (kind && !strcmp((const char *)kind, "unix") && path && path_fits((const char *)path, strlen((const char *)path)))
		strcpy(facts->agent, (const char *)path);
}

static void read_devices(const xmlNode *devices, struct domain_facts *facts)
{
	for (xmlNode *c = xml_child(devices, NULL, "channel", NULL); c && !facts->has_channel;
	     c = xml_child(devices, c, "channel", NULL))
		read_channel(c, facts);
}

/* "unix:PATH[,option...]" of a file that is called vmpoke-something. A comma in a path is doubled: not for us. */
static void read_socket(const char *value, char path[static DOMAIN_PATH_MAX])
{
	static const char ours[] = "vmpoke";

	if (strncmp(value, "unix:", 5) != 0)
		return;
	value += 5;
	size_t len = strcspn(value, ",");
	if (!path_fits(value, len) || value[len + strspn(value + len, ",")] == '\0')
		return; /* without options QEMU would connect, not listen */
	memcpy(path, value, len);
	path[len] = '\0';
	if (strncmp(strrchr(path, '/') + 1, ours, sizeof(ours) - 1) != 0)
		path[0] = '\0';
}

static void read_command_line(const xmlNode *line, struct domain_facts *facts)
{
	_cleanup_(xml_text_free) xmlChar *before = NULL;
	unsigned n = 0;

	for (xmlNode *arg = xml_child(line, NULL, "arg", DOMAIN_QEMU_NS); arg && n++ < ARGS_MAX;
	     arg = xml_child(line, arg, "arg", DOMAIN_QEMU_NS)) {
		_cleanup_(xml_text_free) xmlChar *value = xmlGetNoNsProp(arg, BAD_CAST "value");

		if (before && value && !strcmp((const char *)before, "-qmp") && !facts->qmp[0])
			read_socket((const char *)value, facts->qmp);
		if (before && value && !strcmp((const char *)before, "-gdb") && !facts->gdb[0])
			read_socket((const char *)value, facts->gdb);
		xmlFree(before);
		before = TAKE_PTR(value);
	}
}

int domain_xml_read(const char *xml, struct domain_facts *ret, struct err *e)
{
	_cleanup_(xmlFreeDoc) xmlDoc *doc = NULL;
	struct domain_facts facts = { 0 };
	int r = xml_parse(xml, strlen(xml), &doc, e);

	if (r < 0)
		return r;
	const xmlNode *root = xmlDocGetRootElement(doc);
	if (strcmp((const char *)root->name, "domain") != 0)
		return err_set(e, ERR_FAILED, EBADMSG, "xml", "the XML is not a domain's");
	read_uuid(root, &facts);
	if (!facts.uuid[0])
		return err_set(e, ERR_FAILED, EBADMSG, "xml", "the domain's XML has no UUID");
	read_devices(xml_child(root, NULL, "devices", NULL), &facts);
	read_command_line(xml_child(root, NULL, "commandline", DOMAIN_QEMU_NS), &facts);
	*ret = facts;
	return 0;
}
