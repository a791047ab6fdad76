/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the poke engine may rely on, as a Spin model: three vCPUs that run over
 * two patch sites, take NMIs and preempt tasks anywhere, while the engine changes
 * both sites in one of the four modes. Spin visits every interleaving, and each
 * assertion below is one of the invariants of docs/engine.md. With -DBROKEN_...
 * one rule of the engine is left out; tests/model/run wants each of those caught.
 * With -DSPARE_... one of two nets is taken away; the other must hold alone.
 * Must never assume more of a CPU than its manual promises: until a vCPU
 * serialises, each byte it fetches may be any value that byte has had since.
 *
 * A site is two bytes: its first, and "the rest". Site 0 is one instruction, old
 * and new. Site 1 is either the same or (multi) two old instructions, the second
 * of which begins at "the rest", replaced by one.
 */
#define VCPUS 3
#define BYTES 4
#define HEAD(site) (2 * (site))
#define REST(site) (2 * (site) + 1)

/* What a byte holds; also bits of "may be fetched". */
#define OLD  1
#define TRAP 2
#define NEW  4

/*
 * Where a vCPU stands between two instructions. MIDDLE: between the two old
 * instructions of site 1. IN_NMI: in an NMI handler that interrupted MIDDLE; an
 * NMI anywhere else needs no state of its own, as its handler runs over site 0
 * just like a task does.
 */
#define OUTSIDE 0
#define MIDDLE 1
#define IN_NMI 2

mtype = { STOPPED, STAGED, HELD, FLIPPED };
mtype mode;
bool multi;
bool hardware; /* staged, held: debug registers instead of trap bytes */

typedef vcpu_state {
	byte at;
	byte ran;	  /* OLD or NEW was fetched and executed since it last serialised; 0: nothing */
	byte unmapped;	  /* bit per site: its page is zapped, touching it waits in a fault */
	bool paused, held;
	bool watched;	  /* debug registers trap the first byte and the middle, on this vCPU */
	byte sees[BYTES]; /* what it may fetch */
}
vcpu_state vcpu[VCPUS];
byte memory[BYTES];
bool parked;	   /* a sleeping task was preempted at MIDDLE */
bool armed;	   /* traps come to the engine, not to the guest */
bool quiet;	   /* nothing stands at MIDDLE, and nothing is let go there any more */
bool undoing;
bool finished, undone;
byte invalidating; /* bit per site: between the start and the end of a zap */
bool seen_new;	   /* some vCPU executed a new instruction */

/* Scratch of one atomic step, no part of the state. */
hidden byte first, second, i, j;

/* The state space is walked once for everything: this proves that it was not walked in vain. */
c_decl {
	\#include <stdio.h>
	static int arrived_already[64];
	static void arrived(int which, const char *what)
	{
		if (!arrived_already[which]++)
			printf("reached %s\n", what);
	}
}
#ifdef REPLAY
#define REACHED(n, what)
#else
#define REACHED(n, what) c_code { arrived(n, what); }
#endif

#define running(v) (!vcpu[v].paused && !vcpu[v].held)
#define mapped(v, site) ((vcpu[v].unmapped & (1 << site)) == 0)
#define is_multi(site) (site == 1 && multi)

/* ---- what hardware does ---- */

inline serialise(v)
{
	for (j : 0 .. BYTES - 1) {
		vcpu[v].sees[j] = memory[j];
	}
	vcpu[v].ran = 0;
}

/* Visible to everybody from now on, for sure only after each has serialised. */
inline store(byte_number, value)
{
	d_step {
		memory[byte_number] = value;
		for (j : 0 .. VCPUS - 1) {
			vcpu[j].sees[byte_number] = vcpu[j].sees[byte_number] | value;
		}
	}
}

inline fetch(v, byte_number, got)
{
	if
	:: vcpu[v].sees[byte_number] & OLD -> got = OLD
	:: vcpu[v].sees[byte_number] & TRAP -> got = TRAP
	:: vcpu[v].sees[byte_number] & NEW -> got = NEW
	fi
}

/* held and flipped promise that what is old anywhere came before what is new anywhere. */
inline saw_old()
{
	assert(!seen_new || mode == STAGED);	/* pair: A new, then B old */
	assert(!finished);			/* "applied" was reported */
}

inline saw_new()
{
	assert(!undone);			/* "not applied" was reported */
	seen_new = true;
}

