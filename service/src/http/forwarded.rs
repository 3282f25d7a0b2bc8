//! Parses the headers in which proxies describe a request, hop by hop: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//! The caller decides which hops to trust.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// One proxy's description of the request that it received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ForwardedHop {
    /// Address of the sender. None when the proxy hides it (`unknown`, `_hidden`) or it cannot be read.
    pub(super) client: Option<IpAddr>,
    pub(super) proto: Option<String>,
    pub(super) host: Option<String>,
}

/// The addresses of all `X-Forwarded-For` headers, the nearest proxy's last. None without such a header.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> Option<Vec<Option<IpAddr>>> {
    headers.contains_key(X_FORWARDED_FOR).then(|| {
        let values = headers.get_all(X_FORWARDED_FOR).iter();
        values.flat_map(|value| value.to_str().unwrap_or_default().split(',').map(address)).collect()
    })
}

/// The nearest proxy's value of a header that each proxy sets or appends to: the last one.
pub(super) fn nearest(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    Some(last.rsplit(',').next()?.trim()).filter(|text| !text.is_empty())
}

/// The hops of all `Forwarded` headers, the nearest proxy's last. None without such a header.
pub(super) fn forwarded(headers: &HeaderMap) -> Option<Vec<ForwardedHop>> {
    headers.contains_key(header::FORWARDED).then(|| {
        let values = headers.get_all(header::FORWARDED).iter();
        values.flat_map(|value| split(value.to_str().unwrap_or_default(), ',').into_iter().map(hop)).collect()
    })
}

/// Parses `for=192.0.2.60;proto=http;host="a.example"`. The last of equal names counts; unknown names are ignored.
fn hop(element: &str) -> ForwardedHop {
    let mut hop = ForwardedHop::default();
    for (name, value) in split(element, ';').into_iter().filter_map(|pair| pair.split_once('=')) {
        let value = unquoted(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.client = address(&value),
            "proto" => hop.proto = Some(value),
            "host" => hop.host = Some(value),
            _ => {}
        }
    }
    hop
}

/// Splits at each `at` outside of quotes.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == at && !quoted => {
                parts.push(&text[begin..index]);
                begin = index + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// The text of a quoted string (RFC 9110, 5.6.4), or the token itself.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return text.to_owned() };
    let mut escaped = false;
    inner
        .chars()
        .filter(|c| {
            escaped = *c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

/// Parses `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`. A mapped address
/// becomes the IPv4 one.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn addresses_are_read_with_and_without_ports_and_brackets() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        let table = [
            ("192.0.2.1", Some(v4)),
            (" 192.0.2.1:4711 ", Some(v4)),
            ("::ffff:192.0.2.1", Some(v4)),
            ("2001:db8::1", Some(v6)),
            ("[2001:db8::1]", Some(v6)),
            ("[2001:db8::1]:4711", Some(v6)),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(address(text), expected, "{text:?}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let headers = headers(&[(X_FORWARDED_FOR, "192.0.2.1, nobody"), (X_FORWARDED_FOR, "192.0.2.2")]);
        let expected = [Some("192.0.2.1".parse().unwrap()), None, Some("192.0.2.2".parse().unwrap())];
        assert_eq!(x_forwarded_for(&headers).unwrap(), expected);
        assert_eq!(x_forwarded_for(&HeaderMap::new()), None);
    }

    #[test]
    fn forwarded_is_read_with_its_quotes_and_escapes() {
        let text = r#"For="[2001:db8::1]:4711";Proto=https;by=10.0.0.1, for=_x;host="a\",b;c", for=192.0.2.60"#;
        let hops = forwarded(&headers(&[(header::FORWARDED, text)])).unwrap();
        let expected = [
            ForwardedHop { client: "2001:db8::1".parse().ok(), proto: Some("https".into()), host: None },
            ForwardedHop { client: None, proto: None, host: Some("a\",b;c".into()) },
            ForwardedHop { client: "192.0.2.60".parse().ok(), ..ForwardedHop::default() },
        ];
        assert_eq!(hops, expected);
    }

    #[test]
    fn the_nearest_value_is_the_last_of_the_last_header() {
        let name = X_FORWARDED_PROTO;
        let headers = headers(&[(name.clone(), "gopher"), (name.clone(), "https, http ")]);
        assert_eq!(nearest(&headers, name), Some("http"));
        assert_eq!(nearest(&headers, X_FORWARDED_HOST), None);
    }
}
