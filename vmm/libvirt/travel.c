// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Patches in a domain's metadata; see travel.h. What is read was written by another host at best: it is only
 * ever handed to vmpoked, which believes nothing of it that is not in the guest's memory. Must never pass on
 * what is not an array of objects of bounded size.
 */
#include "vmm/libvirt/travel.h"

#include <errno.h>
#include <string.h>

#include "vmm/libvirt/xml.h"

static int records_check(json_t *records, int error, struct err *e)
{
	json_t *record;
	size_t i;

	if (!json_is_array(records))
		return err_set(e, ERR_FAILED, error, "records", "the records of patches are not an array");
	if (json_array_size(records) > TRAVEL_RECORDS_MAX)
		return err_set(e, ERR_FAILED, EMSGSIZE, "records", "%zu records of patches; a domain takes %d along",
			       json_array_size(records), TRAVEL_RECORDS_MAX);
	json_array_foreach(records, i, record) {
		if (!json_is_object(record))
			return err_set(e, ERR_FAILED, error, "records", "a record of a patch is not an object");
	}
	return 0;
}

int travel_format(json_t *records, char **ret, struct err *e)
{
	int r = records_check(records, EINVAL, e);

	if (r < 0)
		return r;
	_cleanup_free_ char *text = json_dumps(records, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (!text)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	if (strlen(text) > TRAVEL_SIZE_MAX)
		return err_set(e, ERR_FAILED, EMSGSIZE, "records", "the records of its patches have %zu bytes; a domain takes "
			       "at most %u along", strlen(text), TRAVEL_SIZE_MAX);
	_cleanup_(xml_text_free) xmlChar *escaped = xmlEncodeSpecialChars(NULL, BAD_CAST text);
	/* libvirt puts it into the namespace, and refuses what declares it already. */
	if (!escaped || asprintf(ret, "<patches>%s</patches>", escaped) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	return 0;
}

/* libvirt gives the element back without the prefix it was stored under. */
int travel_parse(const char *xml, json_t **ret, struct err *e)
{
	_cleanup_(xmlFreeDoc) xmlDoc *doc = NULL;
	json_error_t je;
	int r = xml_parse(xml, strlen(xml), &doc, e);

	if (r < 0)
		return r;
	xmlNode *root = xmlDocGetRootElement(doc);
	if (strcmp((const char *)root->name, "patches") != 0)
		return err_set(e, ERR_FAILED, EBADMSG, "records", "the metadata is not a list of patches");
	_cleanup_(xml_text_free) xmlChar *text = xmlNodeGetContent(root);
	size_t len = text ? strlen((const char *)text) : 0;
	if (len > TRAVEL_SIZE_MAX)
		return err_set(e, ERR_FAILED, EMSGSIZE, "records", "the records of patches are longer than %u bytes", TRAVEL_SIZE_MAX);
	json_t *records = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, &je);
	if (!records)
		return err_set(e, ERR_FAILED, EBADMSG, "records", "the records of patches are not JSON: %s", je.text);
	r = records_check(records, EBADMSG, e);
	if (r < 0)
		json_decref(records);
	else
		*ret = records;
	return r;
}
