# The guest's agent; without its main it is also linked into tests.
agent_src := $(filter-out guest-agent/main.c,$(wildcard guest-agent/*.c))

# Static and small: musl's C library, Linux's own headers behind its own.
MUSL_CC ?= musl-gcc
AGENT_CFLAGS := -std=gnu17 $(WARN) -I. -D_GNU_SOURCE -DVMPOKE_VERSION='"$(VERSION)"' \
	-Os -g -ffunction-sections -fdata-sections -fstack-protector-strong -fno-pie -static \
	-idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)
$(BUILD)/agent/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,MUSL,$@)
	$(Q)$(MUSL_CC) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/vmpoke-agent: $(patsubst %.c,$(BUILD)/agent/obj/%.o,guest-agent/main.c $(agent_src) $(agent_protocol_src))
	$(call say,LD,$@)
	$(Q)$(MUSL_CC) $(AGENT_CFLAGS) -Wl,--gc-sections -s -o $@ $^
