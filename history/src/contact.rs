//! The token that stands for a contact's number: the same for every notation of the number, and useless without the
//! tenant's key.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Random bytes of a tenant, which are kept with its history.
pub type TenantKey = [u8; 32];
pub type ContactToken = [u8; 32];

/// Fewest digits of what counts as a number. Anything else is an id, and compared as it is.
const SHORTEST_NUMBER: usize = 8;

pub fn token(key: &TenantKey, contact: &str) -> ContactToken {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(normalized(contact).as_bytes());
    mac.finalize().into_bytes().into()
}

/// True for what is compared by its digits.
pub fn is_number(contact: &str) -> bool {
    digits(contact).is_some()
}

fn digits(contact: &str) -> Option<String> {
    let local = contact.split('@').next().unwrap_or_default();
    let is_number = local.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || c.is_ascii_punctuation());
    let digits: String = local.chars().filter(char::is_ascii_digit).collect();
    (is_number && digits.len() >= SHORTEST_NUMBER).then_some(digits)
}

/// A number as its digits, without the ninth digit of a Brazilian mobile number, since platforms write it with and without
/// it. `+`, spaces, punctuation and what follows an `@` are left out. What is no number stays as it is.
pub fn normalized(contact: &str) -> String {
    let Some(digits) = digits(contact) else { return contact.trim().to_owned() };
    // Country 55, two digits of the area, a nine, and eight digits (Anatel resolution 553/2010).
    match digits.as_bytes() {
        [b'5', b'5', _, _, b'9', rest @ ..] if rest.len() == 8 => format!("{}{}", &digits[..4], &digits[5..]),
        _ => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notations_of_one_number_are_one_contact() {
        let all = [
            "+55 11 99999-0001",
            "5511999990001",
            "5511999990001@s.whatsapp.net",
            "551199990001",
            "+55 (11) 9999.0001",
        ];
        for notation in all {
            assert_eq!(normalized(notation), "551199990001", "{notation}");
        }
    }

    #[test]
    fn other_numbers_and_ids_stay_apart() {
        assert_eq!(normalized("+351 912 345 678"), "351912345678");
        assert_eq!(normalized("551133334444"), "551133334444");
        for id in ["4711", "contact-77", "a5511999990001", ""] {
            assert_eq!(normalized(id), id);
        }
        assert_eq!(normalized("120363041234567890@g.us"), "120363041234567890");
    }

    #[test]
    fn a_token_depends_on_the_tenants_key() {
        assert_eq!(token(&[1; 32], "+55 11 99999-0001"), token(&[1; 32], "551199990001"));
        assert_ne!(token(&[1; 32], "551199990001"), token(&[2; 32], "551199990001"));
        assert_ne!(token(&[1; 32], "551199990001"), token(&[1; 32], "551199990002"));
    }
}
