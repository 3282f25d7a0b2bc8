//! What files say, however it is written.

use super::*;

#[tokio::test]
async fn the_example_tenant_is_read_in_full() {
    let snapshot = Folder::with(&[("acme.yaml", EXAMPLE)]).snapshot().await;
    assert_eq!(snapshot.revision(), 1);
    let crm = snapshot.endpoint("acme", "crm").unwrap();
    assert_eq!((crm.format, crm.n8n_api_key.as_ref().unwrap().reveal()), (Format::Whazing, "n8n"));
    assert_eq!(crm.retry.as_ref().unwrap().schedule.len(), 2);
    let ids: Vec<_> = snapshot.tenant("acme").unwrap().subscriptions.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["bot-12", "crm-7"]);
    assert_eq!(snapshot.source("source-token", 0).unwrap().source.id, "main");
    assert_eq!(snapshot.key("test", 0).unwrap().1.hash, KeyHash::of("test"));
}

#[tokio::test]
async fn what_is_retiring_in_a_file_is_valid_until_its_time() {
    let hash = |text: &str| String::from(KeyHash::of(text));
    let text = format!(
        "{}        secrets: [whsec_UzNDUkVULXNlY3JldC1vZi0yNC1ieXRlcw==, {{secret: whsec_T0xELVMzQ1JFVC1vZi0yNC1ieXRlcy0t, until: 1970-01-01T00:00:01Z}}]
    sources: [{{id: main, dialect: whazing, token: new-token, old_token: {{secret: 12e45678, until: 1970-01-01T00:00:01Z}}}}]
    keys: [{{id: k, scopes: [read], hash: {}, old_hash: {{hash: {}, until: \"1970-01-01T00:00:01Z\"}}}}]\n",
        "tenants:\n  - id: acme\n    endpoints:\n      - id: crm\n        url: https://a.example\n",
        hash("new"),
        hash("old"),
    );
    let snapshot = Folder::with(&[("a.yaml", &text)]).snapshot().await;
    for (now, valid) in [(999, true), (1_000, false)] {
        assert_eq!(snapshot.source("12e45678", now).is_some(), valid);
        assert_eq!(snapshot.key("old", now).is_some(), valid);
        assert_eq!(snapshot.endpoint("acme", "crm").unwrap().signing_secrets(now).count(), 1 + usize::from(valid));
        assert!(snapshot.source("new-token", now).is_some() && snapshot.key("new", now).is_some());
    }
    let wrong = text.replace("until: 1970-01-01T00:00:01Z}]", "until: soon}]");
    let refused = Folder::with(&[("a.yaml", &wrong)]).refusal().await.join("\n");
    assert!(refused.contains("a.yaml:6:") && refused.contains("endpoints[0].secrets[1].until: "), "{refused}");
}

#[tokio::test]
async fn a_missing_and_an_empty_folder_are_an_empty_configuration() {
    let folder = Folder::with(&[]);
    assert_eq!(folder.snapshot().await.tenants().count(), 0);
    let store = FileStore::open(&folder.0.path().join("none")).await.unwrap();
    assert_eq!((*store.revision().borrow(), store.snapshot().unwrap().tenants().count()), (1, 0));
}

#[tokio::test]
async fn files_without_content_and_lists_without_items_say_nothing() {
    let folder = Folder::with(&[
        ("a.yaml", ""),
        ("b.yaml", "# nothing yet\n"),
        ("c.yml", "tenants:\n#  - id: later\n"),
        ("d.yaml", "\u{feff}tenants:\n  - id: acme\n    endpoints:\n"),
        (".hidden.yaml", "not: read"),
        ("notes.txt", "not: read"),
    ]);
    assert_eq!(folder.snapshot().await.tenants().count(), 1);
}

#[tokio::test]
async fn a_tenant_may_be_spread_over_files() {
    let subscriptions = "tenants:\n  - id: acme\n    name: Acme\n    subscriptions:\n      - {id: all, endpoint_id: crm, event_types: ['*']}\n";
    let folder = Folder::with(&[("a.yaml", subscriptions), ("b.yaml", &tenant("acme", "https://crm.example"))]);
    let snapshot = folder.snapshot().await;
    let acme = snapshot.tenant("acme").unwrap();
    assert_eq!((acme.endpoints.len(), acme.subscriptions.len()), (1, 1));
}

#[tokio::test]
async fn a_text_may_look_like_a_number_and_an_id_may_be_one() {
    let text = "
tenants:
  - id: 7
    name: no
    endpoints:
      - {id: 12, url: 'https://a.example', format_options: {shape: 2.15}, n8n_api_key: 0123, headers: {X: 'é' }}
";
    assert_eq!(
        refusal(text).await,
        ["acme.yaml:6:107: tenants[0].endpoints[0].headers.X: expected visible ASCII characters, spaces and tabs"]
    );
    let snapshot = Folder::with(&[("a.yaml", &text.replace('é', "e"))]).snapshot().await;
    let endpoint = snapshot.endpoint("7", "12").unwrap();
    assert_eq!(endpoint.n8n_api_key.as_ref().unwrap().reveal(), "0123");
    assert_eq!(endpoint.headers["X"], HeaderText::Plain("e".into()));
}

#[tokio::test]
async fn null_is_a_word_where_it_is_one_of_the_words_and_nothing_is_none() {
    let text = "
tenants:
  - id: acme
    endpoints:
      - {id: crm, url: 'https://a.example', format_options: {webhook_echo: null}}
";
    let snapshot = Folder::with(&[("a.yaml", text)]).snapshot().await;
    assert_eq!(snapshot.endpoint("acme", "crm").unwrap().format_options.webhook_echo, schemas::WebhookEcho::Null);
    assert_eq!(
        refusal(&text.replace(": null", ": ")).await,
        ["acme.yaml:5:74: tenants[0].endpoints[0].format_options.webhook_echo: expected one word"]
    );
}

#[tokio::test]
async fn ids_are_the_same_written_as_numbers_and_as_texts() {
    let ids = |ids: &str| {
        format!(
            "{}    subscriptions:\n      - {{id: s, endpoint_id: crm, channel_ids: {ids}}}\n",
            tenant("acme", "https://a.example")
        )
    };
    let folder = Folder::with(&[("a.yaml", &ids("[7, b]"))]);
    let store = folder.open().await;
    let written = store.snapshot().unwrap().tenant("acme").unwrap().subscriptions[0].channel_ids.clone().unwrap();
    assert_eq!(Vec::from_iter(written.0), ["7", "b"]);
    folder.write("a.yaml", &ids("['b', \"7\"]"));
    store.pull().await.unwrap();
    assert_eq!(store.snapshot().unwrap().revision(), 1, "the same ids are no change");
}

#[tokio::test]
async fn an_id_that_a_number_would_change_stays_as_it_is_written() {
    let text = format!(
        "{}    subscriptions:\n      - {{id: s, endpoint_id: crm, channel_ids: [7, 007, +55, 0x10, 99999999999999999999]}}\n",
        tenant("acme", "https://a.example")
    );
    let snapshot = Folder::with(&[("a.yaml", &text)]).snapshot().await;
    let ids = snapshot.tenant("acme").unwrap().subscriptions[0].channel_ids.clone().unwrap();
    assert_eq!(Vec::from_iter(ids.0), ["+55", "007", "0x10", "7", "99999999999999999999"]);
}

#[tokio::test]
async fn a_token_that_looks_like_a_huge_number_is_a_token() {
    let text = "tenants:\n  - id: acme\n    sources:\n      - {id: main, dialect: whazing, token: 12e456789}\n";
    assert!(Folder::with(&[("a.yaml", text)]).snapshot().await.source("12e456789", 0).is_some());
}

#[tokio::test]
async fn anchors_and_merges_are_read_where_they_are_used() {
    let text = "
tenants:
  - id: acme
    endpoints:
      - &crm {id: crm, url: 'https://a.example', timeout: &t 5s}
      - {<<: *crm, id: bot, timeout: 30s}
      - {id: log, url: 'https://b.example', timeout: *t}
";
    let snapshot = Folder::with(&[("a.yaml", text)]).snapshot().await;
    let seconds = |id| snapshot.endpoint("acme", id).unwrap().timeout.0.as_secs();
    assert_eq!([seconds("crm"), seconds("bot"), seconds("log")], [5, 30, 5]);
}
