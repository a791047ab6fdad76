/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kill points for crash tests, compiled in only with -DVMPOKE_FAULT_POINTS.
 * VMPOKE_FAULT=POINT:N kills this process (SIGKILL) the N-th time it passes
 * POINT; POINT:N:parent kills the parent process first as well (worker and daemon).
 */
#ifndef VMPOKE_VMM_FAULT_H
#define VMPOKE_VMM_FAULT_H

#ifdef VMPOKE_FAULT_POINTS
/* Reads the specification once, from main(); NULL or "" arms nothing. -EINVAL when malformed. */
int fault_arm(const char *spec);
void fault_point(const char *name);
#else
static inline int fault_arm(const char *spec)
{
	(void)spec;
	return 0;
}
static inline void fault_point(const char *name)
{
	(void)name;
}
#endif

#endif
