//! Addresses as people write them: one address, a CIDR, a range; and hosts with ports in tests.
//!
//! Knows spelling only. An error says what is wrong and, where it can be known, what was meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// One sentence that quotes the value.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
}

/// An inclusive run of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    V4(u32, u32),
    V6(u128, u128),
}

pub(super) fn refused(message: String) -> Refused {
    Refused { message, help: None }
}

impl Refused {
    pub(super) fn help(mut self, help: impl Into<String>) -> Refused {
        self.help = Some(help.into());
        self
    }
}

impl Run {
    pub(super) fn of(net: &IpNet) -> Run {
        match net {
            IpNet::V4(net) => Run::V4(net.network().into(), net.broadcast().into()),
            IpNet::V6(net) => Run::V6(net.network().into(), net.broadcast().into()),
        }
    }
}

/// An element of a set: address, CIDR or range `a-b`.
pub(super) fn element(text: &str) -> Result<Run, Refused> {
    match text.split_once('-') {
        Some((first, last)) => range(text, first.trim(), last.trim()),
        None => net(text).map(|net| Run::of(&net)),
    }
}

fn range(text: &str, first: &str, last: &str) -> Result<Run, Refused> {
    match (address(first)?, address(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => Ok(Run::V4(first.into(), last.into())),
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => Ok(Run::V6(first.into(), last.into())),
        (first, last) if first.is_ipv4() == last.is_ipv4() => {
            Err(refused(format!("the range `{text}` is reversed")).help(format!("write `{last}-{first}`")))
        }
        _ => Err(refused(format!("the range `{text}` begins in one family and ends in the other"))),
    }
}

/// An address or a CIDR; a bare address is the net that holds only it.
pub(super) fn net(text: &str) -> Result<IpNet, Refused> {
    let Some((base, length)) = text.split_once('/') else {
        return if text.contains('-') {
            let help = "put ranges into a `[[set]]` and name it under `sets`";
            Err(refused(format!("`{text}` is not an address or a CIDR")).help(help))
        } else {
            address(text).map(IpNet::from)
        };
    };
    let base = address(base)?;
    let most = if base.is_ipv4() { 32 } else { 128 };
    let digits = !length.is_empty() && length.len() <= 3 && length.bytes().all(|b| b.is_ascii_digit());
    let length =
        length.parse::<u8>().ok().filter(|&length| digits && length <= most).ok_or_else(|| bad_length(text, base, length, most))?;
    let net = match base {
        IpAddr::V4(base) => Ipv4Net::new(base, length).map(IpNet::V4),
        IpAddr::V6(base) => Ipv6Net::new(base, length).map(IpNet::V6),
    };
    let net = net.map_err(|cause| refused(format!("`{text}`: {cause}")))?;
    if net.trunc() != net {
        return Err(
            refused(format!("`{text}` has host bits set")).help(format!("the network is `{}`; the one address is `{base}`", net.trunc()))
        );
    }
    Ok(net)
}

fn bad_length(text: &str, base: IpAddr, length: &str, most: u8) -> Refused {
    let refusal = refused(format!("`{text}` has no valid prefix length (0 to {most})"));
    let ones = length.parse::<Ipv4Addr>().map(u32::from).ok().filter(|mask| mask.leading_ones() + mask.trailing_zeros() == 32);
    match ones {
        Some(mask) if base.is_ipv4() => refusal.help(format!("write the netmask as a prefix length: `{base}/{}`", mask.leading_ones())),
        _ => refusal,
    }
}

/// One address. Mapped IPv4 is refused: no packet on a wire carries it, and what is meant is the IPv4 address.
pub(super) fn address(text: &str) -> Result<IpAddr, Refused> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => match v6.to_ipv4_mapped() {
            Some(v4) => Err(refused(format!("`{text}` is an IPv4 address mapped into IPv6")).help(format!("write `{v4}`"))),
            None => Ok(v6.into()),
        },
        Ok(v4) => Ok(v4),
        Err(_cause) => Err(not_an_address(text)),
    }
}

