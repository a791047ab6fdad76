# The tool that borrows a context in the tests, with kill points.
$(BUILD)/test/borrow-run: $(BUILD)/test/obj/tests/tools/borrow-run.o $(BUILD)/test/libvm.a $(BUILD)/test/libprotocol.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -pthread -o $@ $^ $(LIBS_VM) $(LIBS_PROTOCOL)
test-binaries: $(BUILD)/test/borrow-run
