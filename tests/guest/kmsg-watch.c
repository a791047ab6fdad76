// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prints every complaint the guest's kernel writes to its log ("KMSG ..."), so
 * that a test sees a warning that did not end the guest. Must never write to
 * the log itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const complaints[] = {
	"BUG:", "WARNING:", "Oops", "general protection", "invalid opcode", "int3:",
	"Call Trace", "stack segment", "double fault", "segfault at", "trap invalid", NULL,
};

static int is_complaint(const char *text)
{
	for (const char *const *c = complaints; *c; c++)
		if (strstr(text, *c))
			return 1;
	return 0;
}

int main(void)
{
	char record[8192];
	int fd = open("/dev/kmsg", O_RDONLY);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (fd < 0) {
		perror("/dev/kmsg");
		return EXIT_FAILURE;
	}
	for (;;) {
		ssize_t n = read(fd, record, sizeof(record) - 1);

		if (n < 0 && errno == EPIPE) /* records were overwritten before we came: go on with the next */
			continue;
		if (n < 0) {
			perror("read /dev/kmsg");
			return EXIT_FAILURE;
		}
		record[n] = '\0';
		char *text = strchr(record, ';');
		if (text && is_complaint(text))
			printf("KMSG %.*s\n", (int)strcspn(text + 1, "\n"), text + 1);
	}
}
