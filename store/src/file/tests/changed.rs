//! Changed files: what the snapshot replaces, what it keeps, and which errors are reported.

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_changed_file_is_in_the_next_snapshot_and_the_held_one_stays_as_it_was() {
    let folder = Folder::with(&[("a.yaml", &tenant("acme", "https://old.example"))]);
    let store = folder.open().await;
    let held = store.snapshot().unwrap();
    let mut revision = store.revision();
    folder.write("a.yaml", &tenant("acme", "https://newer.example"));
    store.refresh().await.unwrap();
    assert!(revision.has_changed().unwrap());
    assert_eq!(*revision.borrow_and_update(), 2);
    assert_eq!(store.snapshot().unwrap().endpoint("acme", "crm").unwrap().url, "https://newer.example");
    assert_eq!(held.endpoint("acme", "crm").unwrap().url, "https://old.example");
}

#[tokio::test]
async fn a_pull_sees_what_the_listing_does_not_show() {
    let folder = Folder::with(&[("a.yaml", &tenant("acme", "https://one.example"))]);
    let path = folder.0.path().join("a.yaml");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let store = folder.open().await;
    folder.write("a.yaml", &tenant("acme", "https://two.example"));
    fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    store.refresh().await.unwrap();
    assert_eq!(store.snapshot().unwrap().endpoint("acme", "crm").unwrap().url, "https://one.example");
    store.pull().await.unwrap();
    assert_eq!(store.snapshot().unwrap().endpoint("acme", "crm").unwrap().url, "https://two.example");
}

#[tokio::test]
async fn the_watching_task_swaps_the_snapshot_and_ends_with_its_token() {
    let folder = Folder::with(&[]);
    let store = Arc::new(folder.open().await);
    let mut revision = store.revision();
    let stop = tokio_util::sync::CancellationToken::new();
    let watching = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move { store.watch(std::time::Duration::from_millis(1), stop).await }
    });
    folder.write("a.yaml", &tenant("acme", "https://a.example"));
    revision.wait_for(|&revision| revision == 2).await.unwrap();
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn unreadable_files_leave_the_last_good_snapshot_and_are_reported_until_they_are_mended() {
    let good = tenant("acme", "https://a.example");
    let folder = Folder::with(&[("a.yaml", &good)]);
    let store = folder.open().await;
    folder.write("b.yaml", "tenants: 5\n");
    let error = store.refresh().await.unwrap_err();
    assert_eq!(error.to_string(), "b.yaml:1:10: tenants: expected a list");
    assert!(store.refresh().await.is_err(), "the same content is still wrong");
    assert_eq!((store.sync_status().failures, store.snapshot().unwrap().revision()), (1, 1));
    assert_eq!(store.last_error().unwrap().0, error.0);
    assert!(store.snapshot().unwrap().endpoint("acme", "crm").is_some());
    fs::remove_file(folder.0.path().join("b.yaml")).unwrap();
    store.refresh().await.unwrap();
    assert!(store.last_error().is_none());
    assert_eq!(store.snapshot().unwrap().revision(), 1, "nothing changed");
}

#[tokio::test]
async fn a_missing_folder_removes_no_tenant_and_an_emptied_one_does() {
    let folder = Folder::with(&[]);
    let conf = folder.0.path().join("conf.d");
    fs::create_dir(&conf).unwrap();
    fs::write(conf.join("a.yaml"), tenant("acme", "https://a.example")).unwrap();
    let store = FileStore::open(&conf).await.unwrap();
    fs::rename(&conf, folder.0.path().join("away")).unwrap();
    assert!(store.refresh().await.unwrap_err().0.ends_with("the folder is gone"));
    assert!(store.snapshot().unwrap().tenant("acme").is_some());
    fs::create_dir(&conf).unwrap();
    store.refresh().await.unwrap();
    assert_eq!(store.snapshot().unwrap().tenants().count(), 0);
}

#[tokio::test]
async fn tenants_that_did_not_change_are_the_same_in_the_next_snapshot() {
    let folder = Folder::with(&[
        ("a.yaml", &tenant("acme", "https://a.example")),
        ("b.yaml", &tenant("beta", "https://b.example")),
    ]);
    let store = folder.open().await;
    let before = store.snapshot().unwrap();
    folder.write("b.yaml", &tenant("beta", "https://changed.example"));
    store.pull().await.unwrap();
    let after = store.snapshot().unwrap();
    assert!(Arc::ptr_eq(before.tenant("acme").unwrap(), after.tenant("acme").unwrap()));
    assert!(!Arc::ptr_eq(before.tenant("beta").unwrap(), after.tenant("beta").unwrap()));
}

#[tokio::test]
async fn endpoints_that_did_not_change_are_the_same_in_a_tenant_that_did() {
    let two = |url: &str| {
        let endpoints = format!("[{{id: a, url: \"https://a.example\"}}, {{id: b, url: \"{url}\"}}]");
        format!("tenants: [{{id: acme, endpoints: {endpoints}}}]")
    };
    let folder = Folder::with(&[("a.yaml", &two("https://b.example"))]);
    let store = folder.open().await;
    let before = store.snapshot().unwrap();
    folder.write("a.yaml", &two("https://changed.example"));
    store.pull().await.unwrap();
    let after = store.snapshot().unwrap();
    let same = |id| Arc::ptr_eq(before.endpoint("acme", id).unwrap(), after.endpoint("acme", id).unwrap());
    assert!(same("a"));
    assert!(!same("b"));
    assert_eq!(after.endpoint("acme", "b").unwrap().url, "https://changed.example");
}

#[tokio::test]
async fn its_revisions_are_this_processs_own_from_the_first_on() {
    let folder = Folder::with(&[("a.yaml", "tenants: [{id: acme}]")]);
    let store = folder.open().await;
    assert!(!store.snapshot().unwrap().has_shared_revisions());
    folder.write("a.yaml", "tenants: [{id: acme}, {id: zeta}]");
    store.pull().await.unwrap();
    assert_eq!(store.snapshot().unwrap().revision(), 2);
    assert!(!store.snapshot().unwrap().has_shared_revisions());
}

#[tokio::test(start_paused = true)]
async fn the_folder_is_read_ten_times_a_second_at_most_however_often_somebody_asks() {
    let folder = Folder::with(&[("a.yaml", "tenants: [{id: acme}]")]);
    let store = folder.open().await;
    let began = Instant::now();
    for _ in 0..11 {
        store.pull().await.unwrap();
    }
    assert_eq!(began.elapsed().as_millis() / 100, 10);
    folder.write("a.yaml", "tenants: [{id: acme}, {id: zeta}]");
    store.pull().await.unwrap();
    assert!(store.snapshot().unwrap().tenant("zeta").is_some(), "a pull sees the newest files");
}
