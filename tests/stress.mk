# The SMP test guest and the stress test that drives it on whatever /dev/kvm is there.

# Freestanding: no SSE (nobody saves it in handlers), no red zone (interrupts use the same stack).
smp_src := $(wildcard tests/guest/smp/*.c) tests/guest/smp/entry.S
smp_flags := -std=gnu17 $(filter-out -Wno-format-truncation,$(WARN)) -O2 -ffreestanding -fno-pic -mno-red-zone \
	-mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -fno-tree-vectorize
$(BUILD)/tests/smp.elf: $(smp_src) $(wildcard tests/guest/smp/*.h) tests/guest/smp/smp.ld
	@mkdir -p $(@D)
	$(call say,GUEST,$@)
	$(Q)$(CC) $(smp_flags) -static -nostdlib -Wl,--build-id=none -Wl,-z,noexecstack \
		-Wl,-T,tests/guest/smp/smp.ld -o $@ $(smp_src)

# The guest travels inside the program, so that one file is all a rig needs.
stress_src := $(wildcard tests/stress/*.c)
stress_obj := $(stress_src:%.c=$(BUILD)/obj/%.o) $(BUILD)/obj/tests/stress/image.o
$(BUILD)/obj/tests/stress/image.o: tests/stress/image.S $(BUILD)/tests/smp.elf
	@mkdir -p $(@D)
	$(call say,AS,$@)
	$(Q)$(CC) -DSMP_ELF='"$(BUILD)/tests/smp.elf"' -c -o $@ $<
$(BUILD)/tests/stress: $(stress_obj) $(BUILD)/libvm.a $(BUILD)/libprotocol.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -pthread -o $@ $^ $(LIBS_VM) $(LIBS_PROTOCOL)

# Debian has Zydis as a shared library only: a static one is made from its source package.
# libbpf and what it needs come from the static archives of the same packages.
$(BUILD)/tests/zydis/libZydis.a: tests/stress/zydis-static
	$(call say,ZYDIS,$@)
	$(Q)CC="$(CC)" tests/stress/zydis-static $(@D)
$(BUILD)/tests/stress.static: $(stress_obj) $(BUILD)/libvm.a $(BUILD)/libprotocol.a $(BUILD)/tests/zydis/libZydis.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -static -pthread -o $@ $^ \
		$(shell pkg-config --static --libs $(PKGS_PROTOCOL) $(PKGS_VM) 2>/dev/null)

$(BUILD)/san/unit/test_stress_text: $(BUILD)/san/obj/tests/stress/text.o $(BUILD)/san/obj/tests/stress/shapes.o

# The modes side by side, on the stress test's guest (tests/bench/run).
bench_modes_obj := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/bench/modes/*.c)) \
	$(filter-out $(BUILD)/obj/tests/stress/stress.o,$(stress_obj))
$(BUILD)/tests/bench-modes: $(bench_modes_obj) $(BUILD)/libvm.a $(BUILD)/libprotocol.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -pthread -o $@ $^ $(LIBS_VM) $(LIBS_PROTOCOL) -lm
bench-modes: $(BUILD)/tests/bench-modes
.PHONY: bench-modes

# `make check` runs it from tests/e2e/stress.sh.
check-build: $(BUILD)/tests/stress
stress: $(BUILD)/tests/stress
stress-static: $(BUILD)/tests/stress.static
.PHONY: stress stress-static
