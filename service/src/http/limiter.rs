//! Limits the rate of requests by the owner of their key, and by address for requests without a valid key.
//!
//! The intake limits only requests without a valid key here. All others are limited by their tenants' quotas
//! and shares.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::config::HttpConfig;
use super::headers::bearer;
use super::origin::RequestOrigin;
use crate::gcra::{Keyed, Limit, TooSoon};
use crate::problem::{Code, Problem};

/// Smallest number of callers that are remembered. With up to 64 bytes each, both generations take about 8 MiB.
const REMEMBERED_CALLERS: usize = 50_000;

type Identify<K> = Box<dyn Fn(&str) -> KeyOwner<K> + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner<K> {
    /// The operator, who has no limit.
    Operator,
    /// A known owner with a limit of its own, identified by this value.
    Known(K),
    Unknown,
}

pub struct RequestLimiter<K> {
    limit: Option<Limit>,
    used: Keyed<RateKey<K>>,
    identify: Identify<K>,
}

/// Requests with equal rate keys share one rate.
#[derive(Debug, PartialEq, Eq, Hash)]
enum RateKey<K> {
    Owner(K),
    /// Address of a request without a valid key, so that guessing keys is slow.
    Address(IpAddr),
    /// All requests without an address, as in a test without a socket.
    NoAddress,
}

impl<K: Eq + Hash + Send + 'static> RequestLimiter<K> {
    /// `identify` finds the owner of a key. It must take equally long for all wrong keys, nearly right ones included.
    pub fn new(config: &HttpConfig, identify: impl Fn(&str) -> KeyOwner<K> + Send + Sync + 'static) -> Arc<Self> {
        let limit = Limit::new(config.requests_per_second.into(), config.requests_burst).ok();
        Arc::new(Self { limit, used: Keyed::new(REMEMBERED_CALLERS), identify: Box::new(identify) })
    }

    /// Limits all requests of `router` and answers excess ones with 429. Several routers may share a limiter.
    pub fn on(self: &Arc<Self>, router: Router) -> Router {
        match self.limit {
            Some(limit) => router.layer(middleware::from_fn_with_state((self.clone(), limit), Self::check)),
            None => router,
        }
    }

    /// Limits the requests of `router` that are not `is_known`, because each of them makes the store look for new keys.
    /// Known requests are not limited. `is_known` answers from memory.
    pub fn on_guesses(
        self: &Arc<Self>,
        router: Router,
        is_known: impl Fn(&Request) -> bool + Clone + Send + Sync + 'static,
    ) -> Router {
        let Some(limit) = self.limit else { return router };
        let limits = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let taken = if is_known(&request) { Ok(()) } else { limits.take(RateKey::without_key(&request), &limit) };
            async move { answer(taken, request, next).await }
        }))
    }

    pub fn owner_of(&self, request: &Request) -> KeyOwner<K> {
        bearer(request.headers()).map_or(KeyOwner::Unknown, |key| (self.identify)(key))
    }

    async fn check(State((limits, limit)): State<(Arc<Self>, Limit)>, request: Request, next: Next) -> Response {
        let taken = match limits.owner_of(&request) {
            KeyOwner::Operator => Ok(()),
            KeyOwner::Known(owner) => limits.take(RateKey::Owner(owner), &limit),
            KeyOwner::Unknown => limits.take(RateKey::without_key(&request), &limit),
        };
        answer(taken, request, next).await
    }

    fn take(&self, caller: RateKey<K>, limit: &Limit) -> Result<(), TooSoon> {
        self.used.take(caller, limit, 1, Instant::now())
    }
}

impl<K> RateKey<K> {
    fn without_key(request: &Request) -> Self {
        let origin = request.extensions().get::<RequestOrigin>();
        origin.map_or(Self::NoAddress, |origin| Self::Address(network(origin.client)))
    }
}

