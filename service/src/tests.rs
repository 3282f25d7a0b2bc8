//! The defaults and the structs of this crate's sections agree.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{keys_of, uncommented};
use crate::http::HttpConfig;
use crate::ops::OpsConfig;
use crate::telemetry::TelemetryConfig;
use crate::{DEFAULT_TOML, Loader};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sections {
    http: HttpConfig,
    ops: OpsConfig,
    telemetry: TelemetryConfig,
}

#[test]
fn the_defaults_fill_the_sections_and_nothing_else() {
    let loaded = Loader::<Sections>::new(DEFAULT_TOML).unwrap().load(|_| Vec::new()).unwrap();
    assert_eq!(keys_of(&loaded.show().unwrap()).unwrap(), keys_of(DEFAULT_TOML).unwrap());
    assert_eq!(loaded.config.http.listen, "127.0.0.1:8080");
}

#[test]
fn every_default_has_its_comment() {
    assert_eq!(uncommented(DEFAULT_TOML), Vec::<String>::new());
}

#[test]
fn an_operator_key_of_digits_stays_text_and_is_never_shown() {
    let loaded = Loader::<Sections>::new(DEFAULT_TOML)
        .unwrap()
        .environment([("CARTEIRO_HTTP__OPERATOR_KEY".into(), "12345".into())])
        .load(|_| Vec::new())
        .unwrap();
    assert_eq!(loaded.config.http.operator_key.as_ref().unwrap().reveal(), "12345");
    let shown = loaded.show().unwrap();
    assert!(shown.contains("operator_key = \"***\"  # CARTEIRO_HTTP__OPERATOR_KEY"), "{shown}");
    assert!(!shown.contains("12345"), "{shown}");
}

#[test]
fn half_a_tls_section_is_refused_with_the_missing_half() {
    let error = Loader::<Sections>::new(DEFAULT_TOML)
        .unwrap()
        .environment([("CARTEIRO_HTTP__TLS__CERT".into(), "cert.pem".into())])
        .load(|_| Vec::new())
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "http.tls.key: is required (in CARTEIRO_HTTP__TLS__CERT)");
}
