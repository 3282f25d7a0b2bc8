//! An item as a database keeps it: readable JSON and, separately, its sealed secrets.
//!
//! Nothing here depends on SQL: all databases have the same columns, and so has the snapshot on disk.

use schemas::{SecretFields, SecretForm};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    Item, ItemChange, ItemKind, ItemVersion, StoreError,
    seal::{Keyring, UnsealError},
    snapshot::StoredItem,
};

/// One row of the table `items`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemRow {
    pub(crate) tenant: String,
    pub(crate) kind: String,
    pub(crate) id: String,
    /// Revision of the last change.
    pub(crate) version: u64,
    /// Revision that created the item.
    pub(crate) created: u64,
    /// JSON without secrets. None when the item is removed: the row stays until other processes have read the removal.
    pub(crate) body: Option<String>,
    pub(crate) sealed: Option<Vec<u8>>,
}

/// Why a row could not be read. The texts contain no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    #[error("the secrets of {place} cannot be read: {source}")]
    Sealed { place: String, source: UnsealError },
    /// Another program or a newer version wrote the row.
    #[error("{place} cannot be read: {reason}")]
    Strange { place: String, reason: String },
}

impl ItemRow {
    /// Makes the row that a change writes.
    ///
    /// # Errors
    /// The system gives no randomness to seal secrets with.
    pub(crate) fn of(change: &ItemChange, version: u64, keyring: &Keyring) -> Result<Self, StoreError> {
        let (tenant, kind, id) = (change.tenant.clone(), change.kind.name().to_owned(), change.id.clone());
        let created = change.created.unwrap_or(version);
        let mut row = Self { tenant, kind, id, version, created, body: None, sealed: None };
        if let Some(item) = &change.after {
            let (body, secrets) = split_secrets(item);
            row.body = Some(body.to_string());
            if !secrets.is_empty() {
                let plain = serde_json::to_vec(&secrets).map_err(|error| StoreError(error.to_string()))?;
                row.sealed = Some(keyring.seal(&row.place(), &plain)?);
            }
        }
        Ok(row)
    }

    /// Returns the place for which the row's secrets are sealed.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.kind, self.id)
    }

    /// Seals the row with the first key. Returns none if that key has sealed it already.
    ///
    /// # Errors
    /// No key opens the row's secrets.
    pub(crate) fn resealed(mut self, keyring: &Keyring) -> Result<Option<Self>, StoreError> {
        let Some(sealed) = self.sealed.as_ref().filter(|sealed| !keyring.is_current(sealed)) else { return Ok(None) };
        let place = self.place();
        let plain = keyring.open(&place, sealed);
        let plain =
            plain.map_err(|source| StoreError(RowError::Sealed { place: place.clone(), source }.to_string()))?;
        self.sealed = Some(keyring.seal(&place, &plain)?);
        Ok(Some(self))
    }

    /// Reads the row as an item.
    ///
    /// # Errors
    /// No key opens the row's secrets, or its body is not such an item.
    pub(crate) fn read(self, keyring: &Keyring) -> Result<StoredItem, RowError> {
        let strange = |reason: String| RowError::Strange { place: self.place(), reason };
        let kind = ItemKind::named(&self.kind).ok_or_else(|| strange("there is no such kind".to_owned()))?;
        let secrets = match &self.sealed {
            Some(sealed) => {
                let opened = keyring.open(&self.place(), sealed);
                let plain = opened.map_err(|source| RowError::Sealed { place: self.place(), source })?;
                // serde's own message could quote a secret.
                serde_json::from_slice(&plain).map_err(|_| strange("its secrets have another form".to_owned()))?
            }
            None => ItemSecrets::default(),
        };
        let item = self.body.as_deref().map(|body| join_secrets(kind, body, secrets));
        let item = item.transpose().map_err(|error| strange(error.to_string()))?;
        let version = ItemVersion { changed: self.version, created: self.created };
        Ok(StoredItem { tenant: self.tenant, kind, id: self.id, version, item })
    }
}

/// The secrets of one item, by the names of their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ItemSecrets(Map<String, Value>);

impl ItemSecrets {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Splits an item into JSON without its secrets, and the secrets.
pub(crate) fn split_secrets(item: &Item) -> (Value, ItemSecrets) {
    match item {
        Item::Tenant(_) => (item.shown(), ItemSecrets::default()),
        Item::Endpoint(endpoint) => split_resource(&**endpoint),
        Item::Subscription(subscription) => split_resource(&**subscription),
        Item::Source(source) => split_resource(&**source),
        Item::Key(key) => split_resource(&**key),
    }
}

fn split_resource<T: SecretFields + Serialize>(resource: &T) -> (Value, ItemSecrets) {
    let mut body = serde_json::to_value(resource).unwrap_or_default();
    let mut secrets = Map::new();
    for field in T::SECRET_FIELDS {
        match field.form {
            // A hash is stored as it is shown.
            SecretForm::Hash => {}
            // Headers that are not secret stay in the body. The names and texts of the others are sealed.
            SecretForm::Headers(read) => {
                let secret = read(resource).iter().filter_map(|(name, text)| Some((name, text.secret()?)));
                let sealed: Map<_, _> = secret.map(|(name, secret)| (name.clone(), secret.reveal().into())).collect();
                sealed.keys().for_each(|name| remove(&mut body[field.name], name));
                if !sealed.is_empty() {
                    secrets.insert(field.name.to_owned(), Value::Object(sealed));
                }
            }
            SecretForm::HeaderValue(_)
            | SecretForm::UrlSegment(_)
            | SecretForm::RetiringUrlSegment(_)
            | SecretForm::Signing(_) => {
                remove(&mut body, field.name);
                let value = field.reveal(resource).filter(|value| value.as_array().is_none_or(|all| !all.is_empty()));
                secrets.extend(value.map(|value| (field.name.to_owned(), value)));
            }
        }
    }
    (body, ItemSecrets(secrets))
}

fn remove(object: &mut Value, key: &str) {
    if let Value::Object(object) = object {
        object.shift_remove(key);
    }
}

pub(crate) fn join_secrets(kind: ItemKind, body: &str, secrets: ItemSecrets) -> serde_json::Result<Item> {
    Ok(match kind {
        ItemKind::Tenant => Item::Tenant(serde_json::from_str(body)?),
        ItemKind::Endpoint => Item::Endpoint(join_resource(body, secrets)?),
        ItemKind::Subscription => Item::Subscription(join_resource(body, secrets)?),
        ItemKind::Source => Item::Source(join_resource(body, secrets)?),
        ItemKind::Key => Item::Key(join_resource(body, secrets)?),
    })
}

fn join_resource<T: SecretFields + DeserializeOwned>(
    body: &str,
    ItemSecrets(mut secrets): ItemSecrets,
) -> serde_json::Result<Box<T>> {
    if secrets.is_empty() {
        return serde_json::from_str(body).map(Box::new);
    }
    let mut body: Map<String, Value> = serde_json::from_str(body)?;
    for field in T::SECRET_FIELDS {
        match (secrets.remove(field.name), &field.form) {
            (None, _) => {}
            (Some(Value::Object(texts)), SecretForm::Headers(_)) => {
                let headers = body.entry(field.name).or_insert_with(|| json!({}));
                for (name, text) in texts {
                    headers[name] = json!({"secret": text});
                }
            }
            (Some(value), _) => _ = body.insert(field.name.to_owned(), value),
        }
    }
    serde_json::from_str(&Value::Object(body).to_string()).map(Box::new)
}

#[cfg(test)]
mod tests;