fn not_an_address(text: &str) -> Refused {
    let refusal = refused(format!("`{text}` is not an IP address"));
    if text.trim() != text && text.trim().parse::<IpAddr>().is_ok() {
        return refusal.help("take the spaces away");
    }
    if let Some((bare, _zone)) = text.split_once('%').filter(|(bare, _)| bare.parse::<Ipv6Addr>().is_ok()) {
        return refusal.help(format!("write `{bare}`; the interface is chosen by the policy's `interfaces`"));
    }
    let parts: Vec<&str> = text.split('.').collect();
    let numeric = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if parts.iter().all(numeric) && parts.iter().any(|part| part.len() > 1 && part.starts_with('0')) {
        return refusal.help("leading zeros are refused: some programs read them as octal");
    }
    if text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.contains(':') {
        return refusal.help("names are not resolved; write addresses, or name a set under `sets`");
    }
    refusal
}

/// A host of a test packet: `ip:port` or `[v6]:port` where the protocol has ports, a bare address where it has none.
pub(super) fn host(text: &str, ports: bool) -> Result<SocketAddr, Refused> {
    if let Ok(parsed) = text.parse::<SocketAddr>() {
        if matches!(parsed, SocketAddr::V6(v6) if v6.scope_id() != 0) {
            return Err(refused(format!("`{text}` names a zone")).help("leave the part from `%` on out"));
        }
        let ip = address(&parsed.ip().to_string())?;
        return match (ports, parsed.port()) {
            (true, _) | (false, 0) => Ok(parsed),
            (false, _) => Err(refused(format!("`{text}` has a port, but the protocol has none")).help(format!("write `{ip}`"))),
        };
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = match address(bare) {
        Ok(ip) => ip,
        Err(_refusal) if text.contains(':') || text.contains('[') => {
            return Err(refused(format!("`{text}` is not an address with a port")).help("write `192.0.2.1:443` or `[2001:db8::1]:443`"));
        }
        Err(refusal) => return Err(refusal),
    };
    if ports {
        let example = SocketAddr::new(ip, 443);
        return Err(refused(format!("`{text}` lacks the port")).help(format!("write for example `{example}`")));
    }
    Ok(SocketAddr::new(ip, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_bare_address_is_a_host() {
        assert_eq!(net("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(net("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
        assert_eq!(net("0.0.0.0/0").unwrap().prefix_len(), 0);
    }

    #[test]
    fn net_wrong_spelling_is_refused_with_help() {
        let help = |text: &str| net(text).unwrap_err().help.unwrap_or_default();
        assert_eq!(help("10.0.0.1/8"), "the network is `10.0.0.0/8`; the one address is `10.0.0.1`");
        assert_eq!(help("10.0.0.0/255.0.0.0"), "write the netmask as a prefix length: `10.0.0.0/8`");
        assert_eq!(help("::ffff:192.0.2.1"), "write `192.0.2.1`");
        assert_eq!(help("fe80::1%eth0"), "write `fe80::1`; the interface is chosen by the policy's `interfaces`");
        assert!(help("010.0.0.1").contains("octal"));
        assert!(help("example.org").contains("not resolved"));
        for bad in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/0008",
            "::/129",
            "10.0.0.0/-1",
            "1",
            "10.0.0.0/8/8",
            "10.0.0.1-10.0.0.2",
        ] {
            assert!(net(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn element_range_is_inclusive_and_ordered() {
        assert_eq!(element("10.0.0.1-10.0.0.3"), Ok(Run::V4(0x0a00_0001, 0x0a00_0003)));
        assert_eq!(element("::1 - ::2"), Ok(Run::V6(1, 2)));
        assert_eq!(element("10.0.0.3-10.0.0.1").unwrap_err().help.as_deref(), Some("write `10.0.0.1-10.0.0.3`"));
        assert!(element("10.0.0.1-::1").is_err());
        assert!(element("-").is_err());
    }

    #[test]
    fn host_port_follows_the_protocol() {
        assert_eq!(host("192.0.2.1:443", true).unwrap().port(), 443);
        assert_eq!(host("[2001:db8::1]:443", true).unwrap().port(), 443);
        assert_eq!(host("2001:db8::1", false).unwrap().port(), 0);
        assert_eq!(host("192.0.2.1", true).unwrap_err().help.as_deref(), Some("write for example `192.0.2.1:443`"));
        for bad in ["192.0.2.1:65536", "2001:db8::1:443:x", "[::1", "x:1", "[::ffff:1.2.3.4]:5"] {
            assert!(host(bad, true).is_err(), "{bad}");
        }
        assert!(host("192.0.2.1:443", false).is_err());
        assert_eq!(host("192.0.2.1:0", false).unwrap().port(), 0);
    }
}
