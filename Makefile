# make build   the binary: target/release/netpol-ebpf
# make demo    two hosts and a firewall in throw-away namespaces (root, under two minutes)
# make test    everything that can be tested on this machine (root for the packet tests)
# make soak    the long forms of the tests of reloads and crashes
# make install DESTDIR= PREFIX=/usr

CARGO = tests/cargo.sh
BIN = target/release/netpol-ebpf
OTHER = target/other-abi/netpol-ebpf
PREFIX ?= /usr
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system

.PHONY: all build deps demo test test-programs soak install lint clean

all: build

deps:
	@tests/install-deps.sh

build: deps
	$(CARGO) build --release --locked -p netpol-ebpf

demo: build
	@NETPOL_BIN=$(abspath $(BIN)) tests/demo.sh

# Unit tests are built with their debug assertions; the packet tests run the binary that is shipped.
test: test-programs
	NETPOL_BIN=$(abspath $(BIN)) NETPOL_OTHER_BIN=$(abspath $(OTHER)) $(CARGO) --root test --workspace --locked --no-fail-fast

# The second binary has another number of layout (NP_ABI): upgrades and downgrades are tested with it.
test-programs: build
	$(CARGO) build --locked -p netpol-ebpf --features other-abi
	install -D target/debug/netpol-ebpf $(OTHER)
	chown --reference=target/debug/netpol-ebpf $(dir $(OTHER)) $(OTHER)
	$(CARGO) test --workspace --locked --no-run

# The long forms of tests that `make test` shortens: 10,000 reloads, a fault at every single call, minutes without a daemon. Hours.
soak: test-programs
	NETPOL_SOAK=1 NETPOL_BIN=$(abspath $(BIN)) NETPOL_OTHER_BIN=$(abspath $(OTHER)) $(CARGO) --root test -p netpol-ebpf --lib --locked \
		crash_tests -- --nocapture
	NETPOL_SOAK=1 NETPOL_BIN=$(abspath $(BIN)) NETPOL_OTHER_BIN=$(abspath $(OTHER)) $(CARGO) --root test -p netpol-tests --test chaos \
		--locked -- --test-threads=1

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
