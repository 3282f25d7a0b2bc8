//! Changing what is configured.

use schemas::Tenant;
use store::{Draft, EditError, EditRefusal, ItemKind, Store};

use crate::{
    fixture::Fixture,
    story::{edit, endpoint, key, put, remove, revision, shown, source, tenant},
};

pub(crate) async fn an_edit_is_durable_and_in_the_snapshot_when_it_is_answered<F: Fixture>() {
    let mut fixture = F::start().await;
    let before = revision(&*fixture.store());
    let edited = put(&*fixture.store(), tenant("acme")).await.expect("done");
    assert_eq!((edited.revision, edited.changes.len()), (before + 1, 5));
    assert_eq!(revision(&*fixture.store()), before + 1);
    let there = shown(&*fixture.store());
    assert_eq!(there["acme"].to_tenant(), tenant("acme"));
    fixture.reopen().await;
    assert_eq!(shown(&*fixture.store()), there);
    assert_eq!(revision(&*fixture.store()), before + 1);
}

pub(crate) async fn a_refused_edit_changes_nothing<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let before = shown(&*fixture.store());
    let refused = edit(&["acme", "beta"], |draft| {
        draft.put(Tenant::new("beta"));
        draft.tenant("acme")?.endpoints.clear();
        Err(EditRefusal::Stale)
    });
    let refused = fixture.store().edit(refused).await;
    assert!(matches!(refused, Err(EditError::Refused(EditRefusal::Stale))), "{refused:?}");
    assert_eq!((shown(&*fixture.store()), revision(&*fixture.store())), (before.clone(), 2));
    fixture.reopen().await;
    assert_eq!(shown(&*fixture.store()), before);
}

pub(crate) async fn an_invalid_result_is_refused_with_its_places<F: Fixture>() {
    let fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let invalid = edit(&["acme"], |draft| {
        draft.tenant("acme")?.endpoints.clear();
        Ok(())
    });
    let Err(EditError::Refused(EditRefusal::Invalid(problems))) = fixture.store().edit(invalid).await else {
        panic!("a subscription without its endpoint")
    };
    assert_eq!(problems[0].path.to_string(), "tenants[0].subscriptions[0].endpoint_id");
    assert_eq!(revision(&*fixture.store()), 2);
}

pub(crate) async fn a_dry_run_says_what_would_change_and_changes_nothing<F: Fixture>() {
    let fixture = F::start().await;
    let mut dry = edit(&["acme"], |draft| {
        draft.put(tenant("acme"));
        Ok(())
    });
    dry.dry_run = true;
    let edited = fixture.store().edit(dry).await.expect("allowed");
    assert_eq!((edited.revision, edited.changes.len()), (1, 5));
    assert!(shown(&*fixture.store()).is_empty());
    let kept = fixture.store();
    assert!(kept.usage_and_audit().expect("usage and audit").audit(None, None, 10).await.expect("a log").is_empty());
}

pub(crate) async fn an_edit_that_changes_nothing_makes_no_revision<F: Fixture>() {
    let fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let again = put(&*fixture.store(), tenant("acme")).await.expect("done");
    assert_eq!((again.revision, again.changes.len()), (2, 0));
    assert_eq!(revision(&*fixture.store()), 2);
}

pub(crate) async fn everything_has_the_version_that_changed_it<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let added = edit(&["acme"], |draft| {
        draft.tenant("acme")?.endpoints.push(endpoint("bi"));
        Ok(())
    });
    fixture.store().edit(added).await.expect("done");
    for _ in 0..2 {
        let versions = shown(&*fixture.store())["acme"].versions.clone();
        assert_eq!(versions.of(ItemKind::Tenant, "acme"), Some(2));
        assert_eq!(versions.of(ItemKind::Endpoint, "crm"), Some(2));
        assert_eq!(versions.of(ItemKind::Endpoint, "bi"), Some(3));
        assert_eq!(versions.of(ItemKind::Endpoint, "none"), None);
        fixture.reopen().await;
    }
}

pub(crate) async fn everything_keeps_the_revision_that_created_it_until_it_is_made_anew<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let change = async |change: fn(&mut Tenant)| {
        let decision = move |draft: &mut Draft| draft.tenant("acme").map(change);
        fixture.store().edit(edit(&["acme"], decision)).await.expect("done");
    };
    change(|acme| acme.endpoints.push(endpoint("bi"))).await;
    change(|acme| {
        acme.name = None;
        acme.endpoints.iter_mut().for_each(|one| one.url = "https://new.example/".to_owned());
    })
    .await;
    let created = |store: &dyn Store| {
        let acme = shown(store).remove("acme").expect("a tenant");
        [acme.created(), acme.endpoint_created("crm"), acme.endpoint_created("bi"), acme.endpoint_created("none")]
    };
    assert_eq!(created(&*fixture.store()), [2, 2, 3, 0]);
    change(|acme| acme.endpoints.retain(|one| one.id != "bi")).await;
    change(|acme| acme.endpoints.push(endpoint("bi"))).await;
    for _ in 0..2 {
        assert_eq!(created(&*fixture.store()), [2, 2, 6, 0]);
        fixture.reopen().await;
    }
}

