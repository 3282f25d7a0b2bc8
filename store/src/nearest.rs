//! "Did you mean …?", for keys and words that are not known.

/// The end of a message about a word that is not known: the nearest known one, else all of them.
pub fn suggestion(given: &str, known: &[&str]) -> String {
    let distance = |word: &&&str| strsim::damerau_levenshtein(&given.to_lowercase(), word);
    match known.iter().min_by_key(distance) {
        // Two slips, or a third of a long word: further away, a guess confuses more than a list.
        Some(word) if distance(&word) <= 2.max(word.len() / 3).min(word.len() - 1) => format!("did you mean {word}?"),
        _ => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_the_word_and_a_stranger_all_words() {
        let known = ["id", "url", "format_options"];
        assert_eq!(suggestion("urll", &known), "did you mean url?");
        assert_eq!(suggestion("formatOptions", &known), "did you mean format_options?");
        assert_eq!(suggestion("destination", &known), "known are id, url, format_options");
    }
}
