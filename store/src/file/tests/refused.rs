//! Invalid files are refused with all errors at once, each with its place.

use super::*;

#[tokio::test]
async fn an_id_in_two_files_is_refused_with_both_places() {
    let folder = Folder::with(&[
        ("a.yaml", &tenant("acme", "https://a.example")),
        ("b.yaml", &tenant("acme", "https://b.example")),
    ]);
    let lines = folder.refusal().await;
    assert_eq!(lines, ["b.yaml:4:14: tenants[0].endpoints[0].id: the id is already used at a.yaml:4:14"]);
}

#[tokio::test]
async fn files_that_disagree_about_a_tenant_are_refused() {
    let named = |name: &str| format!("tenants:\n  - id: acme\n    name: {name}\n");
    let folder = Folder::with(&[("a.yaml", &named("Acme")), ("b.yaml", &named("Ajax"))]);
    let lines = folder.refusal().await;
    assert_eq!(lines, ["b.yaml:3:11: tenants[0].name: the files that describe tenant acme do not agree"]);
}

#[tokio::test]
async fn a_tenant_twice_in_one_file_is_refused() {
    let lines = refusal("tenants:\n  - id: acme\n  - id: acme\n").await;
    assert_eq!(lines, ["acme.yaml:3:9: tenants[1].id: the tenant is already described at acme.yaml:2:9"]);
}

#[tokio::test]
async fn an_unknown_key_is_reported_with_its_place_and_the_nearest_known_one() {
    let text = "
tenants:
  - id: acme
    qouta: {}
    endpoints:
      - {id: a, url: 'https://a.example'}
      - id: b
        urll: https://b.example
      - id: c
        url: https://c.example
        retry: {schedul: [5s]}
      - id: d
        url: https://d.example
        rate_limit:
          per_secnd: 5
      - {id: e, url: 'https://e.example', format_options: {shap: '2.15'}}
tenant: []
";
    assert_eq!(
        refusal(text).await,
        [
            "acme.yaml:4:5: tenants[0].qouta: unknown key, did you mean quota?",
            "acme.yaml:8:9: tenants[0].endpoints[1].urll: unknown key, did you mean url?",
            "acme.yaml:11:17: tenants[0].endpoints[2].retry.schedul: unknown key, did you mean schedule?",
            "acme.yaml:15:11: tenants[0].endpoints[3].rate_limit.per_secnd: unknown key, did you mean per_second?",
            "acme.yaml:16:60: tenants[0].endpoints[4].format_options.shap: unknown key, did you mean shape?",
            "acme.yaml:17:1: tenant: unknown key, did you mean tenants?",
        ]
    );
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_reported_with_its_place_and_without_its_value() {
    let text = "
tenants:
  - id: acme
    endpoints:
      - {id: a, url: 'https://a.example', timeout: 15}
      - {id: b, url: 'https://b.example', max_in_flight: hunter2}
      - {id: c, url: 'https://c.example', format: whazzing}
      - {id: d}
      - {id: e, url: 'https://e.example', n8n_api_key: [hunter2]}
      - {id: f, url: 'https://f.example', headers: {X-Count: 5}}
      - {id: g, url: 'https://g.example', headers: {X-Count: {secret: hunter2, secert: x}}}
    subscriptions:
      - {id: s, endpoint_id: a, channel_ids: [7, [8]]}
      - {id: t, endpoint_id: a, event_types: [message.*, message..received]}
      - id: u
        endpoint_id: a
        channel_ids:
    keys:
      - {id: k, scopes: [publish], hash: hunter2}
";
    let lines = refusal(text).await;
    let expected = [
        "acme.yaml:5:52: tenants[0].endpoints[0].timeout: \"15\" is not a duration: write a number and a unit, such as \"5s\" or \"2m\"",
        "acme.yaml:6:58: tenants[0].endpoints[1].max_in_flight: expected a whole number, 0 or more, found a text",
        "acme.yaml:7:51: tenants[0].endpoints[2].format: unknown word `whazzing`, did you mean whazing?",
        "acme.yaml:8:9: tenants[0].endpoints[3]: url is missing",
        "acme.yaml:9:56: tenants[0].endpoints[4].n8n_api_key: expected a text, found a list",
        "acme.yaml:10:62: tenants[0].endpoints[5].headers.X-Count: expected a text, or {secret: text}",
        "acme.yaml:11:62: tenants[0].endpoints[6].headers.X-Count: expected a text, or {secret: text}",
        "acme.yaml:13:50: tenants[0].subscriptions[0].channel_ids[1]: expected a whole number or a text",
    ];
    assert_eq!(lines[..8], expected);
    assert!(lines[8].starts_with("acme.yaml:14:58: tenants[0].subscriptions[1].event_types[1]: "), "{}", lines[8]);
    assert!(
        lines[9].starts_with("acme.yaml:17:20: tenants[0].subscriptions[2].channel_ids: has no value"),
        "{}",
        lines[9]
    );
    assert_eq!(lines[10], "acme.yaml:19:42: tenants[0].keys[0].hash: expected `sha256:` and 64 hex digits");
    assert!(lines.iter().all(|line| !line.contains("hunter2")));
    assert_eq!(lines.len(), 11);
}

#[tokio::test]
async fn invalid_yaml_is_reported_with_its_place_for_every_file() {
    let broken = "tenants:\n  - id: acme\n    name: [\n";
    let folder =
        Folder::with(&[("a.yaml", broken), ("b.yaml", "tenants:\n  - id: x\n    id: y\n"), ("c.yaml", "just a text")]);
    fs::write(folder.0.path().join("d.yaml"), b"tenants:\n  - id: \xff\n").unwrap();
    let lines = folder.refusal().await;
    assert!(lines[0].starts_with("a.yaml:"), "{}", lines[0]);
    assert!(lines[1].starts_with("b.yaml:3:5: "), "{}", lines[1]);
    assert_eq!(lines[2], "c.yaml:1:1: expected the key tenants");
    assert_eq!(lines[3], "d.yaml:2:9: is not UTF-8");
}

#[tokio::test]
async fn nesting_without_end_is_refused() {
    let lines = refusal(&format!("tenants: {}", "[".repeat(100_000))).await;
    assert!(lines[0].starts_with("acme.yaml:1:"), "{}", lines[0]);
    assert_eq!(lines.len(), 1);
}

#[tokio::test]
async fn all_invalid_fields_are_reported_at_once_each_with_its_place() {
    let text = "
tenants:
  - id: Acme
    endpoints:
      - {id: a, url: 'ftp://a.example', headers: {Host: x}}
    subscriptions:
      - {id: s, endpoint_id: b}
";
    assert_eq!(
        refusal(text).await,
        [
            "acme.yaml:3:9: tenants[0].id: expected up to 63 of a-z, 0-9, _ and -, beginning with a letter or digit",
            "acme.yaml:5:22: tenants[0].endpoints[0].url: must begin with http:// or https://",
            "acme.yaml:5:57: tenants[0].endpoints[0].headers.Host: cannot be set: carteiro sets it",
            "acme.yaml:7:30: tenants[0].subscriptions[0].endpoint_id: the tenant has no such endpoint",
        ]
    );
}
