// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * setup-domain; see setup.h. Must never touch the running domain: what it writes counts from its next start.
 */
#include "vmm/libvirt/setup.h"

#include <errno.h>
#include <jansson.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdio.h>

#include "protocol/util.h"
#include "vmm/libvirt/domain_xml.h"

static void conn_free(virConnect *conn)
{
	virConnectClose(conn);
}
DEFINE_CLEANUP(virConnect, conn_free)

static void dom_free(virDomain *dom)
{
	virDomainFree(dom);
}
DEFINE_CLEANUP(virDomain, dom_free)

static int failed(struct err *e, enum err_kind kind, const char *what)
{
	const char *why = virGetLastErrorMessage();

	return err_set(e, kind, EIO, "libvirt", "%s: %s", what, why ? why : "no reason given");
}

static int domain_lookup(virConnectPtr conn, const char *name, virDomainPtr *ret, struct err *e)
{
	virDomainPtr dom = virDomainLookupByName(conn, name);

	if (!dom)
		dom = virDomainLookupByUUIDString(conn, name);
	if (!dom)
		return err_set(e, ERR_NOT_FOUND, ENOENT, "", "no domain named '%.200s'", name);
	*ret = dom;
	return 0;
}

/* 1: *ret is the XML with what was missing, 0: nothing is. */
static int missing(virDomainPtr dom, const struct setup_options *o, char **ret, struct err *e)
{
	_cleanup_free_ char *xml = virDomainGetXMLDesc(dom, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);

	return xml ? domain_xml_add(xml, o->monitor, ret, e) : failed(e, ERR_FAILED, "cannot read the domain's XML");
}

/* To define a domain that has no definition would give it one. */
static int persistent(virDomainPtr dom, const char *name, struct err *e)
{
	int r = virDomainIsPersistent(dom);

	if (r < 0)
		return failed(e, ERR_FAILED, "cannot tell whether the domain has a next start");
	return r ? 0 : err_set(e, ERR_REFUSED, EOPNOTSUPP, "transient", "'%.200s' is transient: it has no next start to write for",
			       name);
}

static int define(virConnectPtr conn, const char *xml, struct err *e)
{
	_cleanup_(dom_free) virDomain *dom = virDomainDefineXML(conn, xml);

	return dom ? 0 : failed(e, ERR_REFUSED, "libvirt does not take the domain");
}

static void print_json(const struct setup_options *o, bool needed, const char *snippet)
{
	json_t *out = json_pack("{s:s, s:b, s:b, s:s}", "domain", o->domain, "needed", needed, "changed", needed && o->apply, "xml", snippet);

	json_dumpf(out, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(out);
}

static void print_text(const struct setup_options *o, bool needed, const char *snippet)
{
	if (!needed)
		printf("%s has all of it\n", o->domain);
	else if (o->apply)
		printf("%s: written; it counts from the domain's next start\n", o->domain);
	else
		printf("%s", snippet);
}

static int setup(const struct setup_options *o, struct err *e)
{
	_cleanup_(conn_free) virConnect *conn = virConnectOpen(o->uri);
	_cleanup_(dom_free) virDomain *dom = NULL;
	_cleanup_free_ char *xml = NULL, *snippet = domain_xml_snippet(o->monitor);

	if (!conn)
		return failed(e, ERR_UNREACHABLE, "cannot connect to libvirtd");
	if (!snippet)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = domain_lookup(conn, o->domain, &dom, e);
	if (r == 0)
		r = missing(dom, o, &xml, e);
	bool needed = r > 0;
	if (needed && o->apply)
		r = persistent(dom, o->domain, e);
	if (r >= 0 && needed && o->apply)
		r = define(conn, xml, e);
	if (r < 0)
		return r;
	if (o->json)
		print_json(o, needed, snippet);
	else
		print_text(o, needed, snippet);
	return 0;
}

static void quiet(void *data, virErrorPtr error)
{
	(void)data, (void)error;
}

int setup_run(const struct setup_options *o)
{
	struct err e;

	virSetErrorFunc(NULL, quiet);
	int r = setup(o, &e);
	if (r < 0)
		fprintf(stderr, "vmpoke-libvirt: %s\n", e.text);
	return r < 0 ? err_exit_code(e.kind) : fflush(stdout) == 0 ? 0 : 1;
}
