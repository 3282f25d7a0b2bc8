//! Phone numbers. Canonical events keep the given notation; each dialect writes its own form.

use std::borrow::Cow;

/// The number without `+`, as WHAZING and Whaticket write it.
pub(super) fn digits(number: &str) -> &str {
    number.strip_prefix('+').unwrap_or(number)
}

/// The number with `+`, as Boticário writes it. A text that is no phone number (letters, more than the 15 digits of
/// E.164) is returned unchanged.
pub(super) fn e164(number: &str) -> Cow<'_, str> {
    let is_bare = (1..=15).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    if is_bare { Cow::Owned(format!("+{number}")) } else { Cow::Borrowed(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_to_fifteen_bare_digits_get_a_plus() {
        let table = [
            ("5511999990001", "+5511999990001"),
            ("+5511999990001", "+5511999990001"),
            ("1", "+1"),
            ("123456789012345", "+123456789012345"),
            ("1234567890123456", "1234567890123456"),
            ("", ""),
            ("55 11", "55 11"),
            ("١٢", "١٢"),
        ];
        for (number, expected) in table {
            assert_eq!(e164(number), expected);
        }
        assert_eq!(digits("+55"), "55");
        assert_eq!(digits("55"), "55");
    }
}
