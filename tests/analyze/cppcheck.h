/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forced into every file by `make analyze`, never compiled: cppcheck does not
 * read system headers, and needs to know that these macros are loops.
 */
#define json_array_foreach(array, index, value) for ((index) = 0; (value) = json_array_get(array, index); (index)++)
#define json_object_foreach(object, key, value) for ((key) = first(object); (value) = json_object_get(object, key);)
#define json_object_foreach_safe(object, n, key, value) \
	for ((n) = (key) = first(object); (value) = json_object_get(object, key);)
#define LIST_FOREACH(var, head, field) for ((var) = (head)->lh_first; (var); (var) = (var)->field.le_next)
#define TAILQ_FOREACH(var, head, field) for ((var) = (head)->tqh_first; (var); (var) = (var)->field.tqe_next)
