// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests to metrics.sock, whole and cut anywhere: what is complete must not change with what follows. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_request whole = { 0 }, part;
	char head[128];
	int r;

	if (size > HTTP_REQUEST_MAX)
		return 0;
	r = http_request_parse((const char *)data, size, &whole);
	if (r > 0 && (strlen(whole.path) >= sizeof(whole.path) || (whole.path[0] && whole.path[0] != '/')))
		__builtin_trap();
	for (size_t n = 0; n < size && n < 512; n++) {
		char *copy = malloc(n ? n : 1); /* so that a byte too many is seen */
		memcpy(copy, data, n);
		part = (struct http_request){ 0 };
		int cut = http_request_parse(copy, n, &part);
		free(copy);
		if (cut > 0 && (r <= 0 || part.get != whole.get || part.open_metrics != whole.open_metrics ||
				strcmp(part.path, whole.path) != 0))
			__builtin_trap();
	}
	return http_response_head(200, "text/plain", size, head, sizeof(head)) == 0;
}
