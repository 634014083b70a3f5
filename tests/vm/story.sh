#!/bin/bash
# The life of the service in a real boot. Every line says what was seen; the last one is the verdict.
set -u
policy=/etc/netpol.d/10-vm.toml
second=/var/lib/netpol-vm-second

say() { echo "STORY $*"; }
end() { echo "NETPOL-VERDICT $*"; sync; systemctl poweroff --force --force; sleep 60; }
fail() {
    say "$*"
    journalctl -b --no-pager -u netpol-ebpf | tail -n 20
    systemctl --no-pager --failed
    end "FAILED $(uname -r): $*"
}
must() { "$@" || fail "'$*' failed"; }
until_true() { # SECONDS WHAT COMMAND…
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do [ "$SECONDS" -lt "$end" ] || fail "not seen in time: $what"; sleep 0.2; done
}
count() { nft list counter inet seen "$1" | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
# New packets of both families come through, and never one that is denied.
flows() {
    local four six
    four=$(count allowed4) six=$(count allowed6)
    sleep 1
    [ "$(count allowed4)" -gt "$four" ] && [ "$(count allowed6)" -gt "$six" ]
}
judged() { # WHEN
    until_true 60 "$1: allowed packets of both families" flows
    [ "$(count denied)" = 0 ] || fail "$1: $(count denied) denied packets came through"
    say "$1: allowed packets pass ($(count allowed4) IPv4, $(count allowed6) IPv6 since the boot), 0 denied ones"
}
when() { systemctl show -P "$2" "$1"; }
before_the_network() {
    local ours network
    ours=$(when netpol-ebpf.service ActiveEnterTimestampMonotonic) network=$(when network-pre.target ActiveEnterTimestampMonotonic)
    [ "$ours" -gt 0 ] && [ "$ours" -le "$network" ] || fail "ready at $ours us, network-pre.target at $network us"
    say "ready $(((network - ours) / 1000)) ms before network-pre.target"
}
is() { [ "$(systemctl show -P "$1" netpol-ebpf)" = "$2" ]; }

say "$(uname -r), $(systemctl --version | head -n 1)"
must systemctl is-active --quiet netpol-ebpf
before_the_network
if [ -e "$second" ]; then
    judged "second boot, with a broken policy"
    netpol-ebpf status | grep -q 'made from last-good' || fail "status does not tell of the last good ruleset: $(netpol-ebpf status)"
    journalctl -b -u netpol-ebpf -p err -o cat | grep -q '10-vm.toml' || fail "the journal does not name the broken file"
    say "the last good ruleset is enforced, and the journal names the broken file"
    end "OK $(uname -r)"
fi

judged "first boot"
until_true 20 "a journal entry with fields" \
    sh -c 'journalctl -u netpol-ebpf NETPOL_REASON=default NETPOL_DPORT=54 NETPOL_INTERFACE=left -o cat | grep -q drop'
say "dropped packets are in the journal by field: $(journalctl -u netpol-ebpf NETPOL_REASON=default NETPOL_DPORT=54 -o cat | head -n 1)"

good=$(cat "$policy")
sed -i 's/^id .*= "dns"/id          = "names"/' "$policy"
must systemctl reload netpol-ebpf
netpol-ebpf rules | grep -q names || fail "the reloaded rule is not there"
judged "after a reload"
echo 'colour = "red"' >> "$policy"
if systemctl reload netpol-ebpf; then fail "a reload with a broken policy succeeded"; fi
judged "after a reload that was refused"
echo "$good" > "$policy"
must systemctl reload netpol-ebpf

must kill -9 "$(systemctl show -P MainPID netpol-ebpf)"
until_true 60 "a restart after kill -9" is NRestarts 1
until_true 60 "active again" is SubState running
judged "after kill -9"
must systemctl restart netpol-ebpf
judged "after a restart"
must systemctl stop netpol-ebpf
judged "stopped (on_stop = \"keep\")"
must systemctl start netpol-ebpf
judged "started again"

echo 'colour = "red"' >> "$policy"
touch "$second"
sync
systemctl reboot
