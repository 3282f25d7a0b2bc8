//! The origin of a request: the client's address, and the scheme and host that the client requested.
//!
//! Forwarding headers count only if the peer is a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use super::forwarded::{self, ForwardedHop, X_FORWARDED_HOST, X_FORWARDED_PROTO, forwarded, x_forwarded_for};

/// The origin of a request: an extension of every request that [`super::serve`] handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOrigin {
    pub client: IpAddr,
    pub scheme: Scheme,
    /// Host that the client requested, `host` or `host:port`. The client chose the text.
    pub host: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
    }
}

#[derive(Clone, Debug)]
pub(super) struct TrustedProxies {
    pub(super) proxies: Vec<IpNet>,
    pub(super) scheme: Scheme,
}

impl TrustedProxies {
    /// The origin of a request. None when the peer is unknown, as in a test without a socket.
    pub(super) fn origin(&self, request: &Request) -> Option<RequestOrigin> {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        let host = request.uri().authority().map(Authority::as_str);
        let host = host.or_else(|| request.headers().get(header::HOST)?.to_str().ok());
        let direct =
            RequestOrigin { client: peer.ip().to_canonical(), scheme: self.scheme, host: host.map(str::to_owned) };
        Some(self.believe(direct, request.headers()))
    }

    /// Replaces `direct` by the values that trusted proxies report.
    fn believe(&self, direct: RequestOrigin, headers: &HeaderMap) -> RequestOrigin {
        if !self.trusts(direct.client) {
            return direct;
        }
        let hops = forwarded(headers);
        let nearest = hops.as_ref().and_then(|hops| hops.last().cloned()).unwrap_or_default();
        let says = |name, hop: Option<String>| forwarded::nearest(headers, name).map(str::to_owned).or(hop);
        RequestOrigin {
            client: self.client(direct.client, x_forwarded_for(headers), hops),
            scheme: says(X_FORWARDED_PROTO, nearest.proto)
                .and_then(|text| Scheme::read(&text))
                .unwrap_or(direct.scheme),
            host: says(X_FORWARDED_HOST, nearest.host).or(direct.host),
        }
    }

    /// The client that the proxies name. A proxy writes one of the two headers and may pass on the other as its client
    /// wrote it. Neither header is trusted if they disagree, because the proxy's own one cannot be told apart.
    fn client(&self, peer: IpAddr, x: Option<Vec<Option<IpAddr>>>, hops: Option<Vec<ForwardedHop>>) -> IpAddr {
        let hops = hops.map(|hops| hops.into_iter().map(|hop| hop.client).collect::<Vec<_>>());
        let found: Vec<_> = [x, hops].into_iter().flatten().map(|hops| self.nearest_client(peer, &hops)).collect();
        match found[..] {
            [one] => one,
            [one, same] if one == same => one,
            _ => peer,
        }
    }

    /// The right-most address that is no proxy's: everything left of it may be forged. If a proxy hides the next
    /// address, the last known one. If all are proxies, the first of them.
    fn nearest_client(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut known = peer;
        for hop in hops.iter().rev() {
            match hop {
                Some(address) if self.trusts(*address) => known = *address,
                Some(address) => return *address,
                None => return known,
            }
        }
        known
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests;
