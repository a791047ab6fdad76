// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What setup-domain prints or adds; see domain_xml.h. Must never change anything of a domain but add the two
 * things it was asked for, and never add them twice.
 */
#include <errno.h>
#include <string.h>

#include "vmm/libvirt/domain_xml.h"
#include "vmm/libvirt/xml.h"

#define SUFFIX ",server=on,wait=off"

/* "DIR/vmpoke-web1.qmp" to "DIR/vmpoke-web1.gdb"; what does not end so gets the ending. */
static void stub_path(const char *monitor, char *out, size_t cap)
{
	size_t len = strlen(monitor), end = len > 4 && !strcmp(monitor + len - 4, ".qmp") ? len - 4 : len;

	snprintf(out, cap, "%.*s.gdb", (int)end, monitor);
}

static int monitor_check(const char *monitor, struct err *e)
{
	const char *slash = strrchr(monitor, '/');

	if (monitor[0] != '/' || strncmp(slash + 1, "vmpoke", 6) != 0 || strpbrk(monitor, ",'\"<>&") ||
	    strlen(monitor) + 4 >= DOMAIN_PATH_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "", "the monitor's socket must be an absolute path of at most %zu bytes "
			       "whose file name begins with 'vmpoke', not '%s'", DOMAIN_PATH_MAX - 5, monitor);
	return 0;
}

char *domain_xml_snippet(const char *monitor)
{
	static const char channel[] = "<devices>\n"
				      "  <channel type='unix'>\n"
				      "    <target type='virtio' name='" DOMAIN_CHANNEL "'/>\n"
				      "  </channel>\n"
				      "</devices>\n";
	char gdb[DOMAIN_PATH_MAX + 8], *text = NULL;
	int r;

	if (!monitor)
		return strdup(channel);
	stub_path(monitor, gdb, sizeof(gdb));
	r = asprintf(&text, "%s<qemu:commandline xmlns:qemu='" DOMAIN_QEMU_NS "'>\n"
		     "  <qemu:arg value='-qmp'/>\n  <qemu:arg value='unix:%s" SUFFIX "'/>\n"
		     "  <qemu:arg value='-gdb'/>\n  <qemu:arg value='unix:%s" SUFFIX "'/>\n"
		     "</qemu:commandline>\n", channel, monitor, gdb);
	return r < 0 ? NULL : text;
}

static bool add_channel(xmlNode *root)
{
	xmlNode *devices = xml_child(root, NULL, "devices", NULL);
	xmlNode *channel = devices ? xmlNewChild(devices, NULL, BAD_CAST "channel", NULL) : NULL;
	xmlNode *target = channel ? xmlNewChild(channel, NULL, BAD_CAST "target", NULL) : NULL;

	return target && xmlNewProp(channel, BAD_CAST "type", BAD_CAST "unix") &&
	       xmlNewProp(target, BAD_CAST "type", BAD_CAST "virtio") &&
	       xmlNewProp(target, BAD_CAST "name", BAD_CAST DOMAIN_CHANNEL);
}

static bool add_arg(xmlNode *line, const char *value)
{
	xmlNode *arg = xmlNewChild(line, line->ns, BAD_CAST "arg", NULL);

	return arg && xmlNewProp(arg, BAD_CAST "value", BAD_CAST value);
}

static bool add_socket(xmlNode *line, const char *option, const char *path)
{
	char value[DOMAIN_PATH_MAX + 64];

	snprintf(value, sizeof(value), "unix:%s" SUFFIX, path);
	return add_arg(line, option) && add_arg(line, value);
}

static bool add_monitor(xmlNode *root, const char *monitor)
{
	xmlNode *line = xml_child(root, NULL, "commandline", DOMAIN_QEMU_NS);
	char gdb[DOMAIN_PATH_MAX + 8];

	if (!line) {
		xmlNs *ns = xmlSearchNsByHref(root->doc, root, BAD_CAST DOMAIN_QEMU_NS);
		if (!ns)
			ns = xmlNewNs(root, BAD_CAST DOMAIN_QEMU_NS, BAD_CAST "qemu");
		line = ns ? xmlNewChild(root, ns, BAD_CAST "commandline", NULL) : NULL;
	}
	stub_path(monitor, gdb, sizeof(gdb));
	return line && add_socket(line, "-qmp", monitor) && add_socket(line, "-gdb", gdb);
}

int domain_xml_add(const char *xml, const char *monitor, char **ret, struct err *e)
{
	_cleanup_(xmlFreeDoc) xmlDoc *doc = NULL;
	struct domain_facts facts;
	xmlChar *text = NULL;
	int size = 0;
	int r = monitor ? monitor_check(monitor, e) : 0;

	if (r == 0)
		r = domain_xml_read(xml, &facts, e);
	if (r == 0)
		r = xml_parse(xml, strlen(xml), &doc, e);
	if (r < 0)
		return r;
	bool want_monitor = monitor && !facts.qmp[0];
	if (facts.has_channel && !want_monitor)
		return 0;
	xmlNode *root = xmlDocGetRootElement(doc);
	if ((!facts.has_channel && !add_channel(root)) || (want_monitor && !add_monitor(root, monitor)))
		return err_set(e, ERR_FAILED, EBADMSG, "xml", "the domain's XML has no place for a channel");
	xmlDocDumpMemory(doc, &text, &size);
	*ret = text ? strdup((const char *)text) : NULL;
	xmlFree(text);
	return *ret ? 1 : err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
}
