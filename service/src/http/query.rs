//! The query of a request.

use schemas::Strictness;
use url::form_urlencoded;

use crate::{
    problem::{Code, Problem},
    suggest::suggestion,
};

/// Parses the parameters of a query. Refuses those that are not in `known`.
pub fn parameters(query: &str, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => {
            let detail = format!("unknown parameter, {}", suggestion(name, known));
            Err(Problem::new(Code::InvalidParameter).detail(detail))
        }
        None => Ok(pairs),
    }
}

/// Reads the parameter `strict` of a query and passes over all others.
pub fn strictness(query: &str) -> Result<Strictness, Problem> {
    let strict = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "strict");
    match strict.as_ref().map(|(_, value)| &**value) {
        None | Some("false") => Ok(Strictness::Lenient),
        Some("true") => Ok(Strictness::Strict),
        Some(_) => Err(Problem::new(Code::InvalidParameter).detail("strict: expected true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_parameter_is_refused_with_a_suggestion() {
        assert_eq!(parameters("strict=true", &["strict"]).unwrap(), [("strict".to_owned(), "true".to_owned())]);
        assert_eq!(parameters("", &[]).unwrap(), []);
        let refused = parameters("strcit=true", &["strict"]).unwrap_err();
        assert_eq!(refused.detail.as_deref(), Some("unknown parameter, did you mean strict?"));
    }

    #[test]
    fn strict_is_true_or_false_and_other_parameters_are_passed_over() {
        assert_eq!(strictness("a=b&strict=true"), Ok(Strictness::Strict));
        for lenient in ["", "a=strict", "strict=false"] {
            assert_eq!(strictness(lenient), Ok(Strictness::Lenient), "{lenient}");
        }
        for wrong in ["strict", "strict=1", "strict=TRUE"] {
            assert_eq!(strictness(wrong).unwrap_err().code, Code::InvalidParameter, "{wrong}");
        }
    }
}
