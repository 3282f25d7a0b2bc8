//! A contact asks to be erased: nothing of it is in any file afterwards.

use std::{fs, path::Path};

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, KEY, Postgres, Process, Receiver, Site, eventually};

const TENANT: &str = "/v1/tenants/acme";
/// What a contact is known by, and what it has written. Texts are random enough to stand in a compressed body as they are.
const NUMBER: &str = "5511999990001";
const NAME: &str = "Quiteria Xavante";
const TEXT: &str = "jq7-ZEBRA-pw1";
/// What another contact has written.
const OTHER: &str = "kept-OTHER-text";

fn message(id: &str, channel: &str, number: &str, name: &str, text: &str) -> Value {
    json!({
        "id": id, "type": "message.received", "channel": {"id": channel}, "ticket": {"id": format!("t-{id}")},
        "contact": {"id": format!("c-{number}"), "name": name, "number": number},
        "message": {"id": format!("m-{id}"), "body": text, "type": "chat"},
    })
}

async fn publish(api: &Api, event: Value) {
    api.done(KEY, Method::POST, &format!("{TENANT}/events"), Some(event)).await;
}

/// All bytes of all files in a folder, and what the bodies in history decompress to.
fn bytes(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => all.extend(bytes(&path)),
            false => all.extend(fs::read(&path).unwrap_or_default()),
        }
        if path.to_string_lossy().ends_with(".bodies.db") {
            all.extend(bodies(&path));
        }
    }
    all
}

/// The bodies in a file of history, as they were.
fn bodies(file: &Path) -> Vec<u8> {
    let file = rusqlite::Connection::open(file).expect("it opens");
    let mut select = file.prepare("SELECT body FROM bodies").expect("a table");
    let bodies = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("bodies");
    bodies.flat_map(|body| lz4_flex::block::decompress_size_prepended(&body.expect("a body")).expect("LZ4")).collect()
}

/// The text of all rows of history in a database, and what the bodies decompress to.
async fn rows(url: &str) -> Vec<u8> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    let connection = tokio::spawn(connection);
    // Bytes that are letters are shown as letters.
    client.batch_execute("SET bytea_output = escape; SET search_path = carteiro_history").await.expect("settings");
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'carteiro_history'";
    let mut all = Vec::new();
    for table in client.query(tables, &[]).await.expect("tables") {
        let table: String = table.get(0);
        for row in client.query(&format!("SELECT t::text FROM {table} t"), &[]).await.expect("rows") {
            all.extend(row.get::<_, String>(0).into_bytes());
        }
    }
    for body in client.query("SELECT body FROM bodies", &[]).await.expect("bodies") {
        all.extend(lz4_flex::block::decompress_size_prepended(body.get(0)).expect("LZ4"));
    }
    drop(client);
    connection.await.expect("no panic").expect("a good end");
    all
}

fn has(all: &[u8], text: &str) -> bool {
    all.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn erased(site: &Site, server: &str, arguments: &[&str]) -> Value {
    let command = ["erase", "--tenant", "acme", "--yes", "--output", "json", "--server", server];
    let output = site.run(&[&command[..], arguments].concat()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Receivers of which one accepts and one refuses for good.
async fn receiver() -> Receiver {
    Receiver::start(|received| match received.path.as_str() {
        "/good" => Answer::status(200),
        _ => Answer::status(410),
    })
    .await
}

/// A contact and another one have written: what is for them is delivered, dead, and waiting.
async fn both_have_written(standalone: &Process, receiver: &Receiver) {
    let api = standalone.api();
    api.put(TENANT, json!({})).await;
    let away = json!({"schedule": ["1h"], "max_age": "72h"});
    for (id, endpoint) in [
        ("good", json!({"url": receiver.url("/good")})),
        ("gone", json!({"url": receiver.url("/gone")})),
        ("away", json!({"url": "http://127.0.0.1:9/", "retry": away})),
    ] {
        api.put(&format!("{TENANT}/endpoints/{id}"), endpoint).await;
        let filter = json!({"endpoint_id": id, "event_types": ["message.received"]});
        api.put(&format!("{TENANT}/subscriptions/{id}"), filter).await;
    }
    for nth in 0..20 {
        publish(&api, message(&format!("maria-{nth}"), "1", NUMBER, NAME, TEXT)).await;
        publish(&api, message(&format!("other-{nth}"), "1", "5511988880002", "João", OTHER)).await;
    }
    let count = |state: &'static str| {
        let api = api.clone();
        async move {
            let path = format!("{TENANT}/deliveries?limit=1000&state={state}");
            api.done(KEY, Method::GET, &path, None).await["items"].as_array().map_or(0, Vec::len)
        }
    };
    eventually("all were attempted", || async {
        let (delivered, dead, waiting) = (count("delivered").await, count("dead").await, count("waiting").await);
        (delivered == 40 && delivered + dead + waiting == 120 && waiting >= 40).then_some(())
    })
    .await;
}

fn only_the_other_is_in(left: &[u8]) {
    assert!(has(left, OTHER), "others stay");
    for gone in [NUMBER, NAME, TEXT] {
        assert!(!has(left, gone), "{gone} is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_contact_is_in_no_file_of_the_data_folder() {
    let receiver = receiver().await;
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    both_have_written(&standalone, &receiver).await;
    let before = bytes(&site.path(""));
    assert!([NUMBER, NAME, TEXT].iter().all(|text| has(&before, text)), "they are there before");

    let done = erased(&site, &standalone.api().url(), &["--contact", "+55 (11) 99999-0001", "--waiting"]).await;
    assert_eq!((&done["state"], &done["erased"]["events"]), (&json!("done"), &json!(20)), "{done}");
    only_the_other_is_in(&bytes(&site.path("")));
    assert_eq!(standalone.end().await, 0);
    only_the_other_is_in(&bytes(&site.path("")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_contact_is_in_no_row_of_the_database() {
    let postgres = Postgres::start().await;
    let receiver = receiver().await;
    let site = Site::from_nothing().set("history.url", postgres.url());
    let standalone = site.start("standalone").await;
    both_have_written(&standalone, &receiver).await;
    let before = rows(postgres.url()).await;
    assert!([NUMBER, NAME, TEXT].iter().all(|text| has(&before, text)), "they are there before");

    let done = erased(&site, &standalone.api().url(), &["--contact", "+55 (11) 99999-0001", "--waiting"]).await;
    assert_eq!((&done["state"], &done["erased"]["events"]), (&json!("done"), &json!(20)), "{done}");
    only_the_other_is_in(&rows(postgres.url()).await);
    assert_eq!(standalone.end().await, 0);
}
