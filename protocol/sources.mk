protocol_src := protocol/err.c protocol/util.c \
	protocol/qmp_lexer.c protocol/qmp.c protocol/qmp_format.c protocol/qmp_error.c \
	protocol/client.c protocol/client_queue.c \
	protocol/schema.c protocol/schema_table.c protocol/schema_introspect.c \
	protocol/patchfile.c protocol/patchfile_site.c protocol/patchfile_exclude.c protocol/patchfile_yaml.c protocol/place.c
