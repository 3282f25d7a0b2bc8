//! Retiring secrets: valid until their end, no other tenant's as long as they are stored, and removed with the next
//! change.

use schemas::{KeyHash, Rotation, Span};
use store::{Draft, EditError, EditRefusal, ItemKind, Store};

use crate::{
    fixture::Fixture,
    story::{AT, edit, key, put, revision, shown, source, tenant},
};

const HOUR: u64 = 3_600_000;

fn text(text: &str) -> schemas::Secret {
    text.to_owned().into()
}

/// Everything of `acme` that can be rotated, an hour before the end of the day in which it overlaps.
async fn rotate(store: &dyn Store) {
    let rotated = edit(&["acme"], |draft| {
        let rotation = Rotation { now: AT, overlap: Span::hours(1) };
        let acme = draft.tenant("acme")?;
        acme.sources[0].rotate(text("S3CRET-new-token"), rotation);
        acme.keys[0].rotate(KeyHash::of("new key"), rotation);
        acme.endpoints[0].rotate(text("whsec_UzNDUkVULW5ldy1zaWduaW5nLXNlY3JldC10b28="), rotation);
        Ok(())
    });
    store.edit(rotated).await.expect("done");
}

pub(crate) async fn what_was_rotated_is_found_beside_the_new_until_it_ends<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    rotate(&*fixture.store()).await;
    for _ in 0..2 {
        let snapshot = fixture.store().snapshot().expect("a snapshot");
        for (now, valid) in [(AT, true), (AT + HOUR - 1, true), (AT + HOUR, false)] {
            assert_eq!(snapshot.source("S3CRET-token-of-acme", now).is_some(), valid, "{now}");
            assert_eq!(snapshot.key("key of acme", now).is_some(), valid, "{now}");
            assert_eq!(snapshot.source("S3CRET-new-token", now).expect("valid").source.id, "main");
            assert_eq!(snapshot.key("new key", now).expect("valid").1.id, "backend");
        }
        let crm = snapshot.endpoint("acme", "crm").expect("there").clone();
        assert_eq!([AT, AT + HOUR, AT + 24 * HOUR].map(|now| crm.signing_secrets(now).count()), [3, 2, 1]);
        assert_eq!(revision(&*fixture.store()), 3, "nothing was written when it ended");
        fixture.reopen().await;
    }
}

pub(crate) async fn what_another_tenant_is_retiring_cannot_be_taken<F: Fixture>() {
    let fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    rotate(&*fixture.store()).await;
    let mut thief = tenant("beta");
    thief.sources.push(source("stolen", "S3CRET-token-of-acme"));
    thief.keys.push(key("stolen", "key of acme"));
    let Err(EditError::Refused(EditRefusal::Invalid(problems))) = put(&*fixture.store(), thief).await else {
        panic!("taken from another tenant")
    };
    let places: Vec<_> = problems.iter().map(|problem| problem.path.to_string()).collect();
    assert_eq!(places, ["tenants[0].sources[1].token", "tenants[0].keys[1].hash"]);
}

pub(crate) async fn what_has_ended_is_forgotten_when_its_own_is_changed<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let later = |decision: fn(&mut Draft) -> Result<(), EditRefusal>| store::Edit {
        at: AT + 25 * HOUR,
        ..edit(&["acme"], decision)
    };
    let renamed = later(|draft| {
        draft.tenant("acme")?.sources[0].name = Some("Main line".to_owned());
        Ok(())
    });
    let edited = fixture.store().edit(renamed).await.expect("done");
    assert_eq!(edited.changes.iter().map(|change| change.kind).collect::<Vec<_>>(), [ItemKind::Source]);
    for _ in 0..2 {
        let acme = &shown(&*fixture.store())["acme"];
        assert_eq!(acme.sources[0].old_token, None);
        assert!(acme.keys[0].old_hash.is_some() && acme.endpoints["crm"].secrets.len() == 2, "they were not touched");
        fixture.reopen().await;
    }
    let elsewhere = later(|draft| {
        draft.tenant("acme")?.sources.push(source("other", "S3CRET-old-S3CRET-token-of-acme"));
        Ok(())
    });
    fixture.store().edit(elsewhere).await.expect("what was forgotten is free again");
}
