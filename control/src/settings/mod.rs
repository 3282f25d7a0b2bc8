//! Decides what a change of the configuration means: pure functions on values, without HTTP and without a store.

mod address;
mod fan_out;
mod generator;
mod merge;
mod quota;
mod rules;

pub(crate) use address::normal_url;
pub(crate) use generator::Generator;
pub(crate) use merge::{KeptField, NotRemovable, Object, patched, replaced, unknown_null};
pub(crate) use quota::{allowed, reached};
pub use rules::Rules;
pub(crate) use rules::{LISTS, ProblemScope, check, check_limits, list_name};
