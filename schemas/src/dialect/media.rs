//! The location of a message's file: one URL, or the three parts that Whaticket sends.

use std::borrow::Cow;

use crate::{ChatMessage, Event};

/// True for the names of plain text messages.
pub(super) fn is_text(media_type: &str) -> bool {
    matches!(media_type, "text" | "chat" | "conversation" | "extendedTextMessage")
}

/// The kind of a message, with the dialect's own word for text. A message without kind and file is text.
pub(super) fn kind<'a>(message: &'a ChatMessage, text: &'static str) -> Option<&'a str> {
    match message.media_type.as_deref() {
        Some(kind) if is_text(kind) => Some(text),
        None if message.media.is_none() => Some(text),
        kind => kind,
    }
}

/// The URL of a message's file: `media.url`, or that of `base_url`, `folder` and `name`.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileLocation<'a> {
    pub(super) folder: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) base_url: Option<&'a str>,
}

/// The location of a message's file. If a part is missing, all are taken from `media.url`.
pub(super) fn file_location<'a>(event: &'a Event, message: &'a ChatMessage) -> FileLocation<'a> {
    let media = message.media.as_ref();
    let location = FileLocation {
        folder: media.and_then(|media| media.folder.as_deref()),
        name: media.and_then(|media| media.name.as_deref()),
        base_url: event.source.base_url.as_deref(),
    };
    if location.folder.is_some() && location.name.is_some() && location.base_url.is_some() {
        return location;
    }
    media.and_then(|media| split(media.url.as_deref()?)).unwrap_or(location)
}

/// Splits a URL into origin, path up to the last `/`, and the rest with the query.
fn split(url: &str) -> Option<FileLocation<'_>> {
    let authority = url.find("://")? + 3;
    let (base_url, path) = url.split_at(authority + url[authority..].find('/')?);
    let path_end = path.find(['?', '#']).unwrap_or(path.len());
    let name = path[..path_end].rfind('/')? + 1;
    let folder = path[..name].trim_matches('/');
    (name < path.len()).then(|| FileLocation {
        folder: Some(folder),
        name: Some(&path[name..]),
        base_url: Some(base_url),
    })
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
            let found = split(url).map(|file| (file.base_url.unwrap(), file.folder.unwrap(), file.name.unwrap()));
            assert_eq!(found, expected, "{url}");
        }
    }
}
