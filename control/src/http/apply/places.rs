//! Where in a description something stands, and what is wrong there.

use std::collections::HashMap;

use service::problem::{Code, Problem};
use store::{FieldPath, ItemKind, PathSegment};

use crate::settings::list_name;

/// What is wrong, with pointers into the description.
#[derive(Default)]
pub(super) struct Complaints {
    within: String,
    problem: Option<Problem>,
}

impl Complaints {
    /// From now on it is about this part.
    pub(super) fn enter(&mut self, pointer: String) {
        self.within = pointer;
    }

    /// Something is wrong below the part.
    pub(super) fn say(&mut self, pointer: &str, message: &str) {
        self.add(Code::InvalidBody, pointer, message);
    }

    /// All that is wrong below a place of the part.
    pub(super) fn take(&mut self, problem: &Problem, place: &str) {
        if problem.errors.is_empty() {
            let detail = problem.detail.clone().unwrap_or_else(|| problem.code.title().to_owned());
            self.add(problem.code, place, &detail);
        }
        for error in &problem.errors {
            self.add(problem.code, &format!("{place}{}", error.pointer), &error.message);
        }
    }

    /// The first that was found says what sort of problem it is.
    fn add(&mut self, code: Code, pointer: &str, message: &str) {
        let problem = self.problem.take().unwrap_or_else(|| Problem::new(code));
        self.problem = Some(problem.error(format!("{}{pointer}", self.within), message));
    }

    /// # Errors
    /// All of them, if there are any.
    pub(super) fn done(self) -> Result<(), Problem> {
        self.problem.map_or(Ok(()), Err)
    }
}

/// Where in the description the items of a tenant stand, by their places in its lists; none where they are not in it.
#[derive(Default)]
pub(super) struct Places(HashMap<&'static str, Vec<Option<usize>>>);

impl Places {
    pub(super) fn note(&mut self, kind: ItemKind, places: Vec<Option<usize>>) {
        self.0.insert(list_name(kind), places);
    }

    /// From the tenant to an item; to the tenant where the item is not described.
    pub(super) fn pointer(&self, kind: ItemKind, at: usize) -> String {
        let list = list_name(kind);
        self.at(list, at).map_or(String::new(), |index| format!("/{list}/{index}"))
    }

    fn at(&self, list: &str, at: usize) -> Option<usize> {
        self.0.get(list)?.get(at).copied().flatten()
    }
}

/// The pointer into the description of a path through the tenants as they would be; none of what was there before and is
/// not described.
pub(super) fn place<'a>(FieldPath(steps): &FieldPath, places: impl Fn(usize) -> Option<&'a Places>) -> Option<String> {
    let mut steps = steps.clone();
    if let [_, PathSegment::Index(tenant), PathSegment::Key(list), PathSegment::Index(at), ..] = steps.as_slice() {
        steps[3] = PathSegment::Index(places(*tenant)?.at(list, *at)?);
    }
    Some(FieldPath(steps).pointer())
}
