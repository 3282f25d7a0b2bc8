//! Where a message's file is: as one URL, or in Whaticket's three pieces.

use std::borrow::Cow;

use crate::{ChatMessage, Event};

/// Kinds of message that are plain text, by whatever name.
pub(super) fn is_text(media_type: &str) -> bool {
    matches!(media_type, "text" | "chat" | "conversation" | "extendedTextMessage")
}

/// The message's kind, with the dialect's own word for text; a message that says neither kind nor file is text.
pub(super) fn kind<'a>(message: &'a ChatMessage, text: &'static str) -> Option<&'a str> {
    match message.media_type.as_deref() {
        Some(kind) if is_text(kind) => Some(text),
        None if message.media.is_none() => Some(text),
        kind => kind,
    }
}

/// `media.url`, or what `base_url`, `folder` and `name` make.
pub(super) fn url<'a>(event: &'a Event, message: &'a ChatMessage) -> Option<Cow<'a, str>> {
    let media = message.media.as_ref()?;
    if let Some(url) = &media.url {
        return Some(Cow::Borrowed(url));
    }
    let (base, folder, name) = (event.source.base_url.as_ref()?, media.folder.as_ref()?, media.name.as_ref()?);
    let (base, folder) = (base.trim_end_matches('/'), folder.trim_matches('/'));
    let slash = if folder.is_empty() { "" } else { "/" };
    Some(Cow::Owned(format!("{base}{slash}{folder}/{name}")))
}

/// A file as Whaticket says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) folder: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) base_url: Option<&'a str>,
}

/// Folder, name and base URL; where one is missing, those of `media.url`.
pub(super) fn place<'a>(event: &'a Event, message: &'a ChatMessage) -> Place<'a> {
    let media = message.media.as_ref();
    let place = Place {
        folder: media.and_then(|media| media.folder.as_deref()),
        name: media.and_then(|media| media.name.as_deref()),
        base_url: event.source.base_url.as_deref(),
    };
    if place.folder.is_some() && place.name.is_some() && place.base_url.is_some() {
        return place;
    }
    media.and_then(|media| split(media.url.as_deref()?)).unwrap_or(place)
}

/// Origin, path up to the last `/`, and the rest with the query.
fn split(url: &str) -> Option<Place<'_>> {
    let authority = url.find("://")? + 3;
    let (base_url, path) = url.split_at(authority + url[authority..].find('/')?);
    let path_end = path.find(['?', '#']).unwrap_or(path.len());
    let name = path[..path_end].rfind('/')? + 1;
    let folder = path[..name].trim_matches('/');
    (name < path.len()).then(|| Place { folder: Some(folder), name: Some(&path[name..]), base_url: Some(base_url) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_at_its_origin_and_its_last_slash() {
        let table = [
            ("https://a.b/public/1/x.png", Some(("https://a.b", "public/1", "x.png"))),
            ("https://a.b:8/x.png?k=/1", Some(("https://a.b:8", "", "x.png?k=/1"))),
            ("https://a.b/p/?k", Some(("https://a.b", "p", "?k"))),
            ("https://a.b/p/", None),
            ("https://a.b", None),
            ("x.png", None),
        ];
        for (url, expected) in table {
            let found = split(url).map(|place| (place.base_url.unwrap(), place.folder.unwrap(), place.name.unwrap()));
            assert_eq!(found, expected, "{url}");
        }
    }
}
