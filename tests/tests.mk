# Tests: see tests/README.md.
unit_tests := $(patsubst tests/unit/%.c,$(BUILD)/san/unit/%,$(filter-out $(if $(HAVE_LIBVIRT),,%/test_domain_xml.c),$(wildcard tests/unit/test_*.c)))
fuzz_names := $(patsubst tests/fuzz/%.c,%,$(filter-out $(if $(HAVE_LIBVIRT),,%/fuzz_domain_xml.c),$(wildcard tests/fuzz/fuzz_*.c)))
fuzz_targets := $(addprefix $(BUILD)/fuzz/,$(fuzz_names))
fuzz_seeds := $(addprefix $(BUILD)/san/fuzz/,$(fuzz_names))

# A unit test is one file linked against everything but the mains, with sanitizers.
test_fake_src := $(filter-out tests/fake/fake-worker.c,$(wildcard tests/fake/*.c))
$(BUILD)/san/unit/%: $(BUILD)/san/obj/tests/unit/%.o $(test_fake_src:%.c=$(BUILD)/san/obj/%.o) \
		$(BUILD)/san/libdaemon.a $(BUILD)/san/libvm.a $(BUILD)/san/libagent.a $(if $(HAVE_LIBVIRT),$(BUILD)/san/liblibvirt.a) \
		$(BUILD)/san/libprotocol.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(SAN) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LIBS_XML) $(LIBS_DAEMON) $(LIBS_VM) $(LIBS_PROTOCOL)
# What the tests of one subject share, and nobody else has.
unit_with = $(addprefix $(BUILD)/san/unit/,$(1)): $(BUILD)/san/obj/tests/unit/$(2).o
$(call unit_with,test_kind test_kind_bytes,kind_guest)
$(call unit_with,test_kvm_live test_kvm_traps,kvm_caller)
$(call unit_with,test_poke test_poke_faults,poke_case)
$(BUILD)/san/libdaemon.a: $(patsubst %.c,$(BUILD)/san/obj/%.o,$(filter-out vmm/vmpoked.c vmm/fault.c,$(daemon_src)))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^
# What vmpoke-libvirt reads of strangers.
$(BUILD)/san/liblibvirt.a: $(libvirt_read_src:%.c=$(BUILD)/san/obj/%.o)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^
# The guest's agent without its main, to be run in a test.
$(BUILD)/san/libagent.a: $(agent_src:%.c=$(BUILD)/san/obj/%.o)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# A worker that misbehaves on purpose, for tests of the daemon.
$(BUILD)/test/fake-worker $(BUILD)/san/fake-worker: $(BUILD)/%/fake-worker: $(BUILD)/%/obj/tests/fake/fake-worker.o \
		$(BUILD)/%/libprotocol.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(if $(filter san,$*),$(SAN)) -o $@ $^ $(LIBS_PROTOCOL)

# A fuzz target over its seeds, for `make check`: seeds.c is its main, and all else is what unit tests are made of.
# The hostile agent is shared with a unit test.
$(BUILD)/san/fuzz/%: $(BUILD)/san/obj/tests/fuzz/%.o $(BUILD)/san/obj/tests/fuzz/seeds.o \
		$(BUILD)/san/obj/tests/fake/mutant.o $(BUILD)/san/libdaemon.a $(BUILD)/san/libvm.a $(BUILD)/san/libagent.a \
		$(if $(HAVE_LIBVIRT),$(BUILD)/san/liblibvirt.a) $(BUILD)/san/libprotocol.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(SAN) -o $@ $^ $(LIBS_XML) $(LIBS_DAEMON) $(LIBS_VM) $(LIBS_PROTOCOL)

# The same target for `make fuzz`: libFuzzer wants clang and instrumented objects of its own.
FUZZ := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -O1 -g
$(BUILD)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CLANG,$@)
	$(Q)$(CLANG) $(BASE_CFLAGS) -Wno-gnu-folding-constant -Wno-unknown-warning-option $(FUZZ) -MMD -MP -c -o $@ $<
$(BUILD)/fuzz/fuzz_%: $(BUILD)/fuzz/obj/tests/fuzz/fuzz_%.o \
		$(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(protocol_src) $(agent_src) $(filter-out vmm/worker.c,$(vm_src)) \
			$(if $(HAVE_LIBVIRT),$(libvirt_read_src)))
	$(call say,LD,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS_XML) $(LIBS_VM) $(LIBS_PROTOCOL)
# Parsers that the daemon has.
$(BUILD)/fuzz/fuzz_http: $(BUILD)/fuzz/obj/vmm/control/http.o
$(BUILD)/fuzz/fuzz_agent_session: $(BUILD)/fuzz/obj/tests/fake/mutant.o

# The test guest: static programs and busybox in an initramfs.
guest_programs := $(patsubst tests/guest/%.c,$(BUILD)/tests/guest/%,$(wildcard tests/guest/*.c))
$(BUILD)/tests/guest/%: tests/guest/%.c
	@mkdir -p $(@D)
	$(call say,GUEST,$@)
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) -Os -static -s -pthread -o $@ $<
$(BUILD)/tests/initramfs.gz: tests/guest/init tests/guest/mkinitramfs $(guest_programs)
	$(call say,CPIO,$@)
	$(Q)tests/guest/mkinitramfs $@ $(guest_programs)

# The same for arm64, as far as its tests want them; packed by the test, which fetches the busybox.
CC_ARM64 ?= aarch64-linux-gnu-gcc
have_cc_arm64 := $(shell command -v $(CC_ARM64) 2>/dev/null)
arm64_programs := $(addprefix $(BUILD)/tests/arm64/,getpgrp-watch getpgrp-once kmsg-watch)
$(BUILD)/tests/arm64/%: tests/guest/%.c
	@mkdir -p $(@D)
	$(call say,GUEST,$@)
	$(Q)$(CC_ARM64) -std=gnu17 -D_GNU_SOURCE $(WARN) -Os -static -s -pthread -o $@ $<

# Bare guests of a few instructions: one that runs for ever, one that ends by itself.
bare_guests := $(BUILD)/tests/beat.elf $(BUILD)/tests/bye.elf
$(BUILD)/tests/bye.elf: bare_flags := -DBEATS=3
$(bare_guests): tests/guest/bare/bare.S
	@mkdir -p $(@D)
	$(call say,GUEST,$@)
	$(Q)$(CC) $(bare_flags) -static -nostdlib -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-Ttext=0x100000 -o $@ $<

# The host's side of an agent, for tests/e2e/agent.sh.
$(BUILD)/tests/agent-client: $(BUILD)/obj/tests/tools/agent-client.o $(BUILD)/obj/tests/fake/fd_link.o \
		$(BUILD)/libvm.a $(BUILD)/libprotocol.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_VM) $(LIBS_PROTOCOL)

# Finds places for tests/e2e/alternative.sh.
$(BUILD)/tests/list-alternatives: $(BUILD)/obj/tests/tools/list-alternatives.o $(BUILD)/libvm.a $(BUILD)/libprotocol.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_VM) $(LIBS_PROTOCOL)

# Switches the locks of a guest thousands of times, for tests/e2e/pv-group.sh.
$(BUILD)/tests/pv-switch: $(BUILD)/obj/tests/tools/pv-switch.o $(BUILD)/obj/tests/tools/pv-locks.o $(BUILD)/libvm.a $(BUILD)/libprotocol.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -pthread -o $@ $^ $(LIBS_VM) $(LIBS_PROTOCOL)

# A machine of our own VMM with devices, for tests/e2e/virtio.sh.
$(BUILD)/tests/kvm-virtio: $(BUILD)/obj/tests/tools/kvm-virtio.o $(BUILD)/libvm.a $(BUILD)/libprotocol.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -pthread -o $@ $^ $(LIBS_VM) $(LIBS_PROTOCOL)

# Shows that a lane of tests/rig has a genuine /dev/kvm.
$(BUILD)/tests/rig/%: tests/rig/%.c
	@mkdir -p $(@D)
	$(call say,RIG,$@)
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) -Os -static -s -o $@ $<

unit: $(unit_tests)
fuzz-build: $(fuzz_targets)
fuzz-seeds: $(fuzz_seeds)
guest: $(BUILD)/tests/initramfs.gz $(bare_guests) $(if $(have_cc_arm64),$(arm64_programs))
rig: $(BUILD)/tests/rig/kvm-hello
test-binaries: $(addprefix $(BUILD)/test/,vmpoked vmpoke-vm vmpoke $(if $(HAVE_LIBVIRT),vmpoke-libvirt))
san-binaries: $(addprefix $(BUILD)/san/,vmpoked vmpoke-vm vmpoke)
fake-workers: $(if $(wildcard tests/fake/fake-worker.c),$(BUILD)/test/fake-worker $(BUILD)/san/fake-worker)
check-build: all library man unit fuzz-seeds guest rig $(BUILD)/tests/agent-client $(BUILD)/tests/list-alternatives $(BUILD)/tests/pv-switch $(BUILD)/tests/kvm-virtio test-binaries san-binaries fake-workers

# Packages may be missing when make starts, and with them the flags pkg-config
# gave above: the real work is done by a second make, on every CPU.
AGAIN = +$(Q)$(MAKE) --no-print-directory $(if $(filter -j% j%,$(MAKEFLAGS)),,-j$(shell nproc))
demo:
	$(Q)tests/install-deps build run
	$(AGAIN) all guest
	$(Q)tests/demo
check:
	$(Q)tests/install-deps build package run check rig
	$(AGAIN) check-build
	$(Q)tests/run
check-full:
	$(Q)tests/install-deps build package run check rig
	$(AGAIN) check-build stress-static
	$(Q)VMPOKE_FULL=1 tests/run
bench:
	$(Q)tests/install-deps build run check bench
	$(AGAIN) all guest bench-modes
	$(Q)tests/bench/run

FUZZ_SECONDS ?= 60
fuzz:
	$(Q)tests/install-deps build check
	$(AGAIN) fuzz-build
	$(Q)for f in $(fuzz_targets); do c=$(BUILD)/fuzz/corpus/$${f##*/fuzz_}; mkdir -p $$c; echo "$$f"; \
		$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=$$c- \
			$$c tests/fuzz/corpus/$${f##*/fuzz_} >$$c.log 2>&1 || { tail -n 30 $$c.log; exit 1; }; \
		grep -E 'number_of_executed_units|average_exec' $$c.log; done

# One clang-tidy per file, so that they run side by side; cppcheck sees all at once.
# cppcheck knows neither scope cleanup nor that "r == 0" follows from another test:
# what it says of leaks and uninitialised variables is left to clang's analyzer and ASan.
CPPCHECK_BLIND := --suppress=memleak --suppress=resourceLeak --suppress=uninitvar --suppress=ctuuninitvar \
	--suppress=unknownEvaluationOrder --include=tests/analyze/cppcheck.h
analyze_src := $(filter-out %.bpf.c protocol/lib/example.c $(if $(HAVE_XDP),,vmm/link/xdp_tap.c) $(if $(HAVE_LIBVIRT),,vmm/libvirt/%), \
	$(wildcard guest-agent/*.c protocol/*.c protocol/*/*.c cli/*.c vmm/*.c vmm/*/*.c))
analyze:
	$(Q)tests/install-deps build analyze
	$(AGAIN) analyze-tidy analyze-cppcheck
analyze-tidy: $(addprefix analyze-tidy-,$(analyze_src))
$(addprefix analyze-tidy-,$(analyze_src)): analyze-tidy-%:
	$(call say,TIDY,$*)
	$(Q)clang-tidy --quiet $* -- $(BASE_CFLAGS) -Wno-unknown-warning-option -DVMPOKE_FAULT_POINTS \
		$(if $(filter protocol/err.c,$*),,-include tests/analyze/clang.h) 2>&1 | \
		awk '/warnings? generated|^Suppressed|^Use -header-filter/ { next } { print; bad = 1 } END { exit bad }'
analyze-cppcheck:
	$(call say,CPPCHECK,all)
	$(Q)cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
		--suppress=missingIncludeSystem $(CPPCHECK_BLIND) -I. -D_GNU_SOURCE -D__x86_64__ -DVMPOKE_FAULT_POINTS $(analyze_src)
tidy:
	$(Q)tests/install-deps analyze
	clang-format -i $(analyze_src) $(wildcard guest-agent/*.h protocol/*.h cli/*.h vmm/*.h vmm/*/*.h tests/*/*.c tests/*/*.h)
deps-list:
	@cat tests/packages

.PHONY: unit fuzz-build fuzz-seeds guest rig test-binaries san-binaries fake-workers check-build demo check check-full bench fuzz \
	analyze analyze-tidy analyze-cppcheck tidy deps-list
.SECONDARY:

include tests/stress.mk
include tests/link.mk
include tests/borrow.mk
