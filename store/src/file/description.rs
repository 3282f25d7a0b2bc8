//! Configuration files that are sent to a running process: their YAML as JSON with secrets, and the positions in files
//! that errors about that JSON belong to.
//!
//! Only fields that the files write are sent, because a field that is left out may mean "keep". Only types are checked
//! here. The process validates.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use schemas::Tenant;
use serde_json::{Map, Value as Json};

use super::{
    document::{YamlDocument, YamlNode, YamlValue},
    folder::{Listing, SourceFile},
    merge,
    merge::Merged,
    tenants::{LISTS, SourceTokens},
};
use crate::{
    StoreError,
    invalid_field::{FieldPath, InvalidField, PathSegment},
};

/// The tenants that files describe.
#[derive(Debug)]
pub struct Description {
    documents: Vec<YamlDocument>,
    merged: Merged,
    tenants: Vec<Json>,
}

impl Description {
    /// Reads files, and the YAML files of folders; `-` is `stdin`. Descriptions of one tenant in several files are
    /// merged. Blocks.
    ///
    /// # Errors
    /// Everything that cannot be read, each in one line with file, line and column.
    pub fn read(paths: &[PathBuf], mut stdin: impl io::Read) -> Result<Self, StoreError> {
        let mut files = Vec::new();
        for path in paths {
            if path.as_os_str() == "-" {
                let mut bytes = Vec::new();
                files.push(SourceFile::of("-".to_owned(), stdin.read_to_end(&mut bytes).map(|_| bytes)));
            } else {
                files.extend(read(path).map_err(|error| StoreError(format!("{}: {error}", path.display())))?);
            }
        }
        let lines = |lines: Vec<String>| StoreError(lines.join("\n"));
        let (documents, merged, problems) = merge::merge(files, SourceTokens::Optional).map_err(lines)?;
        if !problems.is_empty() {
            return Err(lines(problems.iter().map(|problem| merge::line(problem, &merged, &documents)).collect()));
        }
        let tenants = merged.tenants.iter().enumerate();
        let tenants = tenants.map(|(at, tenant)| written(tenant, merged.parts(at), &documents)).collect();
        Ok(Self { documents, merged, tenants })
    }

    /// Returns the tenants as `POST /v1/apply` takes them. They contain secrets and must not be shown.
    pub fn tenants(&self) -> &[Json] {
        &self.tenants
    }

    /// Returns one line about an error in the sent `{"tenants": […]}`, with the file, line and column that the value
    /// comes from.
    pub fn line(&self, pointer: &str, message: &str) -> String {
        let path = FieldPath::of_pointer(pointer);
        match path.0.as_slice() {
            [PathSegment::Key(key), PathSegment::Index(index), ..]
                if key == "tenants" && *index < self.tenants.len() =>
            {
                let problem = InvalidField { path, message: message.to_owned(), other: None };
                merge::line(&problem, &self.merged, &self.documents)
            }
            [] => message.to_owned(),
            _ => format!("{path}: {message}"),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<SourceFile>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![SourceFile::of(path.display().to_string(), fs::read(path))]);
    }
    let file = |name: &str| {
        let path = path.join(name);
        SourceFile::of(path.display().to_string(), fs::read(path))
    };
    Ok(Listing::of(path)?.names().map(file).collect())
}

/// Returns a tenant as JSON, with exactly the fields that its parts in the files write.
fn written(tenant: &Tenant, parts: impl Iterator<Item = (usize, usize)>, documents: &[YamlDocument]) -> Json {
    // Plain structs with text keys can always be serialized.
    let typed = serde_json::to_value(tenant).unwrap_or_default();
    let mut whole = Map::new();
    for (document, index) in parts {
        let document = &documents[document];
        let node = document.node(&[PathSegment::Key("tenants".into()), PathSegment::Index(index)]);
        let Some(YamlValue::Map(entries)) = node.map(|node| &node.value) else { continue };
        for entry in entries {
            let typed = &typed[entry.key.as_str()];
            if LISTS.contains(&entry.key.as_str()) {
                let list = whole.entry(entry.key.as_str()).or_insert_with(|| Json::Array(Vec::new()));
                if let (Json::Array(list), YamlValue::List(nodes)) = (list, &entry.node.value) {
                    for node in nodes {
                        list.push(as_typed(node, &typed[list.len()], &document.source));
                    }
                }
            } else if !whole.contains_key(&entry.key) {
                whole.insert(entry.key.clone(), as_typed(&entry.node, typed, &document.source));
            }
        }
    }
    Json::Object(whole)
}

/// Returns a node as the types read it: `id: 7` is a text when the type asks for one. `typed` is the serialized value,
/// in which secrets are masked and defaults are left out.
fn as_typed(node: &YamlNode, typed: &Json, source: &str) -> Json {
    match &node.value {
        YamlValue::Map(entries) => {
            let entry = |(key, node): (&String, &YamlNode)| (key.clone(), as_typed(node, &typed[key.as_str()], source));
            Json::Object(entries.iter().map(|one| entry((&one.key, &one.node))).collect())
        }
        // Sets are sorted when they are serialized, but all values of a list have one type.
        YamlValue::List(nodes) => nodes
            .iter()
            .enumerate()
            .map(|(at, node)| as_typed(node, typed.get(at).unwrap_or(&typed[0]), source))
            .collect(),
        _ => match (typed, node.text(source)) {
            (Json::String(_), Some(text)) => text.into(),
            (Json::Null, _) => as_written(node, source),
            (typed, _) => typed.clone(),
        },
    }
}

