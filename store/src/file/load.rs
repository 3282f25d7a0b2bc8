//! From the files' texts to valid tenants, or to a line for everything that is wrong with them. No I/O.

use schemas::Tenant;

use super::{
    document::Document,
    folder::File,
    merge::Merged,
    tenants::{self, Demand},
};
use crate::{problem::Problem, validate};

/// What the files say.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// In the order of the files.
    pub(super) tenants: Vec<Tenant>,
    /// What is set but has no effect, a line each.
    pub(super) warnings: Vec<String>,
}

/// Reads, merges and validates. Validation waits until everything was read, else it would miss what was not.
///
/// # Errors
/// All that cannot be read; else all that is invalid; a line each.
pub(super) fn load(files: Vec<File>) -> Result<Loaded, Vec<String>> {
    let (documents, merged, mut problems) = merge(files, Demand::Whole)?;
    problems.extend(validate::tenants(&merged.tenants));
    let line = |problem: &Problem| line(problem, &merged, &documents);
    if !problems.is_empty() {
        return Err(problems.iter().map(line).collect());
    }
    let warnings = validate::not_in_force(&merged.tenants).iter().map(line).collect();
    Ok(Loaded { warnings, tenants: merged.tenants })
}

/// Reads and merges.
///
/// # Errors
/// All that cannot be read, a line each.
pub(super) fn merge(files: Vec<File>, demand: Demand) -> Result<(Vec<Document>, Merged, Vec<Problem>), Vec<String>> {
    let read = all(files.into_iter().map(|file| read(file, demand)))?;
    let (documents, tenants): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    let (merged, problems) = Merged::of(tenants);
    Ok((documents, merged, problems))
}

fn read(file: File, demand: Demand) -> Result<(Document, Vec<Tenant>), Vec<String>> {
    let document = Document::new(file.name, file.text.map_err(|line| vec![line])?);
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
pub(super) fn line(problem: &Problem, merged: &Merged, documents: &[Document]) -> String {
    let (document, path, place) = merged.locate(&problem.path, documents);
    let mut line = format!("{}:{}:{}: {path}: {}", document.name, place.line, place.column, problem.message);
    if let Some(other) = &problem.other {
        let (document, _, place) = merged.locate(other, documents);
        line += &format!(" {}:{}:{}", document.name, place.line, place.column);
    }
    line
}
