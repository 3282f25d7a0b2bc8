//! Writes `ticketData`, the ticket in all bodies but that of tags. Fields are in wire order.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::{Event, FormatOptions, Id, Opaque, Tag, Ticket, WebhookEcho, dialect::phone};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TicketData<'a> {
    id: Option<&'a Id>,
    status: Option<&'a str>,
    unread_messages: i64,
    last_message: Option<&'a str>,
    is_group: bool,
    user_id: Option<&'a Id>,
    contact_id: Option<&'a Id>,
    whatsapp_id: Option<&'a Id>,
    queue_id: Option<&'a Id>,
    chatbot: bool,
    channel: Option<&'a str>,
    queue_option_id: Option<&'a Id>,
    company_id: Option<&'a Id>,
    uuid: Option<&'a str>,
    created_at: Option<&'a str>,
    updated_at: Option<&'a str>,
    contact: Contact<'a>,
    user: Option<User<'a>>,
    queue: Option<Queue<'a>>,
    whatsapp: Whatsapp<'a>,
    tags: TicketTags<'a>,
    company: Company<'a>,
}

impl<'a> TicketData<'a> {
    /// `status` is the status to show: the ticket's own, or the one before a change.
    pub(super) fn of(
        event: &'a Event,
        ticket: &'a Ticket,
        contact: &'a crate::Contact,
        status: Option<&'a str>,
        options: &FormatOptions,
    ) -> Self {
        let text = || event.message.as_ref().and_then(|message| message.text.as_deref());
        Self {
            id: ticket.id.as_ref(),
            status,
            unread_messages: ticket.unread_messages.unwrap_or_default(),
            last_message: ticket.last_message.as_deref().or_else(text),
            is_group: ticket.is_group,
            user_id: ticket.assignee.as_ref().and_then(|user| user.id.as_ref()),
            contact_id: contact.id.as_ref(),
            whatsapp_id: event.channel.id.as_ref(),
            queue_id: ticket.queue.as_ref().and_then(|queue| queue.id.as_ref()),
            chatbot: ticket.chatbot.unwrap_or_default(),
            channel: event.channel.kind.as_deref(),
            queue_option_id: ticket.queue_option_id.as_ref(),
            company_id: event.tenant.id.as_ref(),
            uuid: ticket.uuid.as_deref(),
            created_at: ticket.created_at.as_deref(),
            updated_at: ticket.updated_at.as_deref().or(event.occurred_at.as_deref()),
            contact: Contact::of(contact),
            user: ticket.assignee.as_ref().map(|user| User { id: user.id.as_ref(), name: user.name.as_deref() }),
            queue: ticket.queue.as_ref().map(|queue| Queue {
                id: queue.id.as_ref(),
                name: queue.name.as_deref(),
                color: queue.color.as_deref(),
            }),
            whatsapp: Whatsapp {
                name: event.channel.name.as_deref(),
                webhook: event.channel.webhook_url.as_deref().and_then(|url| echo(url, options.webhook_echo)),
                id: event.channel.id.as_ref(),
            },
            tags: TicketTags { ticket_id: ticket.id.as_ref(), tags: &ticket.tags },
            company: Company { name: event.tenant.name.as_deref() },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Contact<'a> {
    id: Option<&'a Id>,
    name: Option<&'a str>,
    number: Option<&'a str>,
    email: &'a str,
    profile_pic_url: &'a str,
    accept_audio_message: bool,
    active: bool,
    disable_bot: bool,
    extra_info: ExtraInfo<'a>,
}

impl<'a> Contact<'a> {
    pub(super) fn of(contact: &'a crate::Contact) -> Self {
        Self {
            id: contact.id.as_ref(),
            name: contact.name.as_deref(),
            number: contact.number.as_deref().map(phone::digits),
            email: contact.email.as_deref().unwrap_or_default(),
            profile_pic_url: contact.profile_pic_url.as_deref().unwrap_or_default(),
            accept_audio_message: contact.accept_audio_message.unwrap_or(true),
            active: contact.active.unwrap_or(true),
            disable_bot: contact.disable_bot.unwrap_or(false),
            extra_info: contact.extra_info.as_ref().map_or(ExtraInfo::None([]), ExtraInfo::Some),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum ExtraInfo<'a> {
    Some(&'a Opaque),
    None([(); 0]),
}

#[derive(Serialize)]
struct User<'a> {
    id: Option<&'a Id>,
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Queue<'a> {
    id: Option<&'a Id>,
    name: Option<&'a str>,
    color: Option<&'a str>,
}

#[derive(Serialize)]
struct Whatsapp<'a> {
    name: Option<&'a str>,
    webhook: Option<Cow<'a, str>>,
    id: Option<&'a Id>,
}

#[derive(Serialize)]
struct Company<'a> {
    name: Option<&'a str>,
}

/// The labels of a ticket. Each of them repeats the ticket's id.
struct TicketTags<'a> {
    ticket_id: Option<&'a Id>,
    tags: &'a [Tag],
}

impl Serialize for TicketTags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.tags.len()))?;
        for tag in self.tags {
            let link = tag.link.as_ref();
            list.serialize_element(&TicketTag {
                id: tag.id.as_ref(),
                name: tag.name.as_deref(),
                color: tag.color.as_deref(),
                link: TagLink {
                    ticket_id: self.ticket_id,
                    tag_id: tag.id.as_ref(),
                    created_at: link.and_then(|link| link.created_at.as_deref()),
                    updated_at: link.and_then(|link| link.updated_at.as_deref()),
                },
            })?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct TicketTag<'a> {
    id: Option<&'a Id>,
    name: Option<&'a str>,
    color: Option<&'a str>,
    #[serde(rename = "TicketTag")]
    link: TagLink<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TagLink<'a> {
    ticket_id: Option<&'a Id>,
    tag_id: Option<&'a Id>,
    created_at: Option<&'a str>,
    updated_at: Option<&'a str>,
}

