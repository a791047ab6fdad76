# The worker: backends, guest knowledge, poke engine.
vm_src := vmm/fault.c vmm/worker.c \
	$(wildcard vmm/arch/*.c vmm/poke/*.c vmm/kind/*.c vmm/guest/*.c vmm/backend/*.c vmm/kvm/*.c vmm/link/*.c vmm/worker/*.c)

# The daemon: sockets, registry, jobs. Links no parser of guest memory.
daemon_src := vmm/vmpoked.c vmm/fault.c $(wildcard vmm/control/*.c)
