//! Where a request comes from: its client's address, and the scheme and host that it asked for.
//!
//! A proxy's word is taken only from a peer that the configuration trusts; whatever anyone else writes into those
//! headers changes nothing.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;

use super::forwarded::{self, ForwardedHop, X_FORWARDED_HOST, X_FORWARDED_PROTO, forwarded, x_forwarded_for};

/// Where a request comes from: an extension of every request that [`super::serve`] hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOrigin {
    /// Who asks, as far as that can be known: the peer, or whom a trusted proxy names.
    pub client: IpAddr,
    /// How the client asked.
    pub scheme: Scheme,
    /// What it asked for: `host`, or `host:port`. A text of the client's.
    pub host: Option<String>,
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
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

/// KeyOwner word is taken, and how the listener itself is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) proxies: Vec<IpNet>,
    pub(super) scheme: Scheme,
}

impl Trust {
    /// Where a request comes from; none when nobody said who the peer is, as in a test without a socket.
    pub(super) fn origin(&self, request: &Request) -> Option<RequestOrigin> {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        let host = request.uri().authority().map(Authority::as_str);
        let host = host.or_else(|| request.headers().get(header::HOST)?.to_str().ok());
        let direct =
            RequestOrigin { client: peer.ip().to_canonical(), scheme: self.scheme, host: host.map(str::to_owned) };
        Some(self.believe(direct, request.headers()))
    }

    /// `direct`, with what trusted proxies say in its place.
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

    /// A proxy writes one of the two headers and may hand on the other as its client wrote it. Which one it writes is
    /// not known here, so that where they disagree neither is believed: that harms only who sends the second.
    fn client(&self, peer: IpAddr, x: Option<Vec<Option<IpAddr>>>, hops: Option<Vec<ForwardedHop>>) -> IpAddr {
        let hops = hops.map(|hops| hops.into_iter().map(|hop| hop.client).collect::<Vec<_>>());
        let found: Vec<_> = [x, hops].into_iter().flatten().map(|hops| self.nearest_stranger(peer, &hops)).collect();
        match found[..] {
            [one] => one,
            [one, same] if one == same => one,
            _ => peer,
        }
    }

    /// The right-most address that is not a proxy's. What stands left of it is that stranger's own word. Where a proxy
    /// does not tell, it is the last address known; where all are proxies, the first of them asks for itself.
    fn nearest_stranger(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
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
