# make build   the binary: target/release/netpol-ebpf
# make demo    two hosts and a firewall in throw-away namespaces (root, under two minutes)
# make test    everything that can be tested on this machine (root for the packet tests)
# make soak    everything at once, for SOAK_MINUTES=60 (root)
# make soak-reloads   the long forms of the tests of reloads and crashes
# make test-kernels KERNELS="6.1 newest"   Debian's kernels under qemu run what a kernel can change (x86-64 Debian; downloads)
# make test-vm  this machine's systemd and the installed service, booted twice in a virtual machine under Debian's 6.12 (x86-64; root; downloads)
# make fuzz    each parser of what outsiders write, by libFuzzer: FUZZ_SECONDS=60 a target (needs a C++ compiler; no root)
# make lint-nix   the Nix files: syntax, format, dead code (Debian: nix-bin; the tools are built into target/tools)
# make deb, make rpm   packages of what `make build` has built: target/packages (cargo-deb is built into target/tools when missing)
# make test-packages   both packages through their life in a booted systemd: install, upgrade under traffic, remove (root)
# make install DESTDIR= PREFIX=/usr

CARGO = tests/cargo.sh
BIN = target/release/netpol-ebpf
OTHER = target/other-abi/netpol-ebpf
PREFIX ?= /usr
SHARE ?= $(PREFIX)/share
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
VM_KERNEL ?= 6.12
KERNELS ?= 5.10 6.1 6.12 newest

STAGING = $(CURDIR)/target/package
PACKAGES = $(CURDIR)/target/packages
TOOLS = $(CURDIR)/target/tools
# Of the packages; the workspace's unless said otherwise.
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
# A package that is newer than this one, for the test of upgrades.
NEXT = $(VERSION)+next

.PHONY: all build deps demo test test-programs test-kernels test-vm test-packages fuzz soak soak-reloads install deb rpm stage lint lint-nix clean

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
soak-reloads: test-programs
	NETPOL_SOAK=1 NETPOL_BIN=$(abspath $(BIN)) NETPOL_OTHER_BIN=$(abspath $(OTHER)) $(CARGO) --root test -p netpol-ebpf --lib --locked \
		crash_tests -- --nocapture
	NETPOL_SOAK=1 NETPOL_BIN=$(abspath $(BIN)) NETPOL_OTHER_BIN=$(abspath $(OTHER)) $(CARGO) --root test -p netpol-tests --test chaos \
		--locked -- --test-threads=1

# Everything at once for SOAK_MINUTES (an hour), under a flood of SOAK_RATE packets a second. Ctrl-C ends it with its table: cargo and the
# shell hear none, so that the table still finds its terminal.
soak: build
	$(CARGO) test --locked -p netpol-tests --test soak --no-run
	@trap '' INT; NETPOL_BIN=$(abspath $(BIN)) SOAK_MINUTES=$${SOAK_MINUTES:-60} $(CARGO) --root test --locked -p netpol-tests --test soak

# The oldest supported kernel, one of today, the newest; and one that is too old, which the daemon must refuse.
test-kernels: test-programs
	@tests/install-deps.sh kernels
	tests/kernels/run.sh $(KERNELS)

# A whole systemd under Debian's kernel in a virtual machine: boot, reload, crash, stop, reboot with a broken policy.
test-vm: build
	@tests/install-deps.sh kernels
	tests/vm/run.sh $(VM_KERNEL)

fuzz:
	@tests/install-deps.sh fuzz
	tests/fuzz/run.sh

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

NIX_FILES = flake.nix nix/*.nix tests/nix/*.nix tests/nix/*/*.nix

lint-nix: $(TOOLS)/bin/nixpkgs-fmt $(TOOLS)/bin/deadnix
	@tests/install-deps.sh nix
	nix-instantiate --parse --store dummy:// $(NIX_FILES) > /dev/null
	$(TOOLS)/bin/nixpkgs-fmt --check $(NIX_FILES)
	$(TOOLS)/bin/deadnix --fail $(NIX_FILES)