inline executes_old(v)
{
	assert(vcpu[v].ran != NEW);		/* changed version without serialising */
	vcpu[v].ran = OLD;
	saw_old();
}

inline executes_new(v)
{
	assert(vcpu[v].ran != OLD);		/* changed version without serialising */
	vcpu[v].ran = NEW;
	saw_new();
}

/* ---- the engine's trap handler, on the vCPU's thread: the exit has serialised it ---- */

/* Held: comes back to the site when it is let go. */
inline hit_start(v, site)
{
	if
	:: vcpu[v].held = true; REACHED(1, "hold")
	:: !is_multi(site) && (undoing || (mode == HELD && !quiet)) -> saw_old(); REACHED(2, "emulate-old")
	:: is_multi(site) && !undoing && !quiet -> saw_old(); vcpu[v].at = MIDDLE; REACHED(3, "step-out-of-line")
	:: mode == STAGED && !undoing && (quiet || !is_multi(site)) -> saw_new(); REACHED(4, "emulate-new")
	fi
}

inline hit_middle(v)
{
	saw_old();
	vcpu[v].at = OUTSIDE;
	REACHED(6, "walk-out-of-the-middle")
}

inline trap_exit(v)
{
	serialise(v);
	assert(armed)				/* else the guest gets a #BP it knows nothing of */
}

/* ---- a vCPU ---- */

inline execute_start(v, site)
{
	if
	:: vcpu[v].watched -> first = 0; serialise(v); hit_start(v, site); REACHED(9, "hardware-hit")
	:: else -> fetch(v, HEAD(site), first)
	fi;
	if
	:: first == 0
	:: first == TRAP ->
		trap_exit(v);
		if
		:: memory[HEAD(site)] == TRAP -> hit_start(v, site)
		:: else -> REACHED(5, "late-hit")	/* runs again what is there now */
		fi
	:: first == OLD && is_multi(site) -> executes_old(v); vcpu[v].at = MIDDLE
	:: else ->
		fetch(v, REST(site), second);
		assert(first == second);	/* torn: half old, half new */
		if
		:: first == OLD -> executes_old(v)
		:: else -> executes_new(v)
		fi
	fi
}

inline execute_middle(v)
{
	if
	:: vcpu[v].watched -> second = 0; serialise(v); hit_middle(v)
	:: else -> fetch(v, REST(1), second)
	fi;
	if
	:: second == 0
	:: second == TRAP ->
		trap_exit(v);
		if
		:: memory[REST(1)] == TRAP -> hit_middle(v)
		:: else -> REACHED(5, "late-hit")
		fi
	:: else ->
		assert(second == OLD);		/* resumed inside a new instruction */
		executes_old(v);
		vcpu[v].at = OUTSIDE
	fi
}

/* A fault on a zapped page waits for the end of the zap, then maps what is there. */
inline fault(v, site)
{
	vcpu[v].sees[HEAD(site)] = memory[HEAD(site)];
	vcpu[v].sees[REST(site)] = memory[REST(site)];
	vcpu[v].unmapped = vcpu[v].unmapped & ~(1 << site)
}

proctype guest(byte v)
{
end:	do
	:: atomic { running(v) && vcpu[v].at != MIDDLE && mapped(v, 0) -> execute_start(v, 0) }
	:: atomic { running(v) && vcpu[v].at == OUTSIDE && mapped(v, 1) -> execute_start(v, 1) }
	:: atomic { running(v) && vcpu[v].at == MIDDLE && mapped(v, 1) -> execute_middle(v) }
	:: atomic { running(v) && !mapped(v, 0) && !(invalidating & 1) -> fault(v, 0) }
	:: atomic { running(v) && !mapped(v, 1) && !(invalidating & 2) -> fault(v, 1) }
	/* The IRET is not counted as serialising. */
	:: atomic { running(v) && vcpu[v].at == MIDDLE -> vcpu[v].at = IN_NMI; REACHED(8, "nmi-in-the-middle") }
	:: atomic { running(v) && vcpu[v].at == IN_NMI -> vcpu[v].at = MIDDLE }
	/* A task is preempted, and goes on later, there or elsewhere. */
	:: atomic { running(v) && vcpu[v].at == MIDDLE && !parked -> parked = true; vcpu[v].at = OUTSIDE }
	:: atomic { running(v) && vcpu[v].at == OUTSIDE && parked ->
		parked = false; vcpu[v].at = MIDDLE; REACHED(7, "task-resumed") }
	od
}

