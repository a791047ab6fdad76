/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kill points for crash tests, compiled in only with -DVMPOKE_FAULT_POINTS.
 * VMPOKE_FAULT=POINT:N kills this process (SIGKILL) the N-th time it passes
 * POINT; POINT:N:parent kills the parent process first as well (worker and daemon);
 * POINT:N:PID kills that process instead (a daemon, of which the worker of a machine
 * knows nothing but its socket). VMPOKE_FAULT=@FILE: the specification is in FILE as soon as
 * there is one, is taken from it and the file removed; so for as often as there is.
 * The point "forbidden-call" does not kill: there the process makes a system call that no worker may.
 */
#ifndef VMPOKE_VMM_FAULT_H
#define VMPOKE_VMM_FAULT_H

#ifdef VMPOKE_FAULT_POINTS
/* Reads the specification once, from main(); NULL or "" arms nothing. -EINVAL when malformed. spec lives as long as the process. */
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
