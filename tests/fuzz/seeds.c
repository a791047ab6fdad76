// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for libFuzzer where a fuzz target is only to be run over its seeds: the
 * target and what it tests are then the objects of the unit tests, with the same
 * sanitizers, and need no third compilation. Must never pass a seed by: one that
 * cannot be read is a failure, and so are none.
 *   fuzz_NAME FOLDER      the last line of standard error names the seed that was at work
 */
#include <dirent.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEED_MAX (16u << 20) /* libFuzzer's own limit is 1 MiB */

/* In a block of its exact size, so that a byte read too many is seen. */
static void seed_run(const char *folder, const char *name)
{
	char path[4096];
	struct stat st;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, name) >= sizeof(path))
		errx(1, "%s: the name is too long", name);
	FILE *file = fopen(path, "rb");
	if (!file || fstat(fileno(file), &st) < 0)
		err(1, "%s", path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > SEED_MAX)
		errx(1, "%s: no file of at most %u bytes", path, SEED_MAX);
	size_t size = (size_t)st.st_size;
	uint8_t *data = malloc(size);
	if ((size && !data) || fread(data, 1, size, file) != size)
		errx(1, "%s: cannot be read", path);
	fclose(file);
	fprintf(stderr, "%s, %zu bytes\n", path, size);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

int main(int argc, char **argv)
{
	struct dirent **entries;
	int seeds = 0;

	if (argc != 2)
		errx(2, "usage: %s FOLDER", argv[0]);
	int n = scandir(argv[1], &entries, NULL, alphasort);
	if (n < 0)
		err(1, "%s", argv[1]);
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			seed_run(argv[1], entries[i]->d_name);
			seeds++;
		}
		free(entries[i]);
	}
	free(entries);
	printf("%d seeds\n", seeds);
	return seeds == 0;
}
