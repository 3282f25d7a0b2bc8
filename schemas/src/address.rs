//! Decides which addresses may be connected to: a tenant's URL must never lead into the operator's network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks that are not globally reachable (IANA special-purpose registry, RFC 6890, as of 2025), and multicast.
const FORBIDDEN_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),       // this network
    v4([10, 0, 0, 0], 8),      // private
    v4([100, 64, 0, 0], 10),   // carrier-grade NAT
    v4([127, 0, 0, 0], 8),     // loopback
    v4([169, 254, 0, 0], 16),  // link-local, and the clouds' metadata
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocol assignments
    v4([192, 0, 2, 0], 24),    // documentation
    v4([192, 31, 196, 0], 24), // AS112
    v4([192, 88, 99, 0], 24),  // 6to4 relays
    v4([192, 168, 0, 0], 16),  // private
    v4([192, 175, 48, 0], 24), // AS112
    v4([198, 18, 0, 0], 15),   // benchmarks
    v4([198, 51, 100, 0], 24), // documentation
    v4([203, 0, 113, 0], 24),  // documentation
    v4([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

/// Everything outside global unicast (2000::/3), and the special networks inside it.
const FORBIDDEN_V6: [Ipv6Net; 9] = [
    v6([0; 8], 3),                                 // unspecified, loopback, mapped, NAT64, discard
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),         // protocol assignments, Teredo
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),     // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),         // 6to4
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),         // documentation
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2),          // unassigned
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1),          // unassigned, ULA, link-local, multicast
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16),         // 6bone, returned
];

const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), bits)
}

/// True when an address may be connected to: it is public, or the operator allowed its network.
pub fn is_allowed(address: IpAddr, allowed: &[IpNet]) -> bool {
    let address = address.to_canonical(); // ::ffff:a.b.c.d is a.b.c.d
    let is_public = match address {
        IpAddr::V4(address) => !FORBIDDEN_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => !FORBIDDEN_V6.iter().any(|net| net.contains(&address)),
    };
    if is_public {
        return true;
    }
    let is_opened = allowed.iter().any(|net| net.contains(&address));
    // An operator who allows the prefix of NAT64 allows the public addresses behind it, not the private ones.
    is_opened && translated(address).is_none_or(|inner| is_allowed(IpAddr::V4(inner), allowed))
}

/// The IPv4 address that a gateway translates an address to: by NAT64 (RFC 6052, 2.1) or 6to4 (RFC 3056, 2).
fn translated(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [a, b, c, ..] = address.segments();
    match (a, b, address.octets()) {
        (0x64, 0xff9b, [.., w, x, y, z]) if c == 0 => Some(Ipv4Addr::new(w, x, y, z)),
        (0x2002, _, [_, _, w, x, y, z, ..]) => Some(Ipv4Addr::new(w, x, y, z)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
