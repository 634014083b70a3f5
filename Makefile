# make build   the binary: target/release/netpol-ebpf
# make demo    two hosts and a firewall in throw-away namespaces (root, under two minutes)
# make test    everything that can be tested on this machine (root for the packet tests)
# make test-kernels KERNELS="6.1 newest"   Debian's kernels under qemu run what a kernel can change (x86-64 Debian; downloads)
# make install DESTDIR= PREFIX=/usr

CARGO = tests/cargo.sh
BIN = target/release/netpol-ebpf
PREFIX ?= /usr
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
KERNELS ?= 5.10 6.1 6.12 newest

.PHONY: all build deps demo test test-kernels install lint clean

all: build

deps:
	@tests/install-deps.sh

build: deps
	$(CARGO) build --release --locked -p netpol-ebpf

demo: build
	@NETPOL_BIN=$(abspath $(BIN)) tests/demo.sh

# Unit tests are built with their debug assertions; the packet tests run the binary that is shipped.
test: build
	$(CARGO) test --workspace --locked --no-run
	NETPOL_BIN=$(abspath $(BIN)) $(CARGO) --root test --workspace --locked --no-fail-fast

# The oldest supported kernel, one of today, the newest; and one that is too old, which the daemon must refuse.
test-kernels: build
	@tests/install-deps.sh kernels
	tests/kernels/run.sh $(KERNELS)

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# Installs what `make build` has built; run it as root after a build as yourself.
install:
	@test -x $(BIN) || { echo "$(BIN) is missing: run make build first" >&2; exit 1; }
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/sbin/netpol-ebpf
	install -d -m 0755 $(DESTDIR)$(UNITDIR)
	sed 's|@PREFIX@|$(PREFIX)|' systemd/netpol-ebpf.service > $(DESTDIR)$(UNITDIR)/netpol-ebpf.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/netpol-ebpf.service
	install -d -m 0755 $(DESTDIR)$(SYSCONFDIR)/netpol.d
	install -D -m 0644 README.md $(DESTDIR)$(PREFIX)/share/doc/netpol-ebpf/README.md

clean:
	$(CARGO) clean
