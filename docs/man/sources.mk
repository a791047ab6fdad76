# Manual pages: each a frame in Markdown that takes the rest from the other documents.
man_pages := $(patsubst docs/man/%.md,$(BUILD)/man/%,$(wildcard docs/man/*.md))
# The day of the last commit, as in a package: the same source gives the same page.
MAN_DATE ?= $(shell date -u -d "@$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)}" +%Y-%m-%d)

# All of vmpoke, but for its main().
$(BUILD)/tools/cli-main.o: $(BUILD)/obj/cli/main.o
	@mkdir -p $(@D)
	$(Q)objcopy --redefine-sym main=cli_main $< $@
$(BUILD)/tools/list-verbs: docs/man/list-verbs.c $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out cli/main.c,$(cli_src))) \
		$(BUILD)/tools/cli-main.o $(BUILD)/libprotocol.a
	$(call say,TOOL,$@)
	$(Q)$(CC) $(BASE_CFLAGS) -o $@ $^ $(LIBS_PROTOCOL)
$(BUILD)/man/%: docs/man/%.md docs/man/assemble $(BUILD)/tools/list-verbs README.md protocol/PROTOCOL.md guest-agent/README.md \
		$(wildcard docs/*.md)
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)BUILD=$(BUILD) docs/man/assemble $< $(VERSION) $(MAN_DATE) >$@.tmp && mv $@.tmp $@
man: $(man_pages)
.PHONY: man
