//! "Did you mean …?" for unknown keys and words.

/// Bytes of the longest word that is compared.
const LONGEST: usize = 64;

/// The known word that `given` probably misspells. None when every known word is too far away.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes time by both lengths, and somebody else's word may be as long as a body.
    if given.len() > LONGEST {
        return None;
    }
    let given = given.to_lowercase();
    let distances = known.into_iter().map(|word| (strsim::damerau_levenshtein(&given, word), word));
    let (edits, word) = distances.min()?;
    // Two edits are allowed in a short word, three in a long one. Guesses beyond that would confuse.
    let allowed = (word.chars().count() / 3).clamp(2, 3).min(word.len().saturating_sub(1));
    (edits <= allowed).then_some(word)
}

/// The known word that `given` almost certainly misspells: at most one letter in four differs, or it is the beginning of
/// that word. Where any word is allowed, a guess further away would be wrong too often.
pub fn misspelt<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let edits = |word: &str| match word.len() / 4 {
        // Two words whose lengths differ by more are not compared.
        allowed if word.len().abs_diff(given.len()) > allowed => None,
        allowed => Some(strsim::osa_distance(&given, word)).filter(|edits| *edits <= allowed),
    };
    let begins = |word: &str| given.len() >= 4 && word.starts_with(&given);
    let near = |word| edits(word).or_else(|| begins(word).then_some(usize::MAX));
    known.into_iter().filter_map(|word| Some((near(word)?, word))).min().map(|(_, word)| word)
}

/// The end of a message about an unknown word: the nearest known word, else all of them.
pub fn suggestion(given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(word) => format!("did you mean {word}?"),
        None => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_word_is_answered_with_the_nearest_and_another_word_with_all() {
        let known = ["id", "url", "format_options"];
        assert_eq!(suggestion("urll", &known), "did you mean url?");
        assert_eq!(suggestion("formatOptions", &known), "did you mean format_options?");
        assert_eq!(suggestion("destination", &known), "known are id, url, format_options");
    }

    #[test]
    fn a_word_is_nearest_only_within_a_few_edits_of_it() {
        let known = ["id", "a_rather_long_word"];
        assert_eq!((nearest("i", known), nearest("xyz", known)), (Some("id"), None));
        assert_eq!(nearest("rather_long_word", known), Some("a_rather_long_word"));
        assert_eq!(nearest("long_word", known), None);
        assert_eq!(nearest(&"i".repeat(1 << 20), known), None, "it is not compared");
    }

    #[test]
    fn a_word_is_misspelt_only_when_hardly_anything_else_can_be_meant() {
        let known = ["id", "type", "channel", "created", "opened", "occurred_at"];
        for (given, meant) in [
            ("chanel", Some("channel")),
            ("channels", Some("channel")),
            ("hcannel", Some("channel")),
            ("occurredAt", Some("occurred_at")),
            ("open", Some("opened")),
            ("ID", Some("id")),
            ("ip", None),
            ("time", None),
            ("rated", None),
            ("", None),
        ] {
            assert_eq!(misspelt(given, known), meant, "{given}");
        }
    }
}
