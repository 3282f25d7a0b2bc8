//! What a change of the configuration means: pure decisions on values, without HTTP and without a store.

mod address;
mod fan_out;
mod make;
mod merge;
mod quota;
mod reveal;
mod rules;

pub(crate) use address::normal_url;
pub(crate) use make::{Made, Maker};
pub(crate) use merge::{Field, NotRemovable, Object, patched, replaced};
pub(crate) use quota::{allowed, reached};
pub(crate) use reveal::{Reveal, reveal};
pub use rules::Rules;
pub(crate) use rules::{Focus, check, check_limits, list_name};
