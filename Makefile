# vmpoke: see README.md. `make help` lists the targets.
V ?= 0
PREFIX ?= /usr
DESTDIR ?=
CC ?= gcc
CLANG ?= clang
WERROR ?= -Werror
BUILD := build

PKGS_PROTOCOL := jansson yaml-0.1 libsodium
PKGS_VM := libseccomp libbpf libelf liblz4 libzstd liblzma zlib
PKGS_DAEMON := libsystemd inih
PKGS_XDP := libxdp
PKGS_XML := libxml-2.0
PKGS_LIBVIRT := libvirt libvirt-qemu $(PKGS_XML)
VERSION := 0.1.0

# The link over AF_XDP needs a compiler for BPF and bpftool, which is not in everybody's PATH.
BPFTOOL ?= $(firstword $(shell command -v bpftool) $(wildcard /usr/sbin/bpftool /sbin/bpftool))
HAVE_XDP := $(and $(shell command -v $(firstword $(CLANG))),$(BPFTOOL),$(shell pkg-config --exists $(PKGS_XDP) && echo yes))

# vmpoke-libvirt is left out where there is no libvirt to build it with.
HAVE_LIBVIRT := $(shell pkg-config --exists $(PKGS_LIBVIRT) && echo yes)

include protocol/sources.mk vmm/sources.mk cli/sources.mk

CFLAGS ?= -O2 -g
# err.c and many sentences cut over-long text on purpose (gcc only warns of that; clang does not know the option).
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-unknown-warning-option -Wno-format-truncation $(WERROR)
BASE_CFLAGS := -std=gnu17 $(WARN) -I. -D_GNU_SOURCE -DVMPOKE_VERSION='"$(VERSION)"' \
	-DVMPOKE_LIBEXECDIR='"$(PREFIX)/lib/vmpoke"' \
	$(if $(HAVE_XDP),-isystem $(BUILD)/bpf) $(shell pkg-config --cflags $(PKGS_PROTOCOL) $(PKGS_VM) $(PKGS_DAEMON) $(if $(HAVE_LIBVIRT),$(PKGS_XML)) 2>/dev/null)
# Not all who link libprotocol.a verify signatures; what is not used must not be loaded.
LIBS_PROTOCOL := -Wl,--push-state,--as-needed $(shell pkg-config --libs $(PKGS_PROTOCOL) 2>/dev/null) -Wl,--pop-state
LIBS_VM := -lZydis $(shell pkg-config --libs $(if $(HAVE_XDP),$(PKGS_XDP)) $(PKGS_VM) 2>/dev/null)
LIBS_XML := $(if $(HAVE_LIBVIRT),$(shell pkg-config --libs $(PKGS_XML) 2>/dev/null))
LIBS_LIBVIRT := $(shell pkg-config --libs $(PKGS_LIBVIRT) 2>/dev/null)
LIBS_DAEMON := $(shell pkg-config --libs $(PKGS_DAEMON) 2>/dev/null)

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' $(1) $(2))

all: $(BUILD)/vmpoked $(BUILD)/vmpoke-vm $(BUILD)/vmpoke $(BUILD)/vmpoke-agent $(if $(HAVE_LIBVIRT),$(addprefix $(BUILD)/,vmpoke-libvirt vmpoke-hook))

