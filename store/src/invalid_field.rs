//! An invalid field of a configuration: its path, and a sentence that says what is wrong.
//!
//! Nothing here knows files or HTTP: the reader of a configuration turns a path into a line, or into a JSON pointer.

use std::{borrow::Cow, fmt};

use schemas::pointer;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSegment {
    Key(Cow<'static, str>),
    Index(usize),
}

/// Path of a value in a configuration, such as `endpoints[2].url`. The empty path is the whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(pub Vec<PathSegment>);

impl FieldPath {
    /// Returns the path as a JSON pointer (RFC 6901), such as `/endpoints/2/url`.
    pub fn pointer(&self) -> String {
        self.0.iter().fold(String::new(), |pointer, step| match step {
            PathSegment::Key(key) => pointer + &pointer::to_member(key),
            PathSegment::Index(index) => format!("{pointer}/{index}"),
        })
    }

    /// Reads a JSON pointer (RFC 6901). A number is taken for an index of a list.
    pub fn of_pointer(pointer: &str) -> Self {
        let segment = |token: String| match token.parse() {
            Ok(index) => PathSegment::Index(index),
            Err(_) => PathSegment::Key(token.into()),
        };
        Self(pointer::tokens(pointer).map(segment).collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                PathSegment::Key(key) if at == 0 => f.write_str(key)?,
                PathSegment::Key(key) => write!(f, ".{key}")?,
                PathSegment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// An error in one field. The message repeats no value that could be a secret or a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    pub path: FieldPath,
    /// What is wrong and, where it helps, what to write instead.
    pub message: String,
    /// Another field that the message is about, such as the first use of an id. Its name follows the message.
    pub other: Option<FieldPath>,
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        self.other.as_ref().map_or(Ok(()), |other| write!(f, " {other}"))
    }
}

/// Collects invalid fields while a check walks down a configuration.
#[derive(Debug, Default)]
pub(crate) struct ValidationReport {
    path: FieldPath,
    problems: Vec<InvalidField>,
}

impl ValidationReport {
    pub(crate) fn key(&mut self, key: impl Into<Cow<'static, str>>, check: impl FnOnce(&mut Self)) {
        self.step(PathSegment::Key(key.into()), check);
    }

    pub(crate) fn list<T>(&mut self, key: &'static str, items: &[T], check: impl Fn(&T, &mut Self)) {
        self.key(key, |report| {
            for (index, item) in items.iter().enumerate() {
                report.step(PathSegment::Index(index), |report| check(item, report));
            }
        });
    }

    fn step(&mut self, step: PathSegment, check: impl FnOnce(&mut Self)) {
        self.path.0.push(step);
        check(self);
        self.path.0.pop();
    }

    /// Adds the field that is being checked.
    pub(crate) fn add(&mut self, message: impl Into<String>) {
        self.problems.push(InvalidField { path: self.path.clone(), message: message.into(), other: None });
    }

    /// Adds the field at `path`, counted from the root. The message is also about `other`.
    pub(crate) fn add_at(&mut self, path: FieldPath, message: impl Into<String>, other: FieldPath) {
        self.problems.push(InvalidField { path, message: message.into(), other: Some(other) });
    }

    pub(crate) fn path(&self) -> &FieldPath {
        &self.path
    }

    pub(crate) fn done(self) -> Vec<InvalidField> {
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_people_write_it_and_as_a_json_pointer() {
        let path = FieldPath(vec![
            PathSegment::Key("endpoints".into()),
            PathSegment::Index(2),
            PathSegment::Key("headers".into()),
            PathSegment::Key("a/b~".into()),
        ]);
        assert_eq!(path.to_string(), "endpoints[2].headers.a/b~");
        assert_eq!(path.pointer(), "/endpoints/2/headers/a~1b~0");
        assert_eq!(FieldPath::default().pointer(), "");
        assert_eq!(FieldPath::of_pointer(&path.pointer()), path);
        assert_eq!(FieldPath::of_pointer(""), FieldPath::default());
    }
}
