# Two ends of a link, for tests and measurements: link-ping on the host, link-echo,
# static and with the agent's own code, in the guest.
link_echo_src := tests/link/echo.c guest-agent/link_packet.c $(wildcard protocol/dgram*.c)
$(BUILD)/tests/link/link-echo: $(link_echo_src) guest-agent/link.h guest-agent/link_packet.h $(wildcard protocol/dgram*.h)
	@mkdir -p $(@D)
	$(call say,GUEST,$@)
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE -I. $(WARN) -Os -static -s -o $@ $(link_echo_src)
$(BUILD)/tests/link/link-ping: $(BUILD)/obj/tests/link/ping.o $(BUILD)/libvm.a $(BUILD)/libprotocol.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS_VM) $(LIBS_PROTOCOL)
$(BUILD)/tests/link/link-relay: tests/link/relay.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE $(WARN) -O2 -o $@ $<
# The guest that runs link-echo; its kernel's modules are not on the build machine.
$(BUILD)/tests/link/initramfs.gz: tests/link/init tests/guest/mkinitramfs $(BUILD)/tests/link/link-echo
	$(call say,CPIO,$@)
	$(Q)INIT=tests/link/init tests/guest/mkinitramfs $@ $(BUILD)/tests/link/link-echo
link-tests: $(addprefix $(BUILD)/tests/link/,link-echo link-ping link-relay initramfs.gz)
check-build: link-tests
.PHONY: link-tests
