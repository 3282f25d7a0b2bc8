//! Where a request comes from: the address of its client, and the scheme and host that the client asked for.
//!
//! Forwarding headers count only if the peer is a proxy that the configuration trusts.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use super::forwarded::{self, ForwardedHop, X_FORWARDED_HOST, X_FORWARDED_PROTO, forwarded, x_forwarded_for};

/// Where a request comes from: an extension of every request that [`super::serve`] handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOrigin {
    /// Address of the client: that of the peer, or the one that a trusted proxy names.
    pub client: IpAddr,
    pub scheme: Scheme,
    /// Host that the client asked for, `host` or `host:port`. The client chose the text.
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

/// Which proxies are trusted, and the scheme of the listener itself.
#[derive(Clone, Debug)]
pub(super) struct TrustedProxies {
    pub(super) proxies: Vec<IpNet>,
    pub(super) scheme: Scheme,
}

impl TrustedProxies {
    /// Where a request comes from; none when the peer is unknown, as in a test without a socket.
    pub(super) fn origin(&self, request: &Request) -> Option<RequestOrigin> {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        let host = request.uri().authority().map(Authority::as_str);
        let host = host.or_else(|| request.headers().get(header::HOST)?.to_str().ok());
        let direct =
            RequestOrigin { client: peer.ip().to_canonical(), scheme: self.scheme, host: host.map(str::to_owned) };
        Some(self.believe(direct, request.headers()))
    }

    /// `direct`, replaced by what trusted proxies say.
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

    /// The client that the proxies name. A proxy writes one of the two headers and may pass on the other as its client wrote
    /// it. Which one it writes is not known here, so neither is trusted if they disagree.
    fn client(&self, peer: IpAddr, x: Option<Vec<Option<IpAddr>>>, hops: Option<Vec<ForwardedHop>>) -> IpAddr {
        let hops = hops.map(|hops| hops.into_iter().map(|hop| hop.client).collect::<Vec<_>>());
        let found: Vec<_> = [x, hops].into_iter().flatten().map(|hops| self.nearest_client(peer, &hops)).collect();
        match found[..] {
            [one] => one,
            [one, same] if one == same => one,
            _ => peer,
        }
    }

    /// The right-most address that is not a proxy's: everything left of it may be forged. If a proxy hides the next address,
    /// the last known one; if all are proxies, the first of them.
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
