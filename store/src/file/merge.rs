//! Merges several documents to one configuration, and finds the document that a merged item came from. No I/O.

use std::collections::HashMap;

use schemas::Tenant;

use super::{
    document::YamlDocument,
    folder::SourceFile,
    tenants::{self, LISTS, SourceTokens},
};
use crate::{
    decode_error::Position,
    invalid_field::{FieldPath, InvalidField, PathSegment},
    validate,
};

/// Reads, merges and validates. Files that cannot be read stop it before validation, to which their items would seem to
/// be missing.
///
/// # Errors
/// One line for everything that cannot be read, or else for everything that is invalid.
pub(super) fn load(files: Vec<SourceFile>) -> Result<Vec<Tenant>, Vec<String>> {
    let (documents, merged, mut problems) = merge(files, SourceTokens::Required)?;
    problems.extend(validate::tenants(&merged.tenants));
    let line = |problem: &InvalidField| line(problem, &merged, &documents);
    if !problems.is_empty() {
        return Err(problems.iter().map(line).collect());
    }
    Ok(merged.tenants)
}

pub(super) fn merge(
    files: Vec<SourceFile>,
    demand: SourceTokens,
) -> Result<(Vec<YamlDocument>, Merged, Vec<InvalidField>), Vec<String>> {
    let read = all(files.into_iter().map(|file| read(file, demand)))?;
    let (documents, tenants): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    let (merged, problems) = Merged::of(tenants);
    Ok((documents, merged, problems))
}

fn read(file: SourceFile, demand: SourceTokens) -> Result<(YamlDocument, Vec<Tenant>), Vec<String>> {
    let document = YamlDocument::new(file.name, file.text.map_err(|line| vec![line])?);
    let tenants = tenants::read(&document, demand)?;
    Ok((document, tenants))
}

/// Returns all values, or the lines of all results that failed.
fn all<T>(results: impl Iterator<Item = Result<T, Vec<String>>>) -> Result<Vec<T>, Vec<String>> {
    let mut values = Vec::new();
    let mut lines = Vec::new();
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(more) => lines.extend(more),
        }
    }
    if lines.is_empty() { Ok(values) } else { Err(lines) }
}

/// Returns one line about an invalid field, with its position and that of the other field that it concerns.
pub(super) fn line(problem: &InvalidField, merged: &Merged, documents: &[YamlDocument]) -> String {
    let (document, path, place) = merged.locate(&problem.path, documents);
    let mut line = format!("{}:{}:{}: {path}: {}", document.name, place.line, place.column, problem.message);
    if let Some(other) = &problem.other {
        let (document, _, place) = merged.locate(other, documents);
        line += &format!(" {}:{}:{}", document.name, place.line, place.column);
    }
    line
}

/// The tenants of all documents. A tenant that several files describe appears once.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) tenants: Vec<Tenant>,
    origins: Vec<TenantOrigin>,
}

/// The description of a tenant in one file.
#[derive(Clone, Copy, Debug)]
struct TenantPart {
    document: usize,
    /// Index in the document's `tenants`.
    index: usize,
}

/// The files that describe a merged tenant.
#[derive(Debug, Default)]
struct TenantOrigin {
    parts: Vec<TenantPart>,
    /// Number of items from each part, in the order of the parts, for each of `LISTS`.
    counts: [Vec<usize>; 4],
}

impl Merged {
    pub(super) fn of(documents: Vec<Vec<Tenant>>) -> (Self, Vec<InvalidField>) {
        let mut merged = Self::default();
        let mut problems = Vec::new();
        let mut known = HashMap::<String, usize>::new();
        for (document, tenants) in documents.into_iter().enumerate() {
            for (index, tenant) in tenants.into_iter().enumerate() {
                let part = TenantPart { document, index };
                match known.get(&tenant.id).copied().filter(|&at| !merged.is_of(at, document)) {
                    Some(at) => merged.add_to(at, tenant, part, &mut problems),
                    None => {
                        // A second description in the same file is not merged, so that validation refuses it and names
                        // both.
                        known.insert(tenant.id.clone(), merged.tenants.len());
                        merged.push(tenant, part);
                    }
                }
            }
        }
        (merged, problems)
    }

    fn is_of(&self, at: usize, document: usize) -> bool {
        self.origins[at].parts.iter().any(|part| part.document == document)
    }

