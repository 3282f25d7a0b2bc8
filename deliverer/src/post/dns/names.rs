//! What is known about names: their addresses for a while, and which could not be looked up. No name holds up another,
//! and no tenant's names hold up another tenant's.
//!
//! A name is looked up once at a time, however many requests wait for it. A look-up begins with a permit, which tenants
//! share fairly, and returns it when it takes long: names that nobody answers for cost little but time. Addresses stay
//! in use while they are looked up anew, so that a request waits only for a name that was not used lately.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use service::{FairPermit, FairSemaphore, RecentlyUsed};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{Found, LookUp, LookUpError};
use crate::post::dial::alternating;

/// Number of look-ups that hold a permit at once.
const PERMITS: u32 = 16;
/// Longest time for which a look-up holds its permit. Most answers take less. A newcomer waits no longer than this, and
/// at most 320 look-ups that nobody answers begin in a second, each of which takes some sockets until its deadline.
const PERMIT_HELD: Duration = Duration::from_millis(50);
/// Shortest time before addresses are looked up anew, and the longest, whatever their TTL.
const FRESH: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
/// Further time for which addresses are used, while they are looked up anew or nobody answers.
const STALE: Duration = Duration::from_secs(60);
/// Time before a name is looked up again that has no address.
const NO_ADDRESS_KEPT: Duration = Duration::from_secs(1);
/// Time before a name is looked up again that nobody answered for, and the longest. It doubles each time. It is always
/// shorter than the waits between the retries and probes of one endpoint.
const NO_ANSWER_KEPT: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];
/// Number of names that are remembered at least. At most twice as many are, at less than 1 KiB each.
const REMEMBERED: usize = 8_192;
/// Number of addresses of a name that are used. An answer may have thousands.
const ADDRESSES: usize = 16;

type Addresses = Result<Vec<IpAddr>, LookUpError>;
type SharedLookUp = Shared<BoxFuture<'static, Addresses>>;

pub(in crate::post) struct Names {
    look_up: LookUp,
    /// Longest time for a look-up, and for a request to wait for one.
    timeout: Duration,
    permits: Arc<FairSemaphore>,
    remembered: Mutex<RecentlyUsed<String, Arc<NameEntry>>>,
}

impl Names {
    pub(in crate::post) fn new(look_up: LookUp, timeout: Duration) -> Arc<Self> {
        let (permits, remembered) = (FairSemaphore::new(PERMITS), Mutex::new(RecentlyUsed::new(REMEMBERED)));
        Arc::new(Self { look_up, timeout, permits, remembered })
    }

    /// The addresses of a name, at least one, for a request of this tenant.
    pub(super) async fn addresses(self: &Arc<Self>, name: &str, tenant: &str) -> Addresses {
        let entry = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).of(name.to_owned()).clone();
        let (known, is_pending, look_up) = {
            let (mut state, now) = (entry.lock(), Instant::now());
            let known = match state.known(now) {
                Some(known) if !state.is_due(now) => return known,
                known => known,
            };
            let is_pending = state.pending.is_some();
            let pending = state.pending.get_or_insert_with(|| self.prepare(name, &entry));
            (known, is_pending, pending.ended.clone())
        };
        let ended = self.clone().end(entry, look_up, tenant.to_owned());
        match known {
            Some(known) => {
                if !is_pending {
                    tokio::spawn(ended);
                }
                known
            }
            None => timeout(self.timeout, ended).await.unwrap_or(Err(LookUpError::NoAnswer)),
        }
    }

    /// A look-up that begins once it gets a permit.
    fn prepare(&self, name: &str, entry: &Arc<NameEntry>) -> Pending {
        let (begin, permitted) = oneshot::channel::<FairPermit>();
        let (look_up, name, limit) = (self.look_up.clone(), name.to_owned(), self.timeout);
        let entry = Arc::downgrade(entry);
        let ended = async move {
            let Ok(permit) = permitted.await else { return Err(LookUpError::NoAnswer) };
            // What a name server sends must not make every later look-up of the name panic.
            let answer = AssertUnwindSafe(look_up(name)).catch_unwind();
            let answer = answer.map(|answer| answer.unwrap_or(Err(LookUpError::NoAnswer)));
            let mut answer = pin!(timeout(limit, answer));
            let answer = match timeout(PERMIT_HELD, &mut answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    drop(permit);
                    answer.await
                }
            };
            let found = match answer {
                Ok(Ok(found)) if found.addresses.is_empty() => Err(LookUpError::NoAddress),
                Ok(Ok(found)) => {
                    let addresses = alternating(found.addresses).into_iter().take(ADDRESSES).collect();
                    Ok(Found { addresses, ..found })
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Err(LookUpError::NoAnswer),
            };
            if let Some(entry) = entry.upgrade() {
                entry.lock().learn(&found, Instant::now());
            }
            found.map(|found| found.addresses)
        };
        Pending { begin: Some(begin), ended: ended.boxed().shared() }
    }

    /// Waits for a look-up to end, and for the tenant's turn to begin it. It begins with the permit of whoever gets one
    /// first, so that nobody can hold up a name by asking for it after many others. Once begun, it is driven to its end
    /// also when no request waits for it any more, because its failure is worth knowing.
    async fn end(self: Arc<Self>, entry: Arc<NameEntry>, look_up: SharedLookUp, tenant: String) -> Addresses {
        let begun = async {
            if entry.lock().is_waiting() {
                let permit = self.permits.acquire(&tenant, 1).await;
                let begin = entry.lock().pending.as_mut().and_then(|pending| pending.begin.take());
                if let Some(begin) = begin {
                    tokio::spawn(look_up.clone());
                    let _ = begin.send(permit);
                }
            }
            look_up.clone().await
        };
        tokio::select! {
            biased;
            addresses = look_up.clone() => addresses,
            addresses = begun => addresses,
        }
    }
}

