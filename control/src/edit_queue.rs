//! Where edits wait for the store, which carries out one after the other: those of one tenant must not stand in front of
//! others', nor of what control itself has found out.

use std::sync::Arc;

use service::{FairPermit, FairSemaphore};
use store::Author;

use crate::tenant_semaphore::{TenantPermit, TenantSemaphore};

/// Most edits of each tenant's keys, and of all, that wait or run at once.
const EDITS: (usize, usize) = (32, usize::MAX);
/// Beginning of the name of an author that is a tenant's key.
const KEY: &str = "key:";

pub(crate) struct EditQueue {
    turn: Arc<FairSemaphore>,
    waiting: TenantSemaphore,
}

/// The turn of one edit. The next one begins once it is dropped.
#[must_use]
pub(crate) struct EditTurn {
    _turn: FairPermit,
    _waiting: Option<TenantPermit>,
}

impl EditQueue {
    /// Waits for the turn of an author's edit. None when too many edits of its tenant wait already; the operator and
    /// control itself may have any number.
    pub(crate) async fn enter(&self, author: &Author) -> Option<EditTurn> {
        let owner = owner(author);
        let waiting = match owner.starts_with(KEY) {
            true => Some(self.waiting.try_acquire(owner)?),
            false => None,
        };
        Some(EditTurn { _turn: self.turn.acquire(owner, 1).await, _waiting: waiting })
    }
}

impl Default for EditQueue {
    fn default() -> Self {
        Self { turn: FairSemaphore::new(1), waiting: TenantSemaphore::new(EDITS) }
    }
}

/// Whose edits take turns with those of others: all keys of a tenant are one.
fn owner(author: &Author) -> &str {
    author.name.split_once('/').map_or(&*author.name, |(tenant, _)| tenant)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::{FutureExt as _, future::join_all, poll};

    use super::*;

    fn author(name: &str) -> Author {
        Author { name: name.to_owned(), address: None }
    }

    #[tokio::test]
    async fn edits_of_one_tenant_wait_behind_one_another_and_not_in_front_of_others() {
        let (queue, done) = (EditQueue::default(), Mutex::new(Vec::new()));
        let first = queue.enter(&author("key:acme/a")).now_or_never().flatten().expect("nobody waits");
        let edit = async |name: &'static str| {
            let _turn = queue.enter(&author(name)).await.expect("few wait");
            done.lock().unwrap().push(name);
        };
        let names = ["key:acme/a", "key:acme/b", "key:acme/a", "key:zeta/a", "deliverer", "operator", "operator"];
        let mut edits: Vec<_> = names.into_iter().map(|name| Box::pin(edit(name))).collect();
        for edit in &mut edits {
            assert!(poll!(edit).is_pending());
        }
        drop(first);
        join_all(edits).await;
        let order = ["key:acme/a", "key:zeta/a", "deliverer", "operator", "key:acme/b", "operator", "key:acme/a"];
        assert_eq!(*done.lock().unwrap(), order);
    }

    #[tokio::test]
    async fn a_tenant_with_many_waiting_edits_is_refused_and_the_operator_is_not() {
        let queue = EditQueue::default();
        let first = queue.enter(&author("operator")).now_or_never().flatten().expect("nobody waits");
        let (acme, other, operator) = (author("key:acme/a"), author("key:acme/b"), author("operator"));
        let mut waits: Vec<_> = (0..EDITS.0).map(|_| Box::pin(queue.enter(&acme))).collect();
        waits.extend((0..EDITS.0 + 1).map(|_| Box::pin(queue.enter(&operator))));
        for wait in &mut waits {
            assert!(poll!(wait).is_pending());
        }
        assert!(matches!(queue.enter(&other).now_or_never(), Some(None)));
        drop(waits.remove(0));
        drop(first);
        assert!(queue.enter(&other).now_or_never().is_none(), "it waits now");
    }
}
