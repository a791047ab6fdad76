/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forced into every file by `make analyze`, never compiled: tells clang's
 * analyzer that an error object is always handed back as a negative errno.
 * Without it each `return err_set(...)` also looks like a success.
 */
#ifndef VMPOKE_TESTS_ANALYZE_CLANG_H
#define VMPOKE_TESTS_ANALYZE_CLANG_H

#include "protocol/err.h"

#define err_set(e, kind, error, ...) (err_set(e, kind, error, __VA_ARGS__), analyze_negative(error))
#define err_set_addr(e, kind, error, ...) (err_set_addr(e, kind, error, __VA_ARGS__), analyze_negative(error))

static inline int analyze_negative(int error)
{
	return error > 0 ? -error : -1;
}

#endif
