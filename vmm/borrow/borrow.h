/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process context of the guest, borrowed: a thread of the agent keeps making one rare
 * syscall with a nonce in its registers; on that syscall's entry the host makes the
 * kernel run one of its own functions instead, in that thread's context, with interrupts,
 * preemption and sleeping as in any syscall. Nothing is loaded into the guest; what is
 * written is one or two words of that thread's own kernel stack.
 *
 * Safe to leave at any point: each word put on the stack is a return address that is
 * right without us. A called function returns to the RET instruction of the syscall
 * function (where a debug-register trap tells us), and from there to the syscall's caller,
 * as the syscall itself would have; text_mutex is followed by its own unlock function.
 * A host that dies, gives up or detaches therefore changes nothing but the value the
 * syscall returns, which the agent must ignore. docs/agent.md has the whole argument.
 *
 * Knows the backend's traps and registers and the guest's symbols; no JSON, no agent.
 * Must never call an address that is not in the closed list below or in memory
 * that borrow_exec_alloc() has got. One caller at a time.
 *
 * On a backend that traps by stopping the VM (QEMU), the guest runs only inside these
 * calls between borrow_begin() and borrow_end(). On one that traps live (our own VMM)
 * it is never stopped.
 */
#ifndef VMPOKE_VMM_BORROW_BORROW_H
#define VMPOKE_VMM_BORROW_BORROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/err.h"
#include "protocol/util.h"

#define BORROW_ARGS_MAX 6	   /* what goes in registers: rdi, rsi, rdx, rcx, r8, r9 */
#define BORROW_EXEC_MAX (1u << 20) /* bytes of one allocation */
#define BORROW_KEEP_MS	20	   /* text_mutex outlives its host by no more than this sleep */

/*
 * What the thread has to call: sched_get_priority_min(-1, 0, nonce[0], nonce[1]).
 * Always there, without side effects, used by next to nobody after start-up (the
 * C library once a thread with a real-time policy is made); the kernel looks at its first argument only.
 */
#define BORROW_SYSCALL	  147
#define BORROW_SYSCALL_FN "__x64_sys_sched_get_priority_min"

/* All that can be called. The kernel's names are in functions.c. */
enum borrow_function {
	BORROW_INT_SQRT, /* (x): integer square root; harmless */
	BORROW_GCD,	 /* (a, b); harmless */
	BORROW_STRLEN,	 /* (address); the address must be mapped */
	BORROW_MSLEEP,	 /* (ms) */
	BORROW_SYNCHRONIZE_RCU,
	BORROW_SYNCHRONIZE_RCU_TASKS,
	BORROW_MODULE_ALLOC,  /* (size); up to Linux 6.9 */
	BORROW_EXECMEM_ALLOC, /* (type, size); from 6.10 on */
	BORROW_EXECMEM_FREE,
	BORROW_VFREE,
	BORROW_SET_MEMORY_RO, /* (address, pages) */
	BORROW_SET_MEMORY_X,
	BORROW_TEXT_LOCK,   /* of borrow_text_lock(), not to be called by itself */
	BORROW_TEXT_UNLOCK, /* the same */
	BORROW_FUNCTION_COUNT,
};

struct backend;
struct backend_pause_hook;
struct guest;
struct borrow;

struct borrow_config {
	struct backend *backend; /* with BACKEND_TRAP_HW; not paused. Outlives the borrow */
	struct guest *guest;	 /* of the kernel that runs there. Outlives the borrow */
	uint64_t nonce[2];	 /* what the thread passes; made anew for each boot of the agent */
	struct backend_pause_hook *hook; /* of the pause that this is on a backend that stops; NULL: none */
};

struct borrow_stats {
	unsigned long calls;   /* that returned */
	unsigned long foreign; /* hits of others, let go at once */
	unsigned long stops;   /* hits in all */
	unsigned long keeps;   /* sleeps with text_mutex held */
	uint64_t stopped_us;   /* now_us() when the VM last came to a stop; 0 on a backend that traps live */
	uint64_t longest_stop_us; /* of those that are over */
};

/*
 * Finds the places, sets three debug-register traps. -EOPNOTSUPP: the backend has no such
 * traps, or the kernel lacks the syscall. Whatever *ret does later, borrow_end() must follow.
 */
int borrow_begin(const struct borrow_config *config, struct borrow **ret, struct err *e);

/*
 * Takes the traps out and lets the VM go on as it was found. A call still under way is
 * abandoned: it ends as the syscall. text_mutex, when held, is given back within BORROW_KEEP_MS.
 */
int borrow_end(struct borrow *b, struct err *e);
static inline void borrow_free(struct borrow *b)
{
	if (b)
		borrow_end(b, NULL);
}
DEFINE_CLEANUP(struct borrow, borrow_free)

