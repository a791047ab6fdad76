# The worker: backends, guest knowledge, poke engine.
vm_src := vmm/fault.c vmm/worker.c \
	$(wildcard vmm/arch/*.c vmm/poke/*.c vmm/kind/*.c vmm/guest/*.c vmm/payload/*.c vmm/borrow/*.c vmm/backend/*.c vmm/kvm/*.c vmm/worker/*.c) \
	$(filter-out vmm/link/xdp%,$(wildcard vmm/link/*.c)) \
	$(if $(HAVE_XDP),$(filter-out %_none.c %.bpf.c,$(wildcard vmm/link/xdp*.c)),vmm/link/xdp_none.c)

# What follows libvirt: a client of the daemon. Only its own program links libvirt; what it reads of strangers does
# without and is tested alone.
libvirt_read_src := $(addprefix vmm/libvirt/,xml.c domain_xml.c domain_setup.c travel.c passage.c hook_parse.c)
libvirt_src := $(filter-out %/hook.c,$(wildcard vmm/libvirt/*.c)) vmm/control/log.c

# The daemon: sockets, registry, jobs. Links no parser of guest memory.
daemon_src := vmm/vmpoked.c vmm/fault.c $(wildcard vmm/control/*.c)