/// A look-up that has not ended.
struct Pending {
    /// Begins it. None once it has begun.
    begin: Option<oneshot::Sender<FairPermit>>,
    ended: SharedLookUp,
}

#[derive(Default)]
struct NameEntry(Mutex<NameState>);

impl NameEntry {
    fn lock(&self) -> MutexGuard<'_, NameState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct NameState {
    /// Addresses, and until when they are not looked up anew.
    found: Option<(Vec<IpAddr>, Instant)>,
    /// Why the last look-up failed, and until when there is no other.
    failed: Option<(LookUpError, Instant)>,
    /// Look-ups in a row that nobody answered.
    unanswered: u32,
    pending: Option<Pending>,
}

impl NameState {
    fn known(&self, now: Instant) -> Option<Addresses> {
        match self.used(now) {
            Some((addresses, _)) => Some(Ok(addresses.clone())),
            None => self.failed.filter(|(_, until)| now < *until).map(|(error, _)| Err(error)),
        }
    }

    /// The addresses that are still used, and until when.
    fn used(&self, now: Instant) -> Option<(&Vec<IpAddr>, Instant)> {
        let (addresses, fresh_until) = self.found.as_ref()?;
        let until = *fresh_until + STALE;
        (now < until).then_some((addresses, until))
    }

    /// Until when addresses are used of which half an answer lacks the family.
    fn outlasts(&self, half: &Found, now: Instant) -> Option<Instant> {
        let (used, until) = self.used(now).filter(|_| half.is_half)?;
        let is_there = |known: &IpAddr| half.addresses.iter().any(|found| found.is_ipv4() == known.is_ipv4());
        (!used.iter().all(is_there)).then_some(until)
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_fresh = self.found.as_ref().is_some_and(|(_, fresh_until)| now < *fresh_until);
        !is_fresh && self.failed.is_none_or(|(_, until)| now >= until)
    }

    fn is_waiting(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.begin.is_some())
    }

    /// Learns how a look-up has ended. Only an answer replaces the addresses that are known, and half an answer only those
    /// of its family.
    fn learn(&mut self, found: &Result<Found, LookUpError>, now: Instant) {
        match found {
            Ok(found) => match self.outlasts(found, now) {
                // The half is better than nothing, so it is looked up when nothing else is left.
                Some(until) => self.miss(now, until),
                None => {
                    let fresh = if found.is_half { FRESH[0] } else { found.ttl.clamp(FRESH[0], FRESH[1]) };
                    *self = Self { found: Some((found.addresses.clone(), now + fresh)), ..Self::default() };
                }
            },
            Err(error @ LookUpError::NoAddress) => {
                *self = Self { failed: Some((*error, now + NO_ADDRESS_KEPT)), ..Self::default() };
            }
            Err(LookUpError::NoAnswer) => self.miss(now, now + NO_ANSWER_KEPT[1]),
        }
    }

    /// Notes that nobody answered. The next look-up is not later than that.
    fn miss(&mut self, now: Instant, latest: Instant) {
        let kept = NO_ANSWER_KEPT[0].saturating_mul(1 << self.unanswered.min(16));
        self.failed = Some((LookUpError::NoAnswer, latest.min(now + kept.min(NO_ANSWER_KEPT[1]))));
        self.unanswered += 1;
        self.pending = None;
    }
}