# Installs what `make build` has built; run it as root after a build as yourself.
install:
	@test -x $(BIN) || { echo "$(BIN) is missing: run make build first" >&2; exit 1; }
	install -D -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/sbin/netpol-ebpf
	install -d -m 0755 $(DESTDIR)$(UNITDIR)
	sed 's|@PREFIX@|$(PREFIX)|' systemd/netpol-ebpf.service > $(DESTDIR)$(UNITDIR)/netpol-ebpf.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/netpol-ebpf.service
	install -D -m 0644 -t $(DESTDIR)$(SHARE)/doc/netpol-ebpf systemd/metrics.conf systemd/waits.conf
	install -d -m 0755 $(DESTDIR)$(SYSCONFDIR)/netpol.d $(DESTDIR)$(SHARE)/man/man5 $(DESTDIR)$(SHARE)/man/man8
	$(BIN) man netpol-ebpf > $(DESTDIR)$(SHARE)/man/man8/netpol-ebpf.8
	$(BIN) man netpol.d > $(DESTDIR)$(SHARE)/man/man5/netpol.d.5
	install -d -m 0755 $(DESTDIR)$(SHARE)/bash-completion/completions $(DESTDIR)$(SHARE)/zsh/site-functions \
	    $(DESTDIR)$(SHARE)/fish/vendor_completions.d
	$(BIN) completions bash > $(DESTDIR)$(SHARE)/bash-completion/completions/netpol-ebpf
	$(BIN) completions zsh > $(DESTDIR)$(SHARE)/zsh/site-functions/_netpol-ebpf
	$(BIN) completions fish > $(DESTDIR)$(SHARE)/fish/vendor_completions.d/netpol-ebpf.fish
	install -D -m 0644 daemon/src/schema/netpol.schema.json $(DESTDIR)$(SHARE)/netpol-ebpf/netpol.schema.json
	install -D -m 0644 -t $(DESTDIR)$(SHARE)/doc/netpol-ebpf README.md CHANGELOG.md
	install -d -m 0755 $(DESTDIR)$(SHARE)/doc/netpol-ebpf/examples/lists
	install -m 0644 examples/*.toml $(DESTDIR)$(SHARE)/doc/netpol-ebpf/examples
	install -m 0644 examples/lists/*.txt $(DESTDIR)$(SHARE)/doc/netpol-ebpf/examples/lists

# What a package holds is what `make install` installs: no second list.
stage:
	rm -rf $(STAGING)
	$(MAKE) --no-print-directory install DESTDIR=$(STAGING) PREFIX=/usr
	strip $(STAGING)/usr/sbin/netpol-ebpf

$(TOOLS)/bin/%:
	@echo "building $* into $(TOOLS)"
	$(CARGO) install --locked --root $(TOOLS) $*

deb: $(TOOLS)/bin/cargo-deb stage
	@mkdir -p $(PACKAGES)
	@printf 'netpol-ebpf (%s) unstable; urgency=medium\n\n  * See README.md, and CHANGELOG.md for every change of a verdict.\n\n -- %s  %s\n' \
	    '$(VERSION)' 'the netpol-ebpf authors <netpol-ebpf@users.noreply.github.com>' "$$(date -R -r CHANGELOG.md)" > $(PACKAGES)/changelog
	@chown --reference=$(BIN) $(PACKAGES)
	PATH=$(TOOLS)/bin:$$PATH $(CARGO) deb --no-build -p netpol-ebpf --deb-version $(VERSION) -o $(PACKAGES)/netpol-ebpf_$(VERSION).deb

rpm: stage
	@command -v rpmbuild >/dev/null || { echo "rpmbuild is missing: install your distribution's rpm or rpm-build" >&2; exit 1; }
	rpmbuild -bb --quiet --define '_topdir $(CURDIR)/target/rpm' --define 'staging $(STAGING)' --define 'scripts $(CURDIR)/packaging/scripts' \
	    --define 'licences $(CURDIR)/LICENSE-MIT $(CURDIR)/LICENSE-APACHE' --define 'release_version $(VERSION)' packaging/netpol-ebpf.spec
	install -D -m 0644 target/rpm/RPMS/*/netpol-ebpf-$(VERSION)-1.*.rpm $(PACKAGES)/netpol-ebpf_$(VERSION).rpm

test-packages: build
	@tests/install-deps.sh packages
	$(MAKE) deb rpm
	$(MAKE) deb rpm VERSION=$(NEXT)
	$(CARGO) test --locked -p netpol-tests --test systemd --no-run
	NETPOL_BIN=$(abspath $(BIN)) NETPOL_PACKAGE=$(PACKAGES)/netpol-ebpf_$(VERSION) NETPOL_PACKAGE_NEXT=$(PACKAGES)/netpol-ebpf_$(NEXT) \
	    $(CARGO) --root test --locked -p netpol-tests --test systemd packages

clean:
	$(CARGO) clean