    fn push(&mut self, tenant: Tenant, part: TenantPart) {
        let mut origin = TenantOrigin::default();
        origin.add(&tenant, part);
        self.origins.push(origin);
        self.tenants.push(tenant);
    }

    fn add_to(&mut self, at: usize, tenant: Tenant, part: TenantPart, problems: &mut Vec<InvalidField>) {
        self.origins[at].add(&tenant, part);
        let whole = &mut self.tenants[at];
        let mut differs = |key: &'static str| {
            let path = FieldPath(vec![
                PathSegment::Key("tenants".into()),
                PathSegment::Index(at),
                PathSegment::Key(key.into()),
            ]);
            let message = format!("the files that describe tenant {} do not agree", tenant.id);
            problems.push(InvalidField { path, message, other: None });
        };
        if tenant.name.is_some() && whole.name.is_some() && tenant.name != whole.name {
            differs("name");
        }
        if tenant.quota.is_some() && whole.quota.is_some() && tenant.quota != whole.quota {
            differs("quota");
        }
        if tenant.retention.is_some() && whole.retention.is_some() && tenant.retention != whole.retention {
            differs("retention");
        }
        whole.name = whole.name.take().or(tenant.name);
        whole.quota = whole.quota.or(tenant.quota);
        whole.retention = whole.retention.or(tenant.retention);
        whole.endpoints.extend(tenant.endpoints);
        whole.subscriptions.extend(tenant.subscriptions);
        whole.sources.extend(tenant.sources);
        whole.keys.extend(tenant.keys);
    }

    /// Returns the parts of a merged tenant: the document of each, and the index in its `tenants`.
    pub(super) fn parts(&self, tenant: usize) -> impl Iterator<Item = (usize, usize)> {
        self.origins[tenant].parts.iter().map(|part| (part.document, part.index))
    }

    /// Returns the document that a path in the merged tenants comes from, with the path and position there.
    pub(super) fn locate<'a>(
        &self,
        path: &FieldPath,
        documents: &'a [YamlDocument],
    ) -> (&'a YamlDocument, FieldPath, Position) {
        let [PathSegment::Key(_), PathSegment::Index(tenant), rest @ ..] = path.0.as_slice() else {
            return (&documents[0], path.clone(), Position::default());
        };
        let origin = &self.origins[*tenant];
        let (part, rest) = match rest {
            [PathSegment::Key(list), PathSegment::Index(index), rest @ ..] if LISTS.contains(&list.as_ref()) => {
                let (part, index) = origin.item(list, *index);
                (part, [&[PathSegment::Key(list.clone()), PathSegment::Index(index)], rest].concat())
            }
            rest => (origin.having(rest, documents), rest.to_vec()),
        };
        let mut steps = vec![PathSegment::Key("tenants".into()), PathSegment::Index(part.index)];
        steps.extend(rest);
        let (document, path) = (&documents[part.document], FieldPath(steps));
        let place = document.position_of(&path);
        (document, path, place)
    }
}

impl TenantOrigin {
    fn add(&mut self, tenant: &Tenant, part: TenantPart) {
        self.parts.push(part);
        let Tenant { endpoints, subscriptions, sources, keys, .. } = tenant;
        let lengths = [endpoints.len(), subscriptions.len(), sources.len(), keys.len()];
        for (counts, length) in self.counts.iter_mut().zip(lengths) {
            counts.push(length);
        }
    }

    /// Returns the part that an item of a list comes from, and the item's index there.
    fn item(&self, list: &str, mut index: usize) -> (TenantPart, usize) {
        let counts =
            LISTS.iter().zip(&self.counts).find(|(name, _)| **name == list).map_or(&[][..], |(_, counts)| counts);
        for (part, count) in self.parts.iter().zip(counts) {
            if index < *count {
                return (*part, index);
            }
            index -= count;
        }
        (self.parts[0], index)
    }

    /// Returns the last part that has a key. When parts disagree, the later one is reported.
    fn having(&self, rest: &[PathSegment], documents: &[YamlDocument]) -> TenantPart {
        let has = |part: &&TenantPart| {
            let tenant = [PathSegment::Key("tenants".into()), PathSegment::Index(part.index)];
            documents[part.document].node(&[&tenant, &rest[..rest.len().min(1)]].concat()).is_some()
        };
        *self.parts.iter().rfind(has).unwrap_or(&self.parts[0])
    }
}
