//! Random edits: after each of them, a store shows the same as the store in memory, now and when it is opened again.

use schemas::Tenant;
use store::{Draft, Edit, EditError, EditRefusal, Edited, MemoryStore, Store};

use crate::{
    fixture::Fixture,
    story::{edit, endpoint, key, revision, shown, source, subscription},
};

/// One step of a walk. Ids, tokens and keys are few, so that they collide.
#[derive(Clone, Copy, Debug)]
struct Step {
    tenant: u8,
    other: u8,
    what: u8,
    which: u8,
}

pub(crate) async fn after_random_edits_a_store_shows_the_same_as_one_in_memory<F: Fixture>() {
    for seed in 0..4 {
        let (mut fixture, model) = (F::start().await, MemoryStore::default());
        let mut random = fastrand::Rng::with_seed(seed);
        let mut refused = 0;
        for at in 0..120 {
            let mut below = |limit| random.u8(..limit);
            let step = Step { tenant: below(3), other: below(3), what: below(9), which: below(3) };
            let done = outcome(fixture.store().edit(step.edit()).await);
            assert_eq!(done, outcome(model.edit(step.edit()).await), "seed {seed}, step {at}: {step:?}");
            refused += u32::from(done.is_err());
            assert_eq!(shown(&*fixture.store()), shown(&model), "seed {seed}, step {at}: {step:?}");
        }
        assert!(refused > 5 && revision(&model) > 20, "the walk went somewhere, and met walls");
        fixture.store().pull().await.expect("it answers");
        assert_eq!(shown(&*fixture.store()), shown(&model), "seed {seed}, after a look");
        fixture.reopen().await;
        assert_eq!(shown(&*fixture.store()), shown(&model), "seed {seed}, opened anew");
        assert_eq!(revision(&*fixture.store()), revision(&model));
    }
}

fn outcome(done: Result<Edited, EditError>) -> Result<Edited, String> {
    done.map_err(|error| format!("{error:?}"))
}

impl Step {
    fn edit(self) -> Edit {
        let name = |at| ["t0", "t1", "t2"][usize::from(at)];
        let (id, other) = (name(self.tenant), name(self.other));
        edit(&[id, other], move |draft| self.decide(draft, id, other))
    }

    fn decide(self, draft: &mut Draft, id: &str, other: &str) -> Result<(), EditRefusal> {
        let which = self.which;
        let name = format!("i{which}");
        match self.what {
            0 => draft.put(Tenant::new(id)),
            1 => _ = draft.remove(id),
            2 => put(&mut draft.tenant(id)?.endpoints, endpoint(&name), |one| &one.id),
            3 => draft.tenant(id)?.endpoints.retain(|one| one.id != name),
            4 => put(&mut draft.tenant(id)?.subscriptions, subscription(&name, "i0"), |one| &one.id),
            5 => draft.tenant(id)?.subscriptions.clear(),
            6 => put(&mut draft.tenant(id)?.sources, source("s", &format!("S3CRET-pool-{which}")), |one| &one.id),
            7 => put(&mut draft.tenant(id)?.keys, key("k", &format!("key {which}")), |one| &one.id),
            _ => {
                let moved = std::mem::take(&mut draft.tenant(id)?.sources);
                draft.tenant(other)?.sources = moved;
            }
        }
        Ok(())
    }
}

fn put<T>(list: &mut Vec<T>, item: T, id: impl Fn(&T) -> &String) {
    list.retain(|known| id(known) != id(&item));
    list.push(item);
}
