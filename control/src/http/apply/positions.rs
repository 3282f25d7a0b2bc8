//! Collects problems with a description, and finds their places in it.

use std::collections::HashMap;

use service::problem::{Code, Problem};
use store::{FieldPath, ItemKind, PathSegment};

use crate::settings::list_name;

#[derive(Default)]
pub(super) struct ProblemCollector {
    within: String,
    problem: Option<Problem>,
}

impl ProblemCollector {
    /// Enters a part of the description. Pointers that are added from now on are relative to it.
    pub(super) fn enter(&mut self, pointer: String) {
        self.within = pointer;
    }

    pub(super) fn add(&mut self, pointer: &str, message: &str) {
        self.add_as(Code::InvalidBody, pointer, message);
    }

    /// Adds all mistakes of a problem, below a place in the current part.
    pub(super) fn add_problem(&mut self, problem: &Problem, place: &str) {
        if problem.errors.is_empty() {
            let detail = problem.detail.clone().unwrap_or_else(|| problem.code.title().to_owned());
            self.add_as(problem.code, place, &detail);
        }
        for error in &problem.errors {
            self.add_as(problem.code, &format!("{place}{}", error.pointer), &error.message);
        }
    }

    /// Adds a mistake. The first one decides the code of the whole problem.
    fn add_as(&mut self, code: Code, pointer: &str, message: &str) {
        let problem = self.problem.take().unwrap_or_else(|| Problem::new(code));
        self.problem = Some(problem.error(format!("{}{pointer}", self.within), message));
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        self.problem.map_or(Ok(()), Err)
    }
}

/// Positions of a tenant's items in the description, by their indexes in the tenant's lists. None for an item that the
/// description does not have.
#[derive(Default)]
pub(super) struct Positions(HashMap<&'static str, Vec<Option<usize>>>);

impl Positions {
    pub(super) fn set(&mut self, kind: ItemKind, positions: Vec<Option<usize>>) {
        self.0.insert(list_name(kind), positions);
    }

    /// Returns the pointer from the tenant to an item, or to the tenant itself when the item is not described.
    pub(super) fn pointer(&self, kind: ItemKind, at: usize) -> String {
        let list = list_name(kind);
        self.at(list, at).map_or(String::new(), |index| format!("/{list}/{index}"))
    }

    fn at(&self, list: &str, at: usize) -> Option<usize> {
        self.0.get(list)?.get(at).copied().flatten()
    }
}

/// Translates a path through the resulting tenants to a pointer into the description. Returns none for an item that
/// existed before and is not described.
pub(super) fn pointer_of<'a>(
    FieldPath(steps): &FieldPath,
    positions: impl Fn(usize) -> Option<&'a Positions>,
) -> Option<String> {
    let mut steps = steps.clone();
    if let [_, PathSegment::Index(tenant), PathSegment::Key(list), PathSegment::Index(at), ..] = steps.as_slice() {
        steps[3] = PathSegment::Index(positions(*tenant)?.at(list, *at)?);
    }
    Some(FieldPath(steps).pointer())
}
