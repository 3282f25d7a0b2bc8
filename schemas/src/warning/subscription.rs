//! Warnings about a subscription: what no event can match, and what has no effect.

use super::{Warning, WarningCode, event::misspelt_type};
use crate::{EventType, Format, MessageDirection, Subscription, TypePattern, suggest::misspelt};

impl Subscription {
    /// Warnings about the subscription, whose endpoint has this format. Places are those in its JSON.
    pub fn warnings(&self, format: Format) -> Vec<Warning> {
        let mut warnings = self.never_matching();
        if warnings.is_empty() {
            warnings.extend(self.without_effect());
            warnings.extend(self.event_types.iter().filter_map(|pattern| pattern.warning(format)));
        }
        warnings
    }

    /// One warning for each condition that no event fulfils.
    fn never_matching(&self) -> Vec<Warning> {
        let never = |pointer: &str, message: &str| Warning::new(WarningCode::NeverMatches, pointer, message);
        let mut warnings = Vec::new();
        if self.event_types.is_empty() && !self.start_on_transfer {
            warnings.push(never("/event_types", "names no event type, so no event matches"));
        }
        for (pointer, ids) in [("/channel_ids", &self.channel_ids), ("/queue_ids", &self.queue_ids)] {
            if ids.as_ref().is_some_and(|ids| ids.0.is_empty()) {
                warnings.push(never(pointer, "is empty, so no event matches: leave it out for any"));
            }
        }
        if warnings.is_empty() && !self.start_on_transfer && !self.event_types.iter().any(|one| self.can_match(one)) {
            let has_status = self.ticket_statuses.as_ref().is_none_or(|wanted| !wanted.is_empty());
            let pointer = if has_status { "/directions" } else { "/ticket_statuses" };
            warnings.push(never(pointer, "leaves out every message that event_types want, so no event matches"));
        }
        warnings
    }

    /// True when some event of this pattern fulfils the conditions about messages.
    fn can_match(&self, pattern: &TypePattern) -> bool {
        if !pattern.is_about_messages() {
            return true;
        }
        let has_status = self.ticket_statuses.as_ref().is_none_or(|wanted| !wanted.is_empty());
        let direction = match pattern {
            TypePattern::Type(event_type) => MessageDirection::of(event_type),
            TypePattern::Any | TypePattern::Entity(_) => None,
        };
        let wants = |direction| self.directions.as_ref().is_none_or(|wanted| wanted.contains(&direction));
        has_status && direction.is_none_or(wants)
    }

    /// One warning for each condition about messages, if no messages are wanted.
    fn without_effect(&self) -> Vec<Warning> {
        let wants = |event_type: &EventType| self.event_types.iter().any(|pattern| pattern.matches(event_type));
        let has_direction = wants(&EventType::MESSAGE_RECEIVED) || wants(&EventType::MESSAGE_SENT);
        let has_messages = self.event_types.iter().any(|one| *one == TypePattern::Any || one.is_about_messages());
        let conditions = [
            ("/directions", self.directions.is_some() && !has_direction, "message.received and message.sent"),
            ("/ticket_statuses", self.ticket_statuses.is_some() && !has_messages, "message.*"),
            ("/groups", self.groups == Some(false) && !has_messages, "message.*"),
        ];
        let idle = conditions.into_iter().filter(|(_, is_idle, _)| *is_idle);
        idle.map(|(pointer, _, types)| {
            let message = format!("has no effect: it is about {types}, which event_types leave out");
            Warning::new(WarningCode::NoEffect, pointer, message)
        })
        .collect()
    }
}

impl TypePattern {
    /// The warning about a pattern in a subscription whose endpoint has this format. It shows the pattern, because a list
    /// of patterns has no order of its own.
    fn warning(&self, format: Format) -> Option<Warning> {
        let pattern = String::from(self.clone());
        let (code, message) = match self.misspelt() {
            Some(meant) => (WarningCode::UnknownType, format!("no such type is known, did you mean {meant}?")),
            None if self.is_in(format) => return None,
            None => (WarningCode::NotInFormat, format!("the endpoint's format {} has no such event", format.as_str())),
        };
        Some(Warning::new(code, "/event_types", format!("{pattern}: {message}")))
    }

    fn is_about_messages(&self) -> bool {
        match self {
            Self::Any => false,
            Self::Entity(entity) => entity == "message",
            Self::Type(event_type) => event_type.is_message(),
        }
    }

    /// What the pattern nearly is: a known type, or all types of a known entity.
    fn misspelt(&self) -> Option<String> {
        match self {
            Self::Any => None,
            Self::Type(event_type) => misspelt_type(event_type),
            Self::Entity(entity) => {
                let known = || EventType::KNOWN.iter().map(EventType::entity);
                let is_known = known().any(|known| known == entity);
                let meant = if is_known { None } else { misspelt(entity, known()) };
                meant.map(|meant| format!("{meant}.*"))
            }
        }
    }

    /// True when the format has some event that the pattern matches. The vendors' formats have known types only.
    fn is_in(&self, format: Format) -> bool {
        match self {
            Self::Type(event_type) => format.has(event_type),
            _ if matches!(format, Format::Canonical | Format::Original) => true,
            _ => EventType::KNOWN.iter().any(|known| self.matches(known) && format.has(known)),
        }
    }
}
