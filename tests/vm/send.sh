#!/bin/bash
# From the far end, all the time: what is denied, and what is allowed.
while :; do
    for port in 54 53; do
        for address in 10.1.0.1 fd00:1::1; do
            echo "$port" 2> /dev/null > "/dev/udp/$address/$port"
        done
    done
    sleep 0.02
done
