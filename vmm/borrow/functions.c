// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The closed list. Each row is a global function whose prototype has been the same in
 * all of Linux 5.15 to 6.12 (lib/math, kernel/time/timer.c, kernel/rcu, mm/vmalloc.c,
 * mm/execmem.c, arch/x86/mm/pat/set_memory.c, arch/x86/kernel/ftrace.c). Must never
 * hold one that may not sleep, or that leaves something taken when nobody follows it up.
 */
#include "vmm/borrow/functions.h"

#include "vmm/guest/guest.h"

static const struct borrow_function_info functions[BORROW_FUNCTION_COUNT] = {
	[BORROW_INT_SQRT] = { "int_sqrt", 1 },
	[BORROW_GCD] = { "gcd", 2 },
	[BORROW_STRLEN] = { "strlen", 1 },
	[BORROW_MSLEEP] = { "msleep", 1 },
	[BORROW_SYNCHRONIZE_RCU] = { "synchronize_rcu", 0 },
	[BORROW_SYNCHRONIZE_RCU_TASKS] = { "synchronize_rcu_tasks", 0 },
	[BORROW_MODULE_ALLOC] = { "module_alloc", 1 },
	[BORROW_EXECMEM_ALLOC] = { "execmem_alloc", 2 },
	[BORROW_EXECMEM_FREE] = { "execmem_free", 1 },
	[BORROW_VFREE] = { "vfree", 1 },
	[BORROW_SET_MEMORY_RO] = { "set_memory_ro", 2 },
	[BORROW_SET_MEMORY_X] = { "set_memory_x", 2 },
	/* mutex_lock(&text_mutex) and its counterpart, without an argument to set up. */
	[BORROW_TEXT_LOCK] = { "ftrace_arch_code_modify_prepare", 0 },
	[BORROW_TEXT_UNLOCK] = { "ftrace_arch_code_modify_post_process", 0 },
};

const struct borrow_function_info *borrow_function_info(enum borrow_function f)
{
	return &functions[f];
}

void borrow_functions_find(const struct guest *g, uint64_t addr[static BORROW_FUNCTION_COUNT])
{
	for (size_t i = 0; i < BORROW_FUNCTION_COUNT; i++) {
		addr[i] = 0;
		if (guest_symbol_find(g, functions[i].name, &addr[i], NULL, NULL) < 0 || !guest_is_text(g, addr[i], 1))
			addr[i] = 0;
	}
}
