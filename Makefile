# make build   the binary: target/release/netpol-ebpf
# make demo    two hosts and a firewall in throw-away namespaces (root, under two minutes)
# make test    everything that can be tested on this machine (root for the packet tests)
# make soak    everything at once, for SOAK_MINUTES=60 (root)
# make install DESTDIR= PREFIX=/usr

CARGO = tests/cargo.sh
BIN = target/release/netpol-ebpf
PREFIX ?= /usr
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system

.PHONY: all build deps demo test soak install lint clean

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

# Everything at once for SOAK_MINUTES (an hour), under a flood of SOAK_RATE packets a second. Ctrl-C ends it with its table: cargo and the
# shell hear none, so that the table still finds its terminal.
soak: build
	$(CARGO) test --locked -p netpol-tests --test soak --no-run
	@trap '' INT; NETPOL_BIN=$(abspath $(BIN)) SOAK_MINUTES=$${SOAK_MINUTES:-60} $(CARGO) --root test --locked -p netpol-tests --test soak

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
