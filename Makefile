# make build   the binary: target/release/netpol-ebpf
# make demo    two hosts and a firewall in throw-away namespaces (root, under two minutes)
# make test    everything that can be tested on this machine (root for the packet tests)
# make install DESTDIR= PREFIX=/usr

CARGO = tests/cargo.sh
BIN = target/release/netpol-ebpf
PREFIX ?= /usr
SHARE ?= $(PREFIX)/share
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system

.PHONY: all build deps demo test install lint clean

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
	install -D -m 0644 systemd/metrics.conf $(DESTDIR)$(SHARE)/doc/netpol-ebpf/metrics.conf
	install -d -m 0755 $(DESTDIR)$(SYSCONFDIR)/netpol.d $(DESTDIR)$(SHARE)/man/man5 $(DESTDIR)$(SHARE)/man/man8
	$(BIN) man netpol-ebpf > $(DESTDIR)$(SHARE)/man/man8/netpol-ebpf.8
	$(BIN) man netpol.d > $(DESTDIR)$(SHARE)/man/man5/netpol.d.5
	install -d -m 0755 $(DESTDIR)$(SHARE)/bash-completion/completions $(DESTDIR)$(SHARE)/zsh/site-functions \
	    $(DESTDIR)$(SHARE)/fish/vendor_completions.d
	$(BIN) completions bash > $(DESTDIR)$(SHARE)/bash-completion/completions/netpol-ebpf
	$(BIN) completions zsh > $(DESTDIR)$(SHARE)/zsh/site-functions/_netpol-ebpf
	$(BIN) completions fish > $(DESTDIR)$(SHARE)/fish/vendor_completions.d/netpol-ebpf.fish
	install -D -m 0644 daemon/src/schema/netpol.schema.json $(DESTDIR)$(SHARE)/netpol-ebpf/netpol.schema.json
	install -D -m 0644 README.md $(DESTDIR)$(SHARE)/doc/netpol-ebpf/README.md
	install -d -m 0755 $(DESTDIR)$(SHARE)/doc/netpol-ebpf/examples/lists
	install -m 0644 examples/*.toml $(DESTDIR)$(SHARE)/doc/netpol-ebpf/examples
	install -m 0644 examples/lists/*.txt $(DESTDIR)$(SHARE)/doc/netpol-ebpf/examples/lists

clean:
	$(CARGO) clean
