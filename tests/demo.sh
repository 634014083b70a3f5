#!/usr/bin/env bash
# Two hosts and a firewall between them, in throw-away network namespaces. Everything shown is real and checked:
# the exit code is not 0 if anything is not as it should be. The host's own network is not touched.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${NETPOL_BIN:-target/release/netpol-ebpf}
name=np-demo-$$
home=/run/$name
pins=/sys/fs/bpf/$name
options=(--config-dir "$home/netpol.d" --bpffs "$pins" --runtime-dir "$home/run" --state-dir "$home/state")
failed=0
started=()

fail() { printf '   \033[31mNOT AS IT SHOULD BE: %s\033[0m\n' "$*"; failed=1; }
good() { printf '   \033[32m%s\033[0m\n' "$*"; }
title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
if [ ! -t 1 ] || [ -n "${NO_COLOR-}" ]; then
    fail() { echo "   NOT AS IT SHOULD BE: $*"; failed=1; }
    good() { echo "   $*"; }
    title() { printf '\n%s\n' "$*"; }
fi
die() { echo "demo: $*" >&2; exit 1; }
on() { local where=$1; shift; nsenter --net="/run/netns/$name-$where" "$@"; }
background() { # WHERE COMMAND…
    local where=$1
    shift
    nsenter --net="/run/netns/$name-$where" "$@" &
    started+=($!)
}
netpol() { on firewall "$bin" "$@" "${options[@]}"; }

clean() {
    trap - EXIT INT TERM
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait 2>/dev/null || true
    for where in laptop firewall server; do
        [ ! -e "/run/netns/$name-$where" ] || ip netns del "$name-$where"
    done
    [ ! -d "$pins" ] || rm -r "$pins"
    rm -rf "$home"
}

[ "$(id -u)" -eq 0 ] || die "needs root: sudo make demo"
[ -x "$bin" ] || die "$bin is missing: run make build first"
for tool in ip nsenter nc timeout; do
    command -v "$tool" >/dev/null || die "$tool is missing: run tests/install-deps.sh"
done
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf

# ---- the world ----------------------------------------------------------------------------------------------

world() {
    mkdir -p "$home/netpol.d" "$home/run" "$home/state"
    local where
    for where in laptop firewall server; do
        ip netns add "$name-$where"
        on "$where" ip link set lo up
    done
    ip link add eth0 netns "$name-laptop" type veth peer name lan netns "$name-firewall"
    ip link add eth0 netns "$name-server" type veth peer name dmz netns "$name-firewall"
    host laptop 10.77.1 fd77:1
    host server 10.77.2 fd77:2
    router lan 10.77.1 fd77:1
    router dmz 10.77.2 fd77:2
    on firewall sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
}
host() { # WHERE NET4 NET6
    on "$1" ip address add "$2.2/24" dev eth0
    on "$1" ip address add "$3::2/64" dev eth0 nodad
    on "$1" ip link set eth0 up
    on "$1" ip route add default via "$2.1"
    on "$1" ip route add default via "$3::1" onlink dev eth0
}
router() { # LINK NET4 NET6
    on firewall ip address add "$2.1/24" dev "$1"
    on firewall ip address add "$3::1/64" dev "$1" nodad
    on firewall ip link set "$1" up
}
services() {
    : > "$home/53" && : > "$home/69" && : > "$home/22"
    background server nc -6 -lk 80 > /dev/null
    background server nc -lk 80 > /dev/null
    background server nc -lk 22 > "$home/22"
    background server nc -lk 23 > /dev/null
    background server nc -lk -u 53 > "$home/53"
    background server nc -lk -u 69 > "$home/69"
}

# ---- questions ----------------------------------------------------------------------------------------------

tcp() { # EXPECTED ADDRESS PORT
    local answer=refused
    printf '   laptop $ nc -z %s %s' "$2" "$3"
    if on laptop timeout 3 nc -z -w 1 "$2" "$3" 2>/dev/null; then answer=connected; fi
    echo "  -> $answer"
    [ "$answer" = "$1" ] || fail "TCP to $2 port $3: $answer, expected $1"
}
udp() { # EXPECTED PORT
    local answer=lost word="hello-$RANDOM-$RANDOM" try
    printf '   laptop $ echo hello | nc -u 10.77.2.2 %s' "$2"
    echo "$word" | on laptop timeout 3 nc -u -q 0 -w 1 10.77.2.2 "$2" || true
    for try in 1 2 3 4 5; do
        if grep -q "$word" "$home/$2"; then answer=arrived; break; fi
        sleep 0.1
    done
    echo "  -> $answer"
    [ "$answer" = "$1" ] || fail "UDP to port $2: $answer, expected $1"
}
now() { date +%s%3N; }
lines() { wc -l < "$home/22"; }

# ---- the walk -----------------------------------------------------------------------------------------------

