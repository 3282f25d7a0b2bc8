//! Decodes the tenants of one document item by item, so that every broken item is reported at once.

use schemas::Tenant;
use serde::de::{Deserialize, DeserializeOwned};

use super::{
    decode::YamlDeserializer,
    document::{YamlDocument, YamlNode, YamlValue},
};
use crate::{decode_error::DecodeError, invalid_field::PathSegment};

/// Keys of a tenant's lists.
pub(super) const LISTS: [&str; 4] = ["endpoints", "subscriptions", "sources", "keys"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceTokens {
    Required,
    /// A source without a token gets an empty one. The process that receives it keeps the old token or generates one.
    Optional,
}

impl SourceTokens {
    fn assumed(self, list: &str) -> &'static [(&'static str, &'static str)] {
        if self == Self::Optional && list == "sources" { &[("token", "")] } else { &[] }
    }
}

/// Decodes the tenants of a document in its order.
///
/// # Errors
/// One line when the text is not YAML, or else for every item that could not be decoded.
pub(super) fn read(document: &YamlDocument, demand: SourceTokens) -> Result<Vec<Tenant>, Vec<String>> {
    let root = document.parse().map_err(|line| vec![line])?;
    let mut reader = DocumentReader { source: &document.source, demand, faults: Vec::new() };
    let tenants = reader.root(&root);
    if reader.faults.is_empty() {
        return Ok(tenants);
    }
    Err(reader.faults.iter().map(|fault| line(&document.name, fault)).collect())
}

fn line(name: &str, fault: &DecodeError) -> String {
    let place = fault.position.unwrap_or_default();
    let path = fault.path().to_string();
    let colon = if path.is_empty() { "" } else { ": " };
    format!("{name}:{}:{}: {path}{colon}{}", place.line, place.column, fault.message)
}

struct DocumentReader<'a> {
    source: &'a str,
    demand: SourceTokens,
    faults: Vec<DecodeError>,
}

impl<'a> DocumentReader<'a> {
    fn root(&mut self, root: &'a YamlNode) -> Vec<Tenant> {
        let entries = match &root.value {
            YamlValue::Null => return Vec::new(),
            YamlValue::Map(entries) => entries,
            _ => {
                self.faults.push(DecodeError::new("expected the key tenants").at(root.place));
                return Vec::new();
            }
        };
        let mut tenants = Vec::new();
        for entry in entries {
            let key = PathSegment::Key(entry.key.clone().into());
            if entry.key == "tenants" {
                tenants = self.items(&entry.node, &[key], Self::tenant);
            } else {
                self.faults.push(DecodeError::unknown_key(&entry.key, &["tenants"]).at(entry.key_place).under(key));
            }
        }
        tenants
    }

    /// Decodes each item of a list. A key without a value is an empty list, because its items may be commented out.
    fn items<T>(
        &mut self,
        node: &'a YamlNode,
        path: &[PathSegment],
        read: impl Fn(&mut Self, &'a YamlNode, &[PathSegment]) -> Option<T>,
    ) -> Vec<T> {
        match &node.value {
            YamlValue::Null => Vec::new(),
            YamlValue::List(nodes) => {
                let at = |index| [path, &[PathSegment::Index(index)]].concat();
                nodes.iter().enumerate().filter_map(|(index, node)| read(self, node, &at(index))).collect()
            }
            _ => {
                self.report(DecodeError::new("expected a list").at(node.place), path);
                Vec::new()
            }
        }
    }

    fn tenant(&mut self, node: &'a YamlNode, path: &[PathSegment]) -> Option<Tenant> {
        let head = YamlDeserializer { hidden: &LISTS, ..YamlDeserializer::of(node, self.source) };
        let head = Tenant::deserialize(head).map_err(|fault| self.report(fault, path));
        let [endpoints, subscriptions, sources, keys] = LISTS;
        let endpoints = self.list(node, endpoints, path);
        let subscriptions = self.list(node, subscriptions, path);
        let sources = self.list(node, sources, path);
        let keys = self.list(node, keys, path);
        head.ok().map(|head| Tenant { endpoints, subscriptions, sources, keys, ..head })
    }

    fn list<T: DeserializeOwned>(&mut self, node: &'a YamlNode, key: &'static str, path: &[PathSegment]) -> Vec<T> {
        let step = PathSegment::Key(key.into());
        let Some(list) = node.child(&step) else { return Vec::new() };
        let assumed = self.demand.assumed(key);
        self.items(list, &[path, &[step]].concat(), |reader, node, path| {
            T::deserialize(YamlDeserializer { assumed, ..YamlDeserializer::of(node, reader.source) })
                .map_err(|fault| reader.report(fault, path))
                .ok()
        })
    }

    fn report(&mut self, fault: DecodeError, path: &[PathSegment]) {
        self.faults.push(path.iter().rev().fold(fault, |fault, step| fault.under(step.clone())));
    }
}
