# Both ends of the agent's link have these: freestanding.
agent_protocol_src := protocol/agent_frame.c protocol/agent_msg.c protocol/agent_hello.c protocol/agent_list.c \
	protocol/agent_names.c protocol/crc32c.c protocol/blake2s.c \
	protocol/dgram.c protocol/dgram_wire.c protocol/dgram_input.c protocol/dgram_output.c

protocol_src := protocol/err.c protocol/util.c protocol/suggest.c \
	protocol/qmp_lexer.c protocol/qmp.c protocol/qmp_format.c protocol/qmp_error.c \
	protocol/client.c protocol/client_queue.c \
	protocol/schema.c protocol/schema_table.c protocol/schema_introspect.c \
	protocol/patchfile.c protocol/patchfile_site.c protocol/patchfile_exclude.c protocol/patchfile_yaml.c protocol/place.c \
	protocol/manifest.c protocol/minisign.c \
	protocol/agent_addr.c protocol/agent_key.c \
	$(agent_protocol_src)
