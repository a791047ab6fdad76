// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See kick.h. The handler does one store and nothing else: it runs at any point of
 * a vCPU thread. immediate_exit makes the next KVM_RUN return at once, so a signal
 * that arrives just before the ioctl is not lost.
 */
#include "vmm/kvm/kick.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stddef.h>

#define KICK_SIGNAL (SIGRTMIN + 5)

static _Thread_local struct kvm_run *volatile my_run;

static void on_kick(int signal)
{
	struct kvm_run *run = my_run;

	(void)signal;
	if (run)
		run->immediate_exit = 1;
}

static int mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	return -pthread_sigmask(how, &set, NULL);
}

int kick_init(void)
{
	struct sigaction action = { .sa_handler = on_kick, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		return -errno;
	return mask(SIG_BLOCK);
}

void kick_accept(struct kvm_run *run)
{
	my_run = run;
	mask(SIG_UNBLOCK);
}

void kick_thread(pthread_t thread)
{
	pthread_kill(thread, KICK_SIGNAL);
}
