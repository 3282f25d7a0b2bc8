//! From the files' texts to valid tenants, or to a line for everything that is wrong with them. No I/O.

use schemas::Tenant;

use super::{
    document::YamlDocument,
    folder::SourceFile,
    merge::Merged,
    tenants::{self, SourceTokens},
};
use crate::{problem::InvalidField, validate};

/// Reads, merges and validates. Validation waits until everything was read, else it would miss what was not.
///
/// # Errors
/// All that cannot be read; else all that is invalid; a line each.
pub(super) fn load(files: Vec<SourceFile>) -> Result<Vec<Tenant>, Vec<String>> {
    let (documents, merged, mut problems) = merge(files, SourceTokens::Required)?;
    problems.extend(validate::tenants(&merged.tenants));
    let line = |problem: &InvalidField| line(problem, &merged, &documents);
    if !problems.is_empty() {
        return Err(problems.iter().map(line).collect());
    }
    Ok(merged.tenants)
}

/// Reads and merges.
///
/// # Errors
/// All that cannot be read, a line each.
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

/// All values, or the lines of all that failed.
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

/// A problem with the place where it stands, and of what else it concerns.
pub(super) fn line(problem: &InvalidField, merged: &Merged, documents: &[YamlDocument]) -> String {
    let (document, path, place) = merged.locate(&problem.path, documents);
    let mut line = format!("{}:{}:{}: {path}: {}", document.name, place.line, place.column, problem.message);
    if let Some(other) = &problem.other {
        let (document, _, place) = merged.locate(other, documents);
        line += &format!(" {}:{}:{}", document.name, place.line, place.column);
    }
    line
}