/// Returns a scalar that the serialized value leaves out because it is the default, such as `start_on_transfer: false`.
fn as_written(node: &YamlNode, source: &str) -> Json {
    match &node.value {
        YamlValue::Bool(truth) => (*truth).into(),
        YamlValue::Signed(number) => (*number).into(),
        YamlValue::Unsigned(number) => (*number).into(),
        YamlValue::Float(number) => (*number).into(),
        _ => node.text(source).map_or(Json::Null, Json::from),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Description, StoreError> {
        Description::read(&["-".into()], text.as_bytes())
    }

    #[test]
    fn only_what_is_written_is_sent_and_as_the_types_take_it() {
        let text = r#"
tenants:
  - id: 7
    quota: {events_per_second: 50}
    endpoints:
      - id: crm
        url: https://crm.example/hooks
        n8n_api_key: 12e456
        secrets: [whsec_1, {secret: whsec_0, until: 2026-11-22T08:00:00Z}]
        headers: {x-a: plain, x-b: {secret: "s"}}
        retry: {schedule: [30s, 5s]}
        format_options: {shape: 2.15}
      - {id: bi, url: "https://bi.example/", secrets: []}
    subscriptions:
      - {id: 007, endpoint_id: crm, channel_ids: [9, "-"], event_types: [ticket.*, "*"], start_on_transfer: false, groups: no}
    sources:
      - {id: main, dialect: whazing, channel_id: 7, old_token: {secret: 12e4, until: 2026-11-22T08:00:00Z}}
    keys:
"#;
        let sent = json!([{
            "id": "7",
            "quota": {"events_per_second": 50.0},
            "endpoints": [{
                "id": "crm", "url": "https://crm.example/hooks", "n8n_api_key": "12e456",
                "secrets": ["whsec_1", {"secret": "whsec_0", "until": "2026-11-22T08:00:00Z"}],
                "headers": {"x-a": "plain", "x-b": {"secret": "s"}}, "retry": {"schedule": ["30s", "5s"]},
                "format_options": {"shape": "2.15"},
            }, {"id": "bi", "url": "https://bi.example/", "secrets": []}],
            "subscriptions": [{"id": "007", "endpoint_id": "crm", "channel_ids": ["9", "-"],
                "event_types": ["ticket.*", "*"], "start_on_transfer": false, "groups": false}],
            "sources": [{"id": "main", "dialect": "whazing", "channel_id": 7,
                "old_token": {"secret": "12e4", "until": "2026-11-22T08:00:00Z"}}],
            "keys": [],
        }]);
        assert_eq!(Json::from(read(text).unwrap().tenants()), sent);
    }

    #[test]
    fn files_are_merged_and_an_error_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("a.yaml", "tenants:\n- id: acme\n  endpoints:\n  - {id: one, url: x}\n");
        write("b.yml", "tenants:\n- id: other\n- id: acme\n  name: Acme\n  endpoints:\n  - id: two\n    url: x\n");
        write("no.txt", "nothing");
        let description = Description::read(&[folder.path().to_owned()], io::empty()).unwrap();
        let tenant = &description.tenants()[0];
        assert_eq!((&tenant["endpoints"][0]["id"], &tenant["endpoints"][1]["id"]), (&json!("one"), &json!("two")));
        assert_eq!(tenant["name"], "Acme");

        let path = |name: &str| folder.path().join(name).display().to_string();
        let line = |pointer| description.line(pointer, "is wrong");
        assert_eq!(line("/tenants/0/endpoints/0/url"), path("a.yaml") + ":4:20: tenants[0].endpoints[0].url: is wrong");
        assert_eq!(line("/tenants/0/endpoints/1/url"), path("b.yml") + ":7:10: tenants[1].endpoints[0].url: is wrong");
        assert_eq!(line("/tenants/0/name"), path("b.yml") + ":4:9: tenants[1].name: is wrong");
        assert_eq!(line("/tenants/7"), "tenants[7]: is wrong");
        assert_eq!((line(""), line("/prune")), ("is wrong".into(), "prune: is wrong".into()));
    }

    #[test]
    fn unreadable_values_are_reported_with_their_place() {
        let refused = |text| read(text).unwrap_err().to_string();
        assert!(refused("tenants: [").starts_with("-:"), "{}", refused("tenants: ["));
        let unknown = "tenants:\n- id: a\n  endpoints:\n  - {id: x, urll: y}\n  sources:\n  - {id: s}\n";
        assert_eq!(
            refused(unknown),
            "-:4:13: tenants[0].endpoints[0].urll: unknown key, did you mean url?\n\
             -:6:5: tenants[0].sources[0]: dialect is missing"
        );
        let missing = Description::read(&["/nowhere/at/all.yaml".into()], io::empty()).unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/at/all.yaml: "), "{missing}");
    }
}
