//! Problems with a description, and where in it they are.

use std::collections::HashMap;

use service::problem::{Code, Problem};
use store::{FieldPath, ItemKind, PathSegment};

use crate::settings::list_name;

/// Collects what is wrong with a description, with pointers into it.
#[derive(Default)]
pub(super) struct ProblemCollector {
    within: String,
    problem: Option<Problem>,
}

impl ProblemCollector {
    /// Starts a part of the description. Pointers that are added from now on are relative to it.
    pub(super) fn enter(&mut self, pointer: String) {
        self.within = pointer;
    }

    /// Adds a mistake in the part.
    pub(super) fn add(&mut self, pointer: &str, message: &str) {
        self.add_as(Code::InvalidBody, pointer, message);
    }

    /// Adds all mistakes that a problem names, below a place in the part.
    pub(super) fn add_problem(&mut self, problem: &Problem, place: &str) {
        if problem.errors.is_empty() {
            let detail = problem.detail.clone().unwrap_or_else(|| problem.code.title().to_owned());
            self.add_as(problem.code, place, &detail);
        }
        for error in &problem.errors {
            self.add_as(problem.code, &format!("{place}{}", error.pointer), &error.message);
        }
    }

    /// The first mistake decides the code of the whole problem.
    fn add_as(&mut self, code: Code, pointer: &str, message: &str) {
        let problem = self.problem.take().unwrap_or_else(|| Problem::new(code));
        self.problem = Some(problem.error(format!("{}{pointer}", self.within), message));
    }

    /// # Errors
    /// When a mistake was added: all of them.
    pub(super) fn finish(self) -> Result<(), Problem> {
        self.problem.map_or(Ok(()), Err)
    }
}

/// Where in the description the items of a tenant are, by their places in the tenant's lists. None for an item that the
/// description does not have.
#[derive(Default)]
pub(super) struct Positions(HashMap<&'static str, Vec<Option<usize>>>);

impl Positions {
    pub(super) fn set(&mut self, kind: ItemKind, positions: Vec<Option<usize>>) {
        self.0.insert(list_name(kind), positions);
    }

    /// Pointer from the tenant to an item; to the tenant itself when the item is not described.
    pub(super) fn pointer(&self, kind: ItemKind, at: usize) -> String {
        let list = list_name(kind);
        self.at(list, at).map_or(String::new(), |index| format!("/{list}/{index}"))
    }

    fn at(&self, list: &str, at: usize) -> Option<usize> {
        self.0.get(list)?.get(at).copied().flatten()
    }
}

/// Translates a path through the tenants, as they would be, to a pointer into the description. None for an item that was
/// there before and is not described.
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
