//! Ids of the endpoints and subscriptions in which the views of channels, integrations and queues keep their settings.
//!
//! Such an id is the view's prefix and the platform's id, which is percent-encoded as a segment of a URL's path is. Earlier
//! versions encoded other characters, as routing keys do: both forms are read by decoding them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::unescape;

/// A view, which owns every endpoint and subscription whose id has its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Channel,
    Integration,
    Queue,
}

/// Longest encoded id of a platform, in bytes. Ids are numbers, UUIDs or phone addresses, which are all far shorter.
const MAX_ENCODED_BYTES: usize = 255;

/// Characters that are encoded: all but the unreserved ones (RFC 3986, section 2.3).
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes all but letters, digits, `-`, `.`, `_` and `~`, as a segment of a URL's path (RFC 3986) needs at most.
pub fn path_segment(text: &str) -> String {
    utf8_percent_encode(text, &RESERVED).to_string()
}

impl View {
    const ALL: [Self; 3] = [Self::Channel, Self::Integration, Self::Queue];

    /// The view that owns the items of this id.
    pub fn owner(item_id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| item_id.starts_with(view.prefix()))
    }

    pub fn prefix(self) -> &'static str {
        match self {
            Self::Channel => "channel-",
            Self::Integration => "integration-",
            Self::Queue => "queue-",
        }
    }

    /// The id of new items for a platform's id.
    pub fn item_id(self, platform_id: &str) -> String {
        format!("{}{}", self.prefix(), path_segment(platform_id))
    }

    /// The platform's id of an item; none for an item of another view.
    pub fn platform_id(self, item_id: &str) -> Option<String> {
        unescape(item_id.strip_prefix(self.prefix())?)
    }

    /// True when an item belongs to this platform's id.
    pub fn is_of(self, item_id: &str, platform_id: &str) -> bool {
        self.platform_id(item_id).is_some_and(|id| id == platform_id)
    }

    /// Checks a platform's id that is to be used for new items.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_platform_id(id: &str) -> Result<(), &'static str> {
        if id.chars().all(|c| c.is_whitespace() || c.is_control()) {
            Err("is blank: expected the id that the platform uses")
        } else if path_segment(id).len() > MAX_ENCODED_BYTES {
            Err("is too long: percent-encoded, an id has at most 255 characters")
        } else {
            Ok(())
        }
    }

    /// True when an item's id has a view's prefix, and a platform's id as this or an earlier version has encoded it.
    pub fn owns_valid(item_id: &str) -> bool {
        let encoded = Self::owner(item_id).and_then(|view| item_id.strip_prefix(view.prefix()));
        encoded.is_some_and(|encoded| {
            let is_encoded = |c: char| matches!(c, '*' | '#') || c.is_whitespace() || c.is_control();
            let is_hex = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
            (1..=MAX_ENCODED_BYTES).contains(&encoded.len())
                && !encoded.contains(is_encoded)
                && encoded.split('%').skip(1).all(is_hex)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_items_id_is_the_platforms_id_as_in_a_path() {
        for (id, expected) in [
            ("7", "channel-7"),
            ("Canal Vendas", "channel-Canal%20Vendas"),
            ("a/b", "channel-a%2Fb"),
            ("çã", "channel-%C3%A7%C3%A3"),
            ("5511@c.us", "channel-5511%40c.us"),
            ("A-b_c.d~%", "channel-A-b_c.d~%25"),
        ] {
            assert_eq!(View::Channel.item_id(id), expected);
        }
    }

    #[test]
    fn a_new_id_is_neither_blank_nor_too_long() {
        for id in ["", " ", "\t\u{a0}", "\0"] {
            assert!(View::check_platform_id(id).is_err_and(|why| why.contains("blank")), "{id:?}");
        }
        for (id, is_valid) in [("x".repeat(255), true), ("x".repeat(256), false), ("ç".repeat(43), false)] {
            assert_eq!(View::check_platform_id(&id).is_ok(), is_valid, "{id}");
        }
    }

    #[test]
    fn an_owner_is_told_by_the_prefix() {
        assert_eq!([View::owner("queue-9"), View::owner("channel9"), View::owner("")], [Some(View::Queue), None, None]);
        assert_eq!(View::Queue.platform_id("channel-9"), None);
        assert_eq!(View::Queue.platform_id("queue-%ff"), None);
    }

    proptest! {
        #[test]
        fn every_id_is_read_back_from_the_items_of_this_and_of_earlier_versions(id in "\\PC{1,20}|[.*#%\\- é7a/\\x00]{1,9}") {
            for view in View::ALL {
                let earlier = format!("{}{}", view.prefix(), crate::escape(&id));
                for item_id in [view.item_id(&id), earlier] {
                    prop_assert_eq!(view.platform_id(&item_id), Some(id.clone()));
                    prop_assert!(view.is_of(&item_id, &id) && View::owns_valid(&item_id), "{}", item_id);
                    prop_assert_eq!(View::owner(&item_id), Some(view));
                }
                prop_assert!(!view.item_id(&id).contains(|c: char| !c.is_ascii_graphic() || "/?#".contains(c)));
            }
        }

        #[test]
        fn different_ids_have_different_items(a in "[.*#%\\- é7a/]{1,4}", b in "[.*#%\\- é7a/]{1,4}") {
            prop_assert_eq!(a == b, View::Queue.item_id(&a) == View::Queue.item_id(&b));
        }
    }
}
