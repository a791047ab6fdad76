// SPDX-License-Identifier: GPL-2.0-or-later
/* The host's session with an agent that lies in every way the input chooses: see tests/fake/mutant.h. */
#include "tests/fake/mutant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	struct mutant_choices choices;
	const uint8_t *data;
	size_t size, pos;
};

/* Beyond the input's end it begins again, one further on, so that short inputs are sessions too. */
static uint8_t next(struct mutant_choices *c)
{
	struct input *in = container_of(c, struct input, choices);

	in->pos++;
	return (uint8_t)(in->data[in->pos % in->size] + in->pos / in->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mutant_figures f = { 0 };
	struct input in = { .choices.next = next, .data = data, .size = size };

	if (size)
		mutant_session(&in.choices, &f);
	return 0;
}