pub(crate) async fn a_tenant_made_anew_is_another_one_also_within_one_edit<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    remove(&*fixture.store(), "acme").await.expect("done");
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    for expected in [4, 5] {
        for _ in 0..2 {
            let acme = &shown(&*fixture.store())["acme"];
            assert_eq!((acme.created(), acme.endpoint_created("crm")), (expected, expected));
            fixture.reopen().await;
        }
        let anew = edit(&["acme"], |draft| {
            let acme = draft.remove("acme").ok_or(EditRefusal::NoSuch(ItemKind::Tenant))?;
            draft.put(acme);
            Ok(())
        });
        assert_eq!(fixture.store().edit(anew).await.expect("done").changes.len(), 5);
    }
}

pub(crate) async fn who_knows_an_old_version_is_refused<F: Fixture>() {
    let fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let rename = |name: &'static str, known: u64| {
        edit(&["acme"], move |draft| {
            if draft.version("acme", ItemKind::Tenant, "acme") != Some(known) {
                return Err(EditRefusal::Stale);
            }
            draft.tenant("acme")?.name = Some(name.to_owned());
            Ok(())
        })
    };
    fixture.store().edit(rename("first", 2)).await.expect("nobody was before");
    let late = fixture.store().edit(rename("late", 2)).await;
    assert!(matches!(late, Err(EditError::Refused(EditRefusal::Stale))), "{late:?}");
    assert_eq!(shown(&*fixture.store())["acme"].name.as_deref(), Some("first"));
}

pub(crate) async fn what_another_tenant_has_cannot_be_taken<F: Fixture>() {
    let fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let mut thief = tenant("beta");
    thief.sources.push(source("stolen", "S3CRET-token-of-acme"));
    thief.keys.push(key("stolen", "key of acme"));
    let Err(EditError::Refused(EditRefusal::Invalid(problems))) = put(&*fixture.store(), thief).await else {
        panic!("taken from another tenant")
    };
    let places: Vec<_> = problems.iter().map(|problem| problem.path.to_string()).collect();
    let stolen = ["sources[1].token", "sources[1].old_token", "keys[1].hash", "keys[1].old_hash"];
    assert_eq!(places, stolen.map(|place| format!("tenants[0].{place}")));
    assert!(problems.iter().all(|problem| !problem.to_string().contains("acme")), "whose it is, is nobody's business");
    assert_eq!(shown(&*fixture.store()).len(), 1);
}

pub(crate) async fn tokens_and_keys_can_move_in_one_edit<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    put(&*fixture.store(), tenant("beta")).await.expect("done");
    let swap = edit(&["acme", "beta"], |draft| {
        let (sources, keys) = (draft.tenant("acme")?.sources.clone(), draft.tenant("acme")?.keys.clone());
        let beta = draft.tenant("beta")?;
        let (sources, keys) = (std::mem::replace(&mut beta.sources, sources), std::mem::replace(&mut beta.keys, keys));
        let acme = draft.tenant("acme")?;
        (acme.sources, acme.keys) = (sources, keys);
        Ok(())
    });
    fixture.store().edit(swap).await.expect("done");
    for _ in 0..2 {
        let snapshot = fixture.store().snapshot().expect("a snapshot");
        for (now, before) in [("acme", "beta"), ("beta", "acme")] {
            let found = snapshot.source(&format!("S3CRET-token-of-{before}"), 0).expect("known");
            assert_eq!(found.tenant.id, now);
            assert_eq!(snapshot.key(&format!("key of {before}"), 0).expect("known").0.id, now);
        }
        fixture.reopen().await;
    }
}

pub(crate) async fn a_tenant_that_was_not_reached_for_is_not_overwritten<F: Fixture>() {
    let fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let blind = edit(&["beta"], |draft| {
        draft.put(Tenant::new("acme"));
        Ok(())
    });
    let refused = fixture.store().edit(blind).await;
    assert!(matches!(refused, Err(EditError::Refused(EditRefusal::Conflict(_)))), "{refused:?}");
    assert_eq!(shown(&*fixture.store())["acme"].to_tenant(), tenant("acme"));
}

pub(crate) async fn a_tenant_made_again_has_nothing_of_the_old_one<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let gone = remove(&*fixture.store(), "acme").await.expect("done");
    assert!(gone.changes.iter().all(|change| change.after.is_none()) && gone.changes.len() == 5);
    assert!(shown(&*fixture.store()).is_empty());
    put(&*fixture.store(), Tenant::new("acme")).await.expect("done");
    for _ in 0..2 {
        assert_eq!(shown(&*fixture.store())["acme"].to_tenant(), Tenant::new("acme"));
        let snapshot = fixture.store().snapshot().expect("a snapshot");
        assert!(snapshot.key("key of acme", 0).is_none() && snapshot.key("old key of acme", 0).is_none());
        assert!(snapshot.source("S3CRET-token-of-acme", 0).is_none());
        fixture.reopen().await;
    }
}

pub(crate) async fn concurrent_editors_of_one_tenant_lose_nothing<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), Tenant::new("acme")).await.expect("done");
    let editors: Vec<_> = (0..40)
        .map(|at| {
            let store = fixture.store();
            tokio::spawn(async move {
                let added = edit(&["acme"], move |draft| {
                    draft.tenant("acme")?.endpoints.push(endpoint(&format!("e{at:02}")));
                    Ok(())
                });
                store.edit(added).await.expect("done").revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for editor in editors {
        revisions.push(editor.await.expect("no panic"));
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (3..43).collect::<Vec<_>>(), "each has a revision of its own");
    for _ in 0..2 {
        assert_eq!(shown(&*fixture.store())["acme"].endpoints.len(), 40);
        fixture.reopen().await;
    }
}