# One set of rules per variant: $(1) folder, $(2) extra flags, $(3) folder of what is the same there.
#   build       what is installed
#   build/test  with kill points, for crash tests: only the files that have some are compiled again
#   build/san   kill points + ASan + UBSan, for unit tests and the seeds of fuzz targets; -O1 and line
#               numbers only: its objects take twice as long to compile as the others', and it is for one run
fault_src := vmm/fault.c $(shell grep -l '^\#include "vmm/fault.h"' $(vm_src))
objects = $(foreach f,$(3),$(if $(filter $(f),$(fault_src)),$(1),$(2))/obj/$(f:.c=.o))
SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
define variant
$(1)/obj/%.o: %.c
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(CC) $$(BASE_CFLAGS) $$(CFLAGS) $(2) -MMD -MP -c -o $$@ $$<
$(1)/libprotocol.a: $(call objects,$(1),$(3),$(protocol_src))
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
$(1)/libvm.a: $(call objects,$(1),$(3),$(filter-out vmm/worker.c,$(vm_src)))
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
$(1)/vmpoke-vm: $(1)/obj/vmm/worker.o $(1)/libvm.a $(1)/libprotocol.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) $(2) -o $$@ $$^ $$(LIBS_VM) $$(LIBS_PROTOCOL)
$(1)/vmpoked: $(call objects,$(1),$(3),$(daemon_src)) $(1)/libprotocol.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) $(2) -o $$@ $$^ $$(LIBS_DAEMON) $$(LIBS_PROTOCOL)
$(1)/vmpoke-libvirt: $(call objects,$(1),$(3),$(libvirt_src)) $(1)/libprotocol.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) $(2) -pthread -o $$@ $$^ $$(LIBS_LIBVIRT) $$(LIBS_DAEMON) $$(LIBS_PROTOCOL)
$(1)/vmpoke: $(call objects,$(1),$(3),$(cli_src)) $(1)/libprotocol.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LDFLAGS) $(2) -o $$@ $$^ $$(LIBS_PROTOCOL)
endef
$(eval $(call variant,$(BUILD),,$(BUILD)))
$(eval $(call variant,$(BUILD)/test,-DVMPOKE_FAULT_POINTS,$(BUILD)))
$(eval $(call variant,$(BUILD)/san,-DVMPOKE_FAULT_POINTS $(SAN) -O1 -g1,$(BUILD)/san))

# libvirt waits for it: static, for it then starts in a third of the time.
$(BUILD)/vmpoke-hook: $(BUILD)/obj/vmm/libvirt/hook.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -static -o $@ $^

include guest-agent/sources.mk protocol/lib/sources.mk docs/man/sources.mk

# A program for the kernel and the C that embeds it. -g: libbpf wants its types (BTF).
$(BUILD)/bpf/%.bpf.o: vmm/link/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) -target bpf -O2 -g -Wall -Wextra $(WERROR) \
		$(addprefix -idirafter /usr/include/,$(shell $(CC) -print-multiarch 2>/dev/null)) -MMD -MP -c -o $@ $<
$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf >$@.tmp && mv $@.tmp $@
# Before the first compilation, when there are no dependency files yet.
$(foreach dir,obj test/obj san/obj fuzz/obj,$(BUILD)/$(dir)/vmm/link/xdp_tap.o) analyze-tidy-vmm/link/xdp_tap.c: \
	$(if $(HAVE_XDP),$(BUILD)/bpf/xdp.skel.h)

include tests/tests.mk

