//! An item as a database keeps it: JSON that anybody may read, and apart from it, sealed, what nobody may.
//!
//! Knows no SQL: the databases have the same columns, and so does the snapshot on disk.

use std::collections::BTreeMap;

use schemas::{RetiringSecret, Secret, SigningSecret};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    Item, ItemChange, ItemKind, StoreError,
    seal::{Keyring, UnsealError},
    snapshot::StoredItem,
};

/// One row of the table `items`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemRow {
    pub(crate) tenant: String,
    pub(crate) kind: String,
    pub(crate) id: String,
    /// The revision that made it what it is.
    pub(crate) version: u64,
    /// Without secrets. None: the item is gone; the row stays, so that who was away hears of it.
    pub(crate) body: Option<String>,
    /// The secrets, if it has any.
    pub(crate) sealed: Option<Vec<u8>>,
}

/// Why a row could not be read. The places named hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    /// Its secrets could not be opened.
    #[error("the secrets of {place} cannot be read: {source}")]
    Sealed { place: String, source: UnsealError },
    /// A stranger or a newer version wrote it.
    #[error("{place} cannot be read: {reason}")]
    Strange { place: String, reason: String },
}

impl ItemRow {
    /// What is to be written of a change.
    ///
    /// # Errors
    /// When nothing can be sealed.
    pub(crate) fn of(change: &ItemChange, version: u64, keyring: &Keyring) -> Result<Self, StoreError> {
        let (tenant, kind, id) = (change.tenant.clone(), change.kind.name().to_owned(), change.id.clone());
        let mut row = Self { tenant, kind, id, version, body: None, sealed: None };
        if let Some(item) = &change.after {
            let (body, hidden) = split_secrets(item);
            row.body = Some(body.to_string());
            if !hidden.is_empty() {
                let plain = serde_json::to_vec(&hidden).map_err(|error| StoreError(error.to_string()))?;
                row.sealed = Some(keyring.seal(&row.place(), &plain)?);
            }
        }
        Ok(row)
    }

    /// Where its secrets are at home.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.kind, self.id)
    }

    /// The row as the first key seals it; none if that has sealed it already.
    ///
    /// # Errors
    /// What no key opens.
    pub(crate) fn resealed(mut self, keyring: &Keyring) -> Result<Option<Self>, StoreError> {
        let Some(sealed) = self.sealed.as_ref().filter(|sealed| !keyring.is_current(sealed)) else { return Ok(None) };
        let place = self.place();
        let plain = keyring.open(&place, sealed);
        let plain =
            plain.map_err(|source| StoreError(RowError::Sealed { place: place.clone(), source }.to_string()))?;
        self.sealed = Some(keyring.seal(&place, &plain)?);
        Ok(Some(self))
    }

    /// What the row says.
    ///
    /// # Errors
    /// Secrets that no key opens; a body that is none.
    pub(crate) fn read(self, keyring: &Keyring) -> Result<StoredItem, RowError> {
        let strange = |reason: String| RowError::Strange { place: self.place(), reason };
        let kind = ItemKind::named(&self.kind).ok_or_else(|| strange("there is no such kind".to_owned()))?;
        let hidden = match &self.sealed {
            Some(sealed) => {
                let opened = keyring.open(&self.place(), sealed);
                let plain = opened.map_err(|source| RowError::Sealed { place: self.place(), source })?;
                // What serde says could quote a secret.
                serde_json::from_slice(&plain).map_err(|_| strange("its secrets have another form".to_owned()))?
            }
            None => ItemSecrets::default(),
        };
        let item = self.body.as_deref().map(|body| join_secrets(kind, body, hidden));
        let item = item.transpose().map_err(|error| strange(error.to_string()))?;
        Ok(StoredItem { tenant: self.tenant, kind, id: self.id, version: self.version, item })
    }
}

/// What an item has that nobody may see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ItemSecrets {
    #[serde(skip_serializing_if = "Option::is_none")]
    n8n_api_key: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_token: Option<Value>,
}

impl ItemSecrets {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The item's JSON without its secrets, and these.
pub(crate) fn split_secrets(item: &Item) -> (Value, ItemSecrets) {
    let mut body = item.shown();
    let mut hidden = ItemSecrets::default();
    let reveal = |secret: &Secret| secret.reveal().to_owned();
    match item {
        Item::Endpoint(endpoint) => {
            hidden.n8n_api_key = endpoint.n8n_api_key.as_ref().map(reveal);
            hidden.secrets = endpoint.secrets.iter().map(SigningSecret::reveal).collect();
            for (name, text) in &endpoint.headers {
                if let schemas::HeaderText::Secret { secret } = text {
                    hidden.headers.insert(name.clone(), reveal(secret));
                    remove(&mut body["headers"], name);
                }
            }
            remove(&mut body, "n8n_api_key");
            remove(&mut body, "secrets");
        }
        Item::Source(source) => {
            hidden.n8n_api_key = source.n8n_api_key.as_ref().map(reveal);
            hidden.token = Some(reveal(&source.token));
            hidden.old_token = source.old_token.as_ref().map(RetiringSecret::reveal);
            remove(&mut body, "n8n_api_key");
            remove(&mut body, "token");
            remove(&mut body, "old_token");
        }
        Item::Tenant(_) | Item::Subscription(_) | Item::Key(_) => {}
    }
    (body, hidden)
}

fn remove(object: &mut Value, key: &str) {
    if let Value::Object(object) = object {
        object.shift_remove(key);
    }
}

/// The item of this JSON and these secrets.
pub(crate) fn join_secrets(kind: ItemKind, body: &str, hidden: ItemSecrets) -> serde_json::Result<Item> {
    if hidden.is_empty() {
        return Ok(match kind {
            ItemKind::Tenant => Item::Tenant(serde_json::from_str(body)?),
            ItemKind::Endpoint => Item::Endpoint(serde_json::from_str(body)?),
            ItemKind::Subscription => Item::Subscription(serde_json::from_str(body)?),
            ItemKind::Source => Item::Source(serde_json::from_str(body)?),
            ItemKind::Key => Item::Key(serde_json::from_str(body)?),
        });
    }
    let mut body: Map<String, Value> = serde_json::from_str(body)?;
    let ItemSecrets { n8n_api_key, secrets, headers, token, old_token } = hidden;
    let texts = [("n8n_api_key", n8n_api_key.map(Value::from)), ("token", token.map(Value::from))];
    let values = texts.into_iter().chain([("old_token", old_token)]);
    body.extend(values.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    if !secrets.is_empty() {
        body.insert("secrets".to_owned(), secrets.into());
    }
    for (name, secret) in headers {
        body.entry("headers").or_insert_with(|| json!({}))[name] = json!({"secret": secret});
    }
    join_secrets(kind, &Value::Object(body).to_string(), ItemSecrets::default())
}

#[cfg(test)]
mod tests;
