//! Which addresses may be connected to: a tenant's URL must never be a way into the operator's network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Not globally reachable (IANA special-purpose registry, RFC 6890, as of 2025), multicast included.
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

/// All but global unicast (2000::/3), and what inside it is special.
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

/// Whether an address may be connected to: it is public, or the operator allowed its network.
pub fn is_allowed(address: IpAddr, allowed: &[IpNet]) -> bool {
    let address = address.to_canonical(); // ::ffff:a.b.c.d is a.b.c.d
    let is_public = match address {
        IpAddr::V4(address) => !FORBIDDEN_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => !FORBIDDEN_V6.iter().any(|net| net.contains(&address)),
    };
    is_public || allowed.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str, networks: &[&str]) -> bool {
        let networks: Vec<IpNet> = networks.iter().map(|net| net.parse().unwrap()).collect();
        is_allowed(text.parse().unwrap(), &networks)
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in ["1.1.1.1", "172.15.255.255", "172.32.0.0", "198.17.0.1", "223.255.255.255", "2606:4700::1"] {
            assert!(allowed(address, &[]), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_operators_own_networks_are_not() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!allowed(address, &[]), "{address}");
        }
    }

    #[test]
    fn an_allowed_network_opens_that_network_only() {
        assert!(allowed("127.0.0.1", &["127.0.0.0/8"]));
        assert!(allowed("::ffff:127.0.0.1", &["127.0.0.0/8"]));
        assert!(allowed("::1", &["::1/128"]));
        assert!(!allowed("10.0.0.1", &["127.0.0.0/8", "::1/128"]));
    }
}