UNITDIR ?= $(PREFIX)/lib/systemd/system
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc
units := $(filter-out %-libvirt.service,$(wildcard systemd/*.service systemd/*.socket))

install: all man $(if $(HAVE_LIBVIRT),install-libvirt)
	install -D -m 755 $(BUILD)/vmpoke $(DESTDIR)$(PREFIX)/bin/vmpoke
	install -D -m 755 $(BUILD)/vmpoked $(DESTDIR)$(PREFIX)/sbin/vmpoked
	install -D -m 755 $(BUILD)/vmpoke-vm $(DESTDIR)$(PREFIX)/lib/vmpoke/vmpoke-vm
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) $(units)
	sed -i 's|/usr/sbin/|$(PREFIX)/sbin/|' $(patsubst systemd/%,$(DESTDIR)$(UNITDIR)/%,$(filter %.service,$(units)))
	install -D -m 644 cli/completion/vmpoke.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/vmpoke
	install -D -m 644 cli/completion/_vmpoke $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_vmpoke
	install -D -m 644 systemd/vmpoke.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/vmpoke.conf
	install -D -m 644 systemd/vmpoke.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/vmpoke.conf
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man1 $(filter %.1,$(man_pages))
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man5 $(filter %.5,$(man_pages))
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man7 $(filter %.7,$(man_pages))
	install -D -m 644 -t $(DESTDIR)$(MANDIR)/man8 $(BUILD)/man/vmpoked.8
	install -D -m 644 -t $(DESTDIR)$(DOCDIR)/vmpoke README.md protocol/PROTOCOL.md $(wildcard docs/*.md)
	install -D -m 644 tests/demo.yaml $(DESTDIR)$(DOCDIR)/vmpoke/examples/getpgrp-is-4242.yaml
	install -D -m 644 systemd/links.conf $(DESTDIR)$(DOCDIR)/vmpoke/examples/links.conf

install-libvirt: all man
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/lib/vmpoke $(BUILD)/vmpoke-libvirt $(BUILD)/vmpoke-hook
	install -d $(DESTDIR)/etc/libvirt/hooks/qemu.d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/lib/|$(PREFIX)/lib/|' vmm/libvirt/50-vmpoke >$(DESTDIR)/etc/libvirt/hooks/qemu.d/50-vmpoke
	chmod 755 $(DESTDIR)/etc/libvirt/hooks/qemu.d/50-vmpoke
	sed 's|/usr/lib/|$(PREFIX)/lib/|' systemd/vmpoke-libvirt.service >$(DESTDIR)$(UNITDIR)/vmpoke-libvirt.service
	install -D -m 644 $(BUILD)/man/vmpoke-libvirt.8 $(DESTDIR)$(MANDIR)/man8/vmpoke-libvirt.8

# Into a guest's file system, not the host's.
install-agent: $(BUILD)/vmpoke-agent man
	install -D -m 755 $(BUILD)/vmpoke-agent $(DESTDIR)$(PREFIX)/sbin/vmpoke-agent
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/sbin/|$(PREFIX)/sbin/|' guest-agent/vmpoke-agent.service >$(DESTDIR)$(UNITDIR)/vmpoke-agent.service
	install -D -m 644 guest-agent/60-vmpoke-agent.rules $(DESTDIR)$(UDEVDIR)/60-vmpoke-agent.rules
	install -D -m 644 $(BUILD)/man/vmpoke-agent.8 $(DESTDIR)$(MANDIR)/man8/vmpoke-agent.8

# Debian packages, in $(BUILD)/deb. From a copy of the sources, so that the tree stays as it is;
# DEB_PREBUILT=1 packs what $(BUILD) holds instead of compiling it with Debian's flags.
deb: $(if $(DEB_PREBUILT),all library man)
	$(Q)tests/install-deps build package
	$(Q)rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb/vmpoke-$(VERSION)
	$(Q)git ls-files -z | xargs -0 cp --parents -pt $(BUILD)/deb/vmpoke-$(VERSION)
	$(Q)mv $(BUILD)/deb/vmpoke-$(VERSION)/systemd/debian $(BUILD)/deb/vmpoke-$(VERSION)/debian # where its tools look
	+$(Q)cd $(BUILD)/deb/vmpoke-$(VERSION) && $(if $(DEB_PREBUILT),VMPOKE_PREBUILT='$(abspath $(BUILD))' \
		DEB_BUILD_OPTIONS=noautodbgsym) MAKEFLAGS= SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		dpkg-buildpackage -b -us -uc $(if $(DEB_PREBUILT),,-j$(shell nproc)) >../log 2>&1 || { tail -n 30 ../log; exit 1; }
	@ls $(BUILD)/deb/*.deb

clean:
	rm -rf $(BUILD)

help:
	@printf '%-12s %s\n' \
		all "vmpoked, vmpoke-vm and vmpoke in $(BUILD)/ (default)" \
		demo "a live Debian kernel patched and put back, under 3 minutes" \
		check "all tests; installs missing packages when root" \
		check-full "the same, and the long stress tests on lanes v, n and e of the rig: an hour or more" \
		bench "pause of a patch against stop/cont and gdb" \
		fuzz "60 s of each fuzz target (FUZZ_SECONDS=60)" \
		analyze "clang-tidy and cppcheck" \
		tidy "clang-format in place" \
		install "into DESTDIR and PREFIX=$(PREFIX)" \
		install-agent "the guest's agent, into a guest's DESTDIR" \
		deb "Debian packages in $(BUILD)/deb" \
		install-library "libvmpoke, for programs that are clients" \
		deps-list "the Debian packages and what each is for" \
		clean "remove $(BUILD)/" \
		"" "V=1 shows commands, WERROR= lets warnings pass"

-include $(shell find $(BUILD) -path $(BUILD)/deb -prune -o -name '*.d' -type f -print 2>/dev/null)

.PHONY: all install install-agent install-libvirt deb clean help
