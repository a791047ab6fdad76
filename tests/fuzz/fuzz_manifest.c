// SPDX-License-Identifier: GPL-2.0-or-later
/* Manifests, keys and signatures as they come from clients. The first byte chooses the parser. */
#include <stdint.h>
#include <string.h>

#include "protocol/manifest.h"
#include "protocol/minisign.h"

static void fuzz_manifest(const char *text, size_t len)
{
	struct manifest m, again;
	struct err e;
	char *printed = NULL;

	if (manifest_parse(text, len, "fuzz", &m, &e) < 0)
		return;
	if (manifest_format(&m, &printed) < 0)
		return;
	if (manifest_parse(printed, strlen(printed), "again", &again, &e) < 0 || memcmp(&m, &again, sizeof(m)) != 0)
		__builtin_trap(); /* what is printed must mean the same */
	free(printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct minisign_key key = { 0 };
	struct minisign_sig sig;

	if (size < 1)
		return 0;
	if (data[0] == 'm')
		fuzz_manifest(text, size - 1);
	else if (data[0] == 'k')
		minisign_key_parse(text, size - 1, &key, NULL);
	else if (minisign_sig_parse(text, size - 1, &sig, NULL) == 0)
		minisign_verify(&key, &sig, "x", 1, NULL);
	return 0;
}
