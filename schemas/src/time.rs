//! Points in time: unix milliseconds inside, RFC 3339 in UTC with three decimals and `Z` outside.

use jiff::Timestamp;

/// `2025-07-18T17:30:22.114Z`. What lies beyond the year 9999 is shown as its end.
pub fn rfc3339(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::MAX))
}

/// Unix milliseconds of an RFC 3339 time, cut, not rounded; none when it is no such time or lies before 1970.
pub fn unix_ms(text: &str) -> Option<u64> {
    // jiff also reads what RFC 3339 does not allow, such as a space for the `T` or a zone in brackets.
    let bytes = text.as_bytes();
    if !matches!(bytes.get(10), Some(b'T' | b't')) || bytes.get(16) != Some(&b':') || text.contains('[') {
        return None;
    }
    u64::try_from(text.parse::<Timestamp>().ok()?.as_millisecond()).ok()
}

/// Whether a time that can be read is already written as [`rfc3339`] writes it.
pub(crate) fn is_canonical(text: &str) -> bool {
    matches!(text.as_bytes(), [_, _, _, _, b'-', .., b'T', _, _, b':', _, _, b':', _, _, b'.', _, _, _, b'Z'] if text.len() == 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_three_decimals_and_read_with_any() {
        assert_eq!(rfc3339(1_752_859_822_000), "2025-07-18T17:30:22.000Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-30T22:00:00.999Z");
        let table = [
            ("2025-07-18T17:30:22.114Z", Some(1_752_859_822_114)),
            ("2025-07-18T14:30:22.1149-03:00", Some(1_752_859_822_114)),
            ("2025-07-18T17:30:22Z", Some(1_752_859_822_000)),
            ("2025-07-18 17:30:22Z", None),
            ("2025-07-18T17:30:22", None),
            ("2025-07-18T17:30:22+00:00[UTC]", None),
            ("1969-12-31T23:59:59Z", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(unix_ms(text), expected, "{text}");
            assert_eq!(is_canonical(text), expected.is_some_and(|ms| rfc3339(ms) == text), "{text}");
        }
    }
}
