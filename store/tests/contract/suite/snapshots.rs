//! The snapshots that readers hold.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    fixture::Fixture,
    story::{edit, endpoint, put, shown, tenant},
};

pub(crate) async fn what_an_edit_does_not_touch_stays_the_same_value<F: Fixture>() {
    let fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    put(&*fixture.store(), tenant("beta")).await.expect("done");
    let old = fixture.store().snapshot().expect("a snapshot");
    let added = edit(&["acme"], |draft| {
        draft.tenant("acme")?.endpoints.push(endpoint("bi"));
        Ok(())
    });
    fixture.store().edit(added).await.expect("done");
    fixture.store().pull().await.expect("it answers");
    let new = fixture.store().snapshot().expect("a snapshot");
    assert!(Arc::ptr_eq(old.tenant("beta").expect("old"), new.tenant("beta").expect("new")));
    assert!(Arc::ptr_eq(old.endpoint("acme", "crm").expect("old"), new.endpoint("acme", "crm").expect("new")));
    assert!(!Arc::ptr_eq(old.tenant("acme").expect("old"), new.tenant("acme").expect("new")));
    assert!(old.endpoint("acme", "bi").is_none(), "who holds the old one sees no change");
}

pub(crate) async fn sources_and_keys_are_found_by_what_is_presented<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    for _ in 0..2 {
        let snapshot = fixture.store().snapshot().expect("a snapshot");
        assert_eq!(snapshot.source("S3CRET-token-of-acme", 0).expect("known").source.id, "main");
        assert_eq!(snapshot.key("key of acme", 0).expect("known").1.id, "backend");
        assert!(snapshot.source("S3CRET-token-of-beta", 0).is_none() && snapshot.key("key of beta", 0).is_none());
        fixture.reopen().await;
    }
}

pub(crate) async fn secrets_come_back_after_reopening<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    fixture.reopen().await;
    let acme = &shown(&*fixture.store())["acme"];
    assert_eq!(*acme.endpoints["crm"], endpoint("crm"));
    assert_eq!(acme.endpoints["crm"].headers["x-hidden"].reveal(), "S3CRET-header");
    assert_eq!(acme.sources[0].token.reveal(), "S3CRET-token-of-acme");
}

pub(crate) async fn after_a_look_the_snapshot_is_known_to_be_the_newest<F: Fixture>() {
    let mut fixture = F::start().await;
    for _ in 0..2 {
        let begun = Instant::now();
        fixture.store().pull().await.expect("it answers");
        let freshness = fixture.store().sync_status();
        let synced_at = freshness.synced_at.expect("it was looked at");
        assert!(begun <= synced_at && synced_at <= Instant::now());
        assert_eq!(freshness.failures, 0);
        fixture.reopen().await;
        assert!(fixture.store().sync_status().synced_at.is_some(), "also by being opened");
    }
}
