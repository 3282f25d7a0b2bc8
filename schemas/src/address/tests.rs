//! Which addresses are allowed: by example, at the borders, and by what the standard library knows.

use proptest::prelude::*;

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
        "64:ff9b::808:808",
        "64:ff9b:1::a00:1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2002:808:808::",
        "192.0.0.192",
        "192.88.99.1",
        "198.51.100.1",
        "203.0.113.1",
        "240.0.0.1",
        "100.100.100.200",
        "fec0::1",
        "ff05::1",
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

#[test]
fn an_allowed_gateway_does_not_open_what_is_private_behind_it() {
    let nat64 = &["64:ff9b::/96", "2002::/16"];
    for (address, expected) in [
        ("64:ff9b::808:808", true),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b::a9fe:a9fe", false),
        ("2002:808:808::1", true),
        ("2002:a00:1::1", false),
    ] {
        assert_eq!(allowed(address, nat64), expected, "{address}");
    }
    assert!(allowed("64:ff9b::a00:1", &["64:ff9b::/96", "10.0.0.0/8"]));
}

#[test]
fn a_forbidden_network_ends_where_it_ends() {
    for net in FORBIDDEN_V4 {
        assert!(!is_allowed(net.network().into(), &[]) && !is_allowed(net.broadcast().into(), &[]), "{net}");
    }
    for net in FORBIDDEN_V6 {
        assert!(!is_allowed(net.network().into(), &[]) && !is_allowed(net.broadcast().into(), &[]), "{net}");
    }
    for neighbour in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.20.0.0",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::",
        "3fff:1000::",
    ] {
        assert!(allowed(neighbour, &[]), "{neighbour}");
    }
}

/// What the standard library knows to be special, by rules of its own.
fn is_special_v4(address: Ipv4Addr) -> bool {
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_unspecified()
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_multicast()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
}

/// Any address, more often one whose first byte is special.
fn v4_addresses() -> impl Strategy<Value = Ipv4Addr> {
    let first = prop_oneof![Just(10_u8), Just(127), Just(169), Just(172), Just(192), Just(198), any::<u8>()];
    let second = prop_oneof![Just(0_u8), Just(16), Just(31), Just(168), Just(254), any::<u8>()];
    (first, second, any::<[u8; 2]>()).prop_map(|(a, b, [c, d])| Ipv4Addr::new(a, b, c, d))
}

fn v6_addresses() -> impl Strategy<Value = Ipv6Addr> {
    let first = prop_oneof![Just(0_u16), Just(0x64), Just(0x2001), Just(0x2002), Just(0xfd00), any::<u16>()];
    (first, any::<[u16; 7]>()).prop_map(|(a, [b, c, d, e, f, g, h])| Ipv6Addr::new(a, b, c, d, e, f, g, h))
}

proptest! {
    #[test]
    fn nothing_special_is_allowed(v4 in v4_addresses(), v6 in v6_addresses()) {
        prop_assert!(!is_special_v4(v4) || !is_allowed(v4.into(), &[]), "{v4}");
        prop_assert!(!is_special_v6(v6) || !is_allowed(v6.into(), &[]), "{v6}");
    }

    #[test]
    fn outside_2000_3_no_v6_address_is_allowed_but_the_mapped_ones(v6 in v6_addresses()) {
        let is_global = v6.segments()[0] >> 13 == 1;
        prop_assert!(is_global || v6.to_ipv4_mapped().is_some() || !is_allowed(v6.into(), &[]), "{v6}");
    }

    #[test]
    fn a_v4_address_in_v6_clothes_is_what_it_is_or_forbidden(v4 in v4_addresses()) {
        prop_assert_eq!(is_allowed(v4.to_ipv6_mapped().into(), &[]), is_allowed(v4.into(), &[]));
        let [a, b, c, d] = v4.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        for clothes in [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !high, !low),
        ] {
            prop_assert!(!is_allowed(clothes.into(), &[]), "{}", clothes);
        }
    }

    #[test]
    fn opening_a_network_opens_its_addresses_and_no_others(v4 in v4_addresses(), other in v4_addresses(), bits in 1_u8..=32) {
        let net = Ipv4Net::new(v4, bits).unwrap().trunc();
        prop_assert!(is_allowed(v4.into(), &[net.into()]));
        let is_in = net.contains(&other);
        prop_assert_eq!(is_allowed(other.into(), &[net.into()]), is_in || is_allowed(other.into(), &[]));
    }
}