/* ---- the engine ---- */

/* vCPU after vCPU, the others run on meanwhile. */
inline barrier()
{
	v = 0;
	do
	:: v < VCPUS -> d_step { serialise(v); v++ }
	:: else -> break
	od
}

inline pause()
{
	v = 0;
	do
	:: v < VCPUS -> d_step { vcpu[v].paused = true; v++ }
	:: else -> break
	od
}

inline resume()
{
	v = 0;
	do
	:: v < VCPUS -> d_step { serialise(v); vcpu[v].paused = false; v++ }
	:: else -> break
	od
}

/* All vCPUs are out: does anything stand in the middle? */
inline look()
{
	skip;
	d_step {
		inside = false;
		for (i : 0 .. VCPUS - 1) {
			if
			:: vcpu[i].at == MIDDLE -> inside = true
#ifndef BROKEN_SCAN_WITHOUT_FRAMES
			:: vcpu[i].at == IN_NMI -> inside = true
#endif
			:: else
			fi
		}
#ifndef BROKEN_SCAN_WITHOUT_TASKS
		inside = inside || parked;
#endif
#ifdef BROKEN_RELEASE_BEFORE_QUIESCENCE
		inside = false;
#endif
	}
}

inline release()
{
	skip;
	d_step {
		for (i : 0 .. VCPUS - 1) {
			vcpu[i].held = false;
		}
	}
}

/* -- stopped -- */

inline write_all(value)
{
	store(HEAD(0), value);
	store(REST(0), value);
	store(HEAD(1), value);
	store(REST(1), value)
}

inline poke_stopped()
{
	do
	:: pause();
#ifdef BROKEN_WRITE_BEFORE_LAST_IS_OUT
	   vcpu[0].paused = false;
#endif
	   look();
	   if
	   :: !inside -> write_all(NEW); resume(); finished = true; REACHED(10, "stopped-done"); break
	   :: inside -> resume();
		if
		:: true
		:: undone = true; REACHED(11, "stopped-timed-out"); break
		fi
	   fi
	od
}

/* -- flipped -- */

/*
 * One mmap(MAP_FIXED) over the sites of a mask: the MMU notifier takes the page
 * from every vCPU and waits until each has left guest mode and flushed; then the
 * new page is there, for all sites of the mask at once.
 */
inline flip(mask)
{
	invalidating = mask;
	v = 0;
	do
#ifdef BROKEN_FLIP_WITHOUT_WAITING
	:: v < VCPUS - 1 -> d_step { serialise(v); vcpu[v].unmapped = vcpu[v].unmapped | mask; v++ }
#else
	:: v < VCPUS -> d_step { serialise(v); vcpu[v].unmapped = vcpu[v].unmapped | mask; v++ }
#endif
	:: else -> break
	od;
	skip;
	d_step {
		for (j : 0 .. BYTES - 1) {
			if
			:: mask & (1 << (j / 2)) -> memory[j] = NEW
			:: else
			fi
		}
	}
	invalidating = 0
}

inline flip_all()
{
#ifdef BROKEN_FLIP_HALF_PAIR
	flip(1);
	flip(2)
#else
	flip(3)
#endif
}

/* A range of several instructions is looked at and flipped in one pause: no trap keeps others out of it. */
inline poke_flipped()
{
	do
	:: !multi -> flip_all(); finished = true; REACHED(12, "flipped-done"); break
	:: multi ->
	   pause();
	   look();
#ifdef BROKEN_FLIP_AFTER_RESUME
	   resume();
#endif
	   if
	   :: !inside -> flip_all(); resume(); finished = true; REACHED(13, "flipped-multi-done"); break
	   :: inside -> resume();
		if
		:: true
		:: undone = true; REACHED(14, "flipped-timed-out"); break
		fi
	   fi
	od
}

/* -- staged and held -- */

inline trap_all()
{
#ifndef BROKEN_ARM_LATE
	armed = true;
#endif
	store(HEAD(0), TRAP);
#ifndef SPARE_INNER_TRAPS
	if
	:: multi -> store(REST(1), TRAP)
	:: else
	fi;
#endif
	store(HEAD(1), TRAP);
	armed = true;
#ifndef BROKEN_NO_BARRIER_AFTER_TRAPPED
	barrier()
#endif
}

