#!/bin/sh
# The link to a sender, down; and counters of what comes past the firewall by it.
set -eu
ip netns add src
ip link add left address 02:00:00:00:01:01 type veth peer name eth0 address 02:00:00:00:01:02 netns src
ip -n src link set eth0 up
ip -n src address add 10.1.0.2/16 dev eth0
ip -n src address add fd00:1::2/64 dev eth0 nodad
ip -n src neighbour add 10.1.0.1 lladdr 02:00:00:00:01:01 dev eth0
ip -n src neighbour add fd00:1::1 lladdr 02:00:00:00:01:01 dev eth0
nft -f - <<RULES
table inet seen {
    counter allowed4 {}
    counter allowed6 {}
    counter denied {}
    chain arrives {
        type filter hook prerouting priority raw;
        iifname "left" udp dport 54 counter name denied
        iifname "left" meta nfproto ipv4 udp dport 53 counter name allowed4
        iifname "left" meta nfproto ipv6 udp dport 53 counter name allowed6
    }
}
RULES