/* Does this kernel have it? */
bool borrow_has(const struct borrow *b, enum borrow_function f);

/*
 * Calls f in the thread; *ret (NULL allowed) is RAX, garbage for a void function. Until
 * timeout_us have passed: -ETIMEDOUT, the call is abandoned; if it had begun it will still
 * end by itself (the sentence says which). -ESTALE: the guest was rebooted. -EBUSY:
 * text_mutex is held, the thread is taken. -EBADMSG: the function came back with
 * other callee-saved registers than it got; they were put right, do not go on. -ENODATA: the VMM
 * did not report the return; the function ran, its result is not known.
 */
int borrow_call(struct borrow *b, enum borrow_function f, const uint64_t *args, size_t n, uint64_t timeout_us,
		uint64_t *ret, struct err *e);

/* The same in two halves, for a caller with other things to do: wait() answers -ETIMEDOUT and may be asked again. */
int borrow_start(struct borrow *b, enum borrow_function f, const uint64_t *args, size_t n, struct err *e);
int borrow_wait(struct borrow *b, uint64_t timeout_us, uint64_t *ret, struct err *e);
void borrow_abandon(struct borrow *b);

/*
 * text_mutex. When lock() is back the thread holds it; on a backend that stops, the VM
 * is stopped then and the text may be changed right away. Until unlock() the thread
 * sleeps in the guest for BORROW_KEEP_MS at a time, each sleep followed by the unlock
 * function unless we are there to prolong it. Never deadlocks the guest: lock() that
 * times out gives the mutex back when it gets it: -ETIMEDOUT, rule "borrow-absent" when the thread did not
 * come to its syscall within come_us, "guest-poking" when it did and somebody else had the mutex until
 * timeout_us had passed. unlock() says -ENODATA when the mutex was not
 * held all the time, because the VMM did not report a trap. -EOPNOTSUPP: no dynamic ftrace
 * in this kernel, whose pair of functions this uses because they take no argument.
 */
int borrow_text_lock(struct borrow *b, uint64_t come_us, uint64_t timeout_us, struct err *e);
int borrow_text_unlock(struct borrow *b, uint64_t timeout_us, struct err *e);

/*
 * Is it held by the task that has it since lock()? Asks the mutex itself, in the guest's memory, not the traps.
 * 1 yes, 0 no, or -errno.
 */
int borrow_text_held(struct borrow *b, struct err *e);
/* That task's address in the guest; 0 while the mutex is not held. */
uint64_t borrow_text_owner(const struct borrow *b);

/*
 * While text_mutex is held one debug register is enough: gives the other two back until unlock(). On a
 * backend that traps live; elsewhere nobody else can use them and nothing is done. A thread that was lost is
 * then told by text_held() only.
 */
#define BORROW_TRAPS_KEPT 1
int borrow_text_spare(struct borrow *b, struct err *e);

/*
 * synchronize_rcu_tasks(), or what the kernel itself uses in its place when it has none. Seconds, under load.
 * With text_mutex held too, as the kernel's own kprobe optimiser does; it stays held, also after -ETIMEDOUT.
 */
int borrow_rcu_tasks(struct borrow *b, uint64_t timeout_us, struct err *e);

/*
 * Memory for payloads, within reach of a rel32 from the kernel's text: size bytes (up to
 * BORROW_EXEC_MAX, rounded up to pages), executable and read-only for the guest, checked
 * in its page tables. The caller records it: a host that dies before that leaves it
 * allocated, and the guest has some pages less until it reboots.
 */
struct borrow_exec {
	uint64_t gva;
	size_t size;
};

int borrow_exec_alloc(struct borrow *b, size_t size, uint64_t timeout_us, struct borrow_exec *ret, struct err *e);
/* By the host, past the guest's page permissions. Nothing may run there yet. */
int borrow_exec_write(struct borrow *b, const struct borrow_exec *x, size_t offset, const void *bytes, size_t len,
		      struct err *e);
/* Runs what was written there like a function of the list; it has to keep to the kernel's calling convention. */
int borrow_exec_call(struct borrow *b, const struct borrow_exec *x, size_t offset, const uint64_t *args, size_t n,
		     uint64_t timeout_us, uint64_t *ret, struct err *e);
/* Nothing may run there any more: the caller's borrow_rcu_tasks() comes first. After -ETIMEDOUT it may be free or not. */
int borrow_exec_free(struct borrow *b, const struct borrow_exec *x, uint64_t timeout_us, struct err *e);

/* Lets the guest run for that long while nothing is asked of it (text_mutex may be held). */
int borrow_let_run(struct borrow *b, uint64_t us, struct err *e);

void borrow_stats(struct borrow *b, struct borrow_stats *ret);

#endif