/* Nobody gets to the middle any more but through our trap: wait until those inside have left. */
inline wait_until_quiet()
{
	do
	:: quiet -> break
	:: !quiet && undoing -> break
	:: !quiet && !undoing ->
		pause();
		look();
		quiet = !inside;
		resume();
		if
		:: quiet
		:: !quiet
		:: !quiet -> undoing = true
		fi
	od
}

inline tail_all()
{
	store(REST(0), NEW);
	store(REST(1), NEW);
#ifdef BROKEN_HELD_RELEASE_EARLY
	if
	:: mode == HELD -> d_step {
		for (i : 0 .. VCPUS - 1) {
			if
			:: vcpu[i].held -> vcpu[i].held = false; saw_new()
			:: else
			fi
		} }
	:: else
	fi;
#endif
#ifndef BROKEN_NO_BARRIER_AFTER_TAILED
	barrier()
#endif
}

inline head_all()
{
	store(HEAD(0), NEW);
	store(HEAD(1), NEW)
}

/* No vCPU may still fetch a trap when the guest would get it. */
inline retire()
{
#ifndef BROKEN_DISARM_BEFORE_BARRIER
	barrier();
#endif
	armed = false;
	release()
}

/* The same road back: no byte of a half that may still be fetched changes under a first byte that is not a trap. */
inline undo()
{
	store(REST(0), OLD);
	store(REST(1), OLD);
#ifndef BROKEN_UNDO_WITHOUT_BARRIER
	barrier();
#endif
	store(HEAD(0), OLD);
	store(HEAD(1), OLD);
	retire();
	undone = true
}

inline poke_staged()
{
	trap_all();
	wait_until_quiet();
	if
	:: undoing -> undo(); REACHED(15, "undone-from-trapped")
	:: !undoing ->
#ifdef BROKEN_HEAD_BEFORE_TAIL
		head_all(); barrier(); tail_all();
#else
		tail_all();
		if
		:: undoing = true; undo(); REACHED(16, "undone-from-tailed"); goto over
		:: true
		fi;
		head_all();
#endif
		retire();
		finished = true;
		if
		:: mode == STAGED -> REACHED(17, "staged-done")
		:: mode == HELD -> REACHED(18, "held-done")
		fi
	fi;
over:	skip
}

/* -- the same with debug registers: no byte is a trap, but nobody fetches where one watches -- */

inline watch(on)
{
	v = 0;
	do
#ifdef BROKEN_HARDWARE_ARM_LATE
	:: v < VCPUS - on -> d_step { serialise(v); vcpu[v].watched = on; v++ }
#else
	:: v < VCPUS && on -> d_step { serialise(v); vcpu[v].watched = true; v++ }
	/* Not counted as serialising. */
	:: v < VCPUS && !on -> d_step { vcpu[v].watched = false; v++ }
#endif
	:: else -> break
	od
}

inline poke_hardware()
{
	watch(1);
	wait_until_quiet();
	if
	:: undoing -> undone = true; REACHED(19, "hardware-undone")
	:: !undoing ->
		write_all(NEW);
#ifndef BROKEN_HARDWARE_NO_BARRIER
		barrier();
#endif
		finished = true; REACHED(20, "hardware-done")
	fi;
	watch(0);
	release()
}

active proctype engine()
{
	byte v;
	bool inside;

	d_step {
		for (i : 0 .. BYTES - 1) {
			memory[i] = OLD;
		}
		for (i : 0 .. VCPUS - 1) {
			for (j : 0 .. BYTES - 1) {
				vcpu[i].sees[j] = OLD;
			}
		}
	}
	for (i : 0 .. VCPUS - 1) {
		run guest(i);
	}
	if
	:: mode = STOPPED :: mode = FLIPPED :: mode = HELD :: mode = STAGED
	fi;
	if
	:: multi = true
	:: multi = false; quiet = true
	fi;
	if
	:: mode == STOPPED -> poke_stopped()
	:: mode == FLIPPED -> poke_flipped()
	:: else ->
		if
		:: poke_staged()
		:: hardware = true; poke_hardware()
		fi
	fi;
	skip;
	d_step {
		for (i : 0 .. VCPUS - 1) {
			assert(!vcpu[i].held && !vcpu[i].paused)	/* nobody is left behind */
		}
	}
}
