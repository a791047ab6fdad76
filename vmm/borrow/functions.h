/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's functions that may be called: names and arity. */
#ifndef VMPOKE_VMM_BORROW_FUNCTIONS_H
#define VMPOKE_VMM_BORROW_FUNCTIONS_H

#include "vmm/borrow/borrow.h"

struct guest;

struct borrow_function_info {
	const char *name;
	unsigned args;
};

/* f must be below BORROW_FUNCTION_COUNT. */
const struct borrow_function_info *borrow_function_info(enum borrow_function f);

/* Addresses by enum borrow_function; 0 where the kernel has none, several, or not in its text. */
void borrow_functions_find(const struct guest *g, uint64_t addr[static BORROW_FUNCTION_COUNT]);

#endif
