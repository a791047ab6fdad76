# The library for clients, for other people's programs: its own objects, as they go into a shared one.
lib_src := protocol/lib/client.c protocol/client.c protocol/client_queue.c protocol/err.c protocol/util.c \
	protocol/qmp_lexer.c protocol/qmp.c protocol/qmp_format.c protocol/qmp_error.c
LIB_SONAME := libvmpoke.so.0
LIBDIR ?= $(PREFIX)/lib/$(shell $(CC) -print-multiarch 2>/dev/null)

$(BUILD)/lib/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<
$(BUILD)/lib/libvmpoke.so: $(lib_src:%.c=$(BUILD)/lib/obj/%.o) protocol/lib/libvmpoke.map
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,$(LIB_SONAME) -Wl,--version-script=protocol/lib/libvmpoke.map -Wl,-z,defs \
		-o $@ $(filter %.o,$^) $(shell pkg-config --libs jansson)
# One object whose inner names are nobody's business: a program may have an err_set() of its own.
$(BUILD)/lib/libvmpoke.a: $(lib_src:%.c=$(BUILD)/lib/obj/%.o)
	$(call say,AR,$@)
	$(Q)ld -r -o $(BUILD)/lib/vmpoke.o $^ && objcopy --localize-hidden $(BUILD)/lib/vmpoke.o
	$(Q)rm -f $@ && ar rcs $@ $(BUILD)/lib/vmpoke.o

library: $(BUILD)/lib/libvmpoke.so $(BUILD)/lib/libvmpoke.a
install-library: library
	install -D -m 644 protocol/lib/vmpoke/client.h $(DESTDIR)$(PREFIX)/include/vmpoke/client.h
	install -D -m 644 $(BUILD)/lib/libvmpoke.a $(DESTDIR)$(LIBDIR)/libvmpoke.a
	install -D -m 644 $(BUILD)/lib/libvmpoke.so $(DESTDIR)$(LIBDIR)/$(LIB_SONAME).$(VERSION)
	ln -sf $(LIB_SONAME).$(VERSION) $(DESTDIR)$(LIBDIR)/$(LIB_SONAME)
	ln -sf $(LIB_SONAME) $(DESTDIR)$(LIBDIR)/libvmpoke.so
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' protocol/lib/vmpoke.pc.in \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/vmpoke.pc
.PHONY: library install-library