async fn answer(taken: Result<(), TooSoon>, request: Request, next: Next) -> Response {
    match taken {
        Ok(()) => next.run(request).await,
        Err(TooSoon(wait)) => {
            let detail = "too many requests with this tenant's keys, or from this address without a valid key";
            Problem::new(Code::TooManyRequests).detail(detail).retry_after(wait).into_response()
        }
    }
}

/// The network whose requests are counted together: an IPv6 client owns at least a /64 (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::super::origin::Scheme;
    use super::*;

    fn config(requests_per_second: u32) -> HttpConfig {
        let json = format!(
            r#"{{"listen":":0","trusted_proxies":[],"requests_per_second":{requests_per_second},"requests_burst":2}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn app(requests_per_second: u32) -> Router {
        let whose = |key: &str| match key.strip_prefix("good-") {
            _ if key == "operator" => KeyOwner::Operator,
            Some(name) => KeyOwner::Known(name.split_once('.').map_or(name, |(owner, _)| owner).to_owned()),
            None => KeyOwner::Unknown,
        };
        let limits = RequestLimiter::new(&config(requests_per_second), whose);
        limits.on(Router::new().route("/", get(async || "here")))
    }

    /// The status and `Retry-After` of a request by this address with this key.
    async fn ask(app: &Router, client: &str, key: Option<&str>) -> (u16, Option<String>) {
        let mut request = Request::new(Body::empty());
        let client = client.parse().unwrap();
        request.extensions_mut().insert(RequestOrigin { client, scheme: Scheme::Http, host: None });
        if let Some(key) = key {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
        }
        let answer = app.clone().oneshot(request).await.unwrap();
        let wait = answer.headers().get(header::RETRY_AFTER).map(|wait| wait.to_str().unwrap().to_owned());
        (answer.status().as_u16(), wait)
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_has_one_allowance_for_all_its_keys_wherever_they_ask_from() {
        let app = app(1);
        for (client, key) in [("192.0.2.1", "good-one"), ("192.0.2.2", "good-one.again")] {
            assert_eq!(ask(&app, client, Some(key)).await, (200, None));
        }
        assert_eq!(ask(&app, "192.0.2.3", Some("good-one.anew")).await, (429, Some("1".into())));
        assert_eq!(ask(&app, "192.0.2.3", Some("good-two")).await, (200, None));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(ask(&app, "192.0.2.3", Some("good-one")).await, (200, None));
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_keys_uses_the_allowance_of_the_address() {
        let app = app(1);
        for (client, key) in [("2001:db8::1", Some("guess-1")), ("2001:db8::2", None)] {
            assert_eq!(ask(&app, client, key).await, (200, None));
        }
        assert_eq!(ask(&app, "2001:db8::3", Some("guess-2")).await.0, 429, "of the same /64");
        assert_eq!(ask(&app, "2001:db8::3", Some("good-one")).await.0, 200, "a key of somebody there is not held up");
        assert_eq!(ask(&app, "2001:db8:0:1::3", Some("guess-3")).await.0, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_request_has_no_limit_where_only_guesses_have_one() {
        let limits = RequestLimiter::new(&config(1), |_: &str| KeyOwner::<String>::Unknown);
        let app = limits.on_guesses(Router::new().route("/", get(async || "here")), |request| {
            bearer(request.headers()) == Some("somebodys")
        });
        let mut guesses = Vec::new();
        for _ in 0..4 {
            assert_eq!(ask(&app, "192.0.2.1", Some("somebodys")).await, (200, None));
            guesses.push(ask(&app, "192.0.2.1", Some("guess")).await.0);
        }
        assert_eq!(guesses, [200, 200, 429, 429]);
        assert_eq!(ask(&app, "192.0.2.2", Some("guess")).await.0, 200, "another address");
    }

    #[tokio::test(start_paused = true)]
    async fn the_operator_has_no_limit() {
        let app = app(1);
        for _ in 0..1_000 {
            assert_eq!(ask(&app, "192.0.2.1", Some("operator")).await.0, 200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_is_no_limit() {
        let app = app(0);
        for _ in 0..1_000 {
            assert_eq!(ask(&app, "192.0.2.1", None).await.0, 200);
        }
    }
}
