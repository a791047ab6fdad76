// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * XML and other text that libvirt hands out: what is read keeps the promises of domain_xml.h and travel.h, and what
 * setup-domain adds is found again. The first byte chooses the reader.
 */
#include <stdlib.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/libvirt/domain_xml.h"
#include "vmm/libvirt/hook.h"
#include "vmm/libvirt/passage.h"
#include "vmm/libvirt/travel.h"

static void path_check(const char *path)
{
	if (path[0] && (path[0] != '/' || strlen(path) >= DOMAIN_PATH_MAX))
		abort();
}

static void domain(const char *text)
{
	_cleanup_free_ char *added = NULL;
	struct domain_facts f;

	if (domain_xml_read(text, &f, NULL) < 0)
		return;
	if (strlen(f.uuid) != 36)
		abort();
	path_check(f.agent);
	path_check(f.qmp);
	path_check(f.gdb);
	if (domain_xml_add(text, "/run/vmpoke", &added, NULL) <= 0)
		return;
	if (domain_xml_read(added, &f, NULL) < 0 || !f.has_channel || !f.qmp[0])
		abort();
}

static void travel(const char *text)
{
	_cleanup_free_ char *xml = NULL;
	json_t *records = NULL, *again = NULL;

	if (travel_parse(text, &records, NULL) == 0 && travel_format(records, &xml, NULL) == 0 &&
	    (travel_parse(xml, &again, NULL) < 0 || !json_equal(records, again)))
		abort();
	json_decref(records);
	json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = size > 1 ? strndup((const char *)data + 1, size - 1) : NULL;
	struct hook_message m;

	if (!text)
		return 0;
	switch (data[0]) {
	case 'd': domain(text); break;
	case 't': travel(text); break;
	case 'h': hook_parse((const char *)data + 1, size - 1, &m); break;
	case 'r': free(passage_reply(text, "1")); break;
	case 'e': free(passage_event("RESET", 1, 2, text)); break;
	}
	free(text);
	return 0;
}