/// The receiver's own URL with its private parts masked. It is edited as text, because parsing would change the
/// spelling.
fn echo(url: &str, how: WebhookEcho) -> Option<Cow<'_, str>> {
    match how {
        WebhookEcho::Null => None,
        WebhookEcho::Full => Some(Cow::Borrowed(url)),
        WebhookEcho::Mask => Some(mask(url)),
    }
}

fn mask(url: &str) -> Cow<'_, str> {
    let (shown, _) = url.split_once('#').unwrap_or((url, ""));
    let (shown, query) = shown.split_once('?').map_or((shown, ""), |(shown, _)| (shown, "?***"));
    let start = shown.find("//").map_or(0, |slashes| slashes + 2);
    let end = shown[start..].find('/').map_or(shown.len(), |slash| start + slash);
    let host = shown[start..end].rfind('@').map_or(start, |at| start + at + 1);
    if host == start && shown.len() == url.len() {
        return Cow::Borrowed(url);
    }
    Cow::Owned(format!("{}{}{query}", &shown[..start], &shown[host..]))
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn user_info_query_and_fragment_are_masked_and_the_rest_keeps_its_spelling() {
        let table = [
            ("https://Hooks.example.com/a", "https://Hooks.example.com/a"),
            ("https://user:pw@h.example/a?key=1#top", "https://h.example/a?***"),
            ("https://u@v@h.example", "https://h.example"),
            ("https://h.example/a@b#c?d", "https://h.example/a@b"),
            ("https://h.example?", "https://h.example?***"),
            ("https://h.example/whaticket?***", "https://h.example/whaticket?***"),
            ("user:pw@h.example/a", "h.example/a"),
            ("", ""),
        ];
        for (url, expected) in table {
            assert_eq!(mask(url), expected, "{url}");
        }
    }
}