title "1. A laptop, a firewall, a server: three network namespaces. No firewall yet"
world
services
# A fresh link needs a moment until the kernel calls it up.
for try in $(seq 20); do
    if on laptop nc -z -w 1 fd77:2::2 80 2>/dev/null && on laptop nc -z -w 1 10.77.2.2 23 2>/dev/null; then break; fi
    sleep 0.1
done
tcp connected 10.77.2.2 80
tcp connected fd77:2::2 80
tcp connected 10.77.2.2 23
udp arrived 69

title "2. A policy for the interface \"lan\""
cat > "$home/netpol.d/10-lan.toml" <<'TOML'
version = 1

[[policy]]
name             = "lan"
interfaces       = ["lan"]
default_action   = { ingress = "deny" }
log_default_deny = true

[[policy.ingress]]
id          = "web"
action      = "allow"
protocol    = "tcp"
destination = { ports = [80] }

[[policy.ingress]]
id          = "ssh"
action      = "allow"
protocol    = "tcp"
destination = { ports = [22] }

[[policy.ingress]]
id          = "dns"
action      = "allow"
protocol    = "udp"
destination = { ports = [53] }

[[test]]
name      = "telnet stays shut"
interface = "lan"
direction = "ingress"
packet    = { protocol = "tcp", source = "10.77.1.2:40000", destination = "10.77.2.2:23" }
expect    = "deny"
TOML
sed 's/^/   | /' "$home/netpol.d/10-lan.toml"
echo "   firewall $ netpol-ebpf check"
netpol check || fail "check refuses the policy"
background firewall "$bin" run "${options[@]}" > "$home/log" 2>&1
daemon=${started[-1]}
for try in $(seq 100); do
    if netpol status >/dev/null 2>&1; then break; fi
    kill -0 "$daemon" 2>/dev/null || { cat "$home/log"; die "the daemon has ended"; }
    sleep 0.1
done
[ "$try" -lt 100 ] || { cat "$home/log"; die "the daemon does not answer"; }
echo "   firewall $ netpol-ebpf run &"

title "3. What the policy names passes, the rest does not: TCP, UDP, both families"
tcp connected 10.77.2.2 80
tcp connected fd77:2::2 80
tcp refused 10.77.2.2 23
tcp refused fd77:2::2 23
udp arrived 53
udp lost 69

title "4. A live SSH-like connection; then the file is edited"
mkfifo "$home/keyboard"
{ while sleep 0.05; do echo tick; done; } > "$home/keyboard" 2>/dev/null &
started+=($!)
nsenter --net="/run/netns/$name-laptop" nc 10.77.2.2 22 < "$home/keyboard" >/dev/null 2>&1 &
started+=($!)
sleep 1
before=$(lines)
[ "$before" -gt 5 ] || fail "the connection does not carry data ($before lines)"
good "the connection lives: $before lines so far"
edited=$(now)
sed -i '/id *= "ssh"/{n;s/"allow"/"deny"\nlog         = true/}' "$home/netpol.d/10-lan.toml"
echo "   firewall $ sed -i … 10-lan.toml      # ssh: allow -> deny, log = true"
last=$(lines)
cut=$edited
while [ $(( $(now) - edited )) -lt 2500 ]; do
    current=$(lines)
    if [ "$current" -ne "$last" ]; then last=$current; cut=$(now); fi
    sleep 0.02
done
if [ $((cut - edited)) -le 1000 ]; then
    good "cut $((cut - edited)) ms after the file was saved, without any command"
else
    fail "data still passed $((cut - edited)) ms after the edit"
fi
tcp refused 10.77.2.2 22
tcp connected 10.77.2.2 80

title "5. Why was it dropped? The rule, with its place in the file, and the log"
echo "   firewall $ netpol-ebpf rules"
netpol rules > "$home/rules" || fail "rules"
sed 's/^/   /' "$home/rules"
grep -Eq '10-lan\.toml:[0-9]+' "$home/rules" || fail "rules do not name file and line"
sleep 0.3
echo "   firewall $ journalctl -u netpol-ebpf"
grep -E 'ssh' "$home/log" | tail -n 2 | sed 's/^/   /'
grep -q 'ssh' "$home/log" || fail "the log does not name the rule"

title "6. A broken file changes nothing"
echo 'version = 1
[[policy]]
nmae = "typo"' > "$home/netpol.d/20-broken.toml"
echo "   firewall $ netpol-ebpf check"
if netpol check > "$home/check" 2>&1; then fail "check accepts a broken file"; fi
sed 's/^/   /' "$home/check"
sleep 1
tcp connected 10.77.2.2 80
tcp refused 10.77.2.2 22
rm "$home/netpol.d/20-broken.toml"

title "7. The daemon is killed with -9: the kernel goes on"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
tcp connected 10.77.2.2 80
tcp refused 10.77.2.2 23

echo
if [ "$failed" -ne 0 ]; then
    echo "The daemon's log:"
    sed 's/^/   /' "$home/log"
    die "something was not as it should be"
fi
good "All as it should be. Nothing is left behind."
