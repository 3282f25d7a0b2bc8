//! The flags of a resource's fields: an error of the API about a field is printed with the flag that sets it.

use clap::{Arg, ArgMatches, Command, Subcommand, builder::PossibleValue};
use serde::Serialize;
use serde_json::Value;

use super::ResourceFields;
use crate::cli::client::ApiRefusal;

/// Values of which every flag of a field takes one.
const PROBES: [&str; 3] = ["1", "true", "a=1"];

/// Names the flags of `R` and the id, which is no flag, instead of the fields, in a refusal of the API.
pub(super) fn name_flags<R: ResourceFields>(error: anyhow::Error) -> anyhow::Error {
    // A channel has a channel_id.
    let own = format!("/{}_id", R::COLLECTION.trim_end_matches('s'));
    let ids = ["/id".to_owned(), own].map(|field| (field, "the id".to_owned()));
    name(error, &flags_of::<R>().into_iter().chain(ids).collect::<Vec<_>>())
}

/// Names the flags of the actions `A`, which are called like their fields, in a refusal of the API.
pub(super) fn name_flags_of_actions<A: Subcommand>(error: anyhow::Error) -> anyhow::Error {
    let command = A::augment_subcommands(Command::new("actions"));
    let longs = command.get_subcommands().flat_map(Command::get_arguments).filter_map(Arg::get_long);
    let flags: Vec<_> = longs.map(|long| (format!("/{}", long.replace('-', "_")), format!("--{long}"))).collect();
    name(error, &flags)
}

fn name(mut error: anyhow::Error, flags: &[(String, String)]) -> anyhow::Error {
    if let Some(refusal) = error.downcast_mut::<ApiRefusal>() {
        for field in &mut refusal.problem.errors {
            if let Some(named) = flag_of(&field.pointer, flags) {
                field.pointer = named;
            }
        }
    }
    error
}

/// The flag of the field at `pointer`. What the pointer names within the field follows in parentheses.
fn flag_of(pointer: &str, flags: &[(String, String)]) -> Option<String> {
    flags.iter().find_map(|(field, flag)| match pointer.strip_prefix(field.as_str())?.strip_prefix('/') {
        None if pointer == field => Some(flag.clone()),
        None => None,
        Some(rest) => {
            let part = rest.split('/').next().unwrap_or_default();
            let part = part.parse::<usize>().map_or_else(|_| part.to_owned(), |at| format!("value {}", at + 1));
            Some(format!("{flag} ({part})"))
        }
    })
}

/// The field that each flag sets, as a JSON pointer, and the flag. Each flag is parsed by itself to see where it ends up.
fn flags_of<F: clap::Args + Serialize>() -> Vec<(String, String)> {
    let command = F::augment_args(Command::new("fields").no_binary_name(true));
    let fields = |arguments: Option<String>| -> Option<Value> {
        let mut matches: ArgMatches = command.clone().try_get_matches_from(arguments).ok()?;
        serde_json::to_value(F::from_arg_matches_mut(&mut matches).ok()?).ok()
    };
    let Some(none) = fields(None) else { return Vec::new() };
    let field_of = |argument: &Arg| {
        let long = argument.get_long()?;
        let words = argument.get_possible_values();
        let mut probes = words.iter().map(PossibleValue::get_name).chain(PROBES);
        let set = probes.find_map(|probe| fields(Some(format!("--{long}={probe}"))))?;
        Some((difference(&none, &set)?, format!("--{long}")))
    };
    command.get_arguments().filter_map(field_of).collect()
}

/// Pointer to the field of `none` that is another in `set`.
fn difference(none: &Value, set: &Value) -> Option<String> {
    let (none, set) = (none.as_object()?, set.as_object()?);
    let (name, value) = set.iter().find(|(name, value)| none.get(*name) != Some(*value))?;
    // A name that is not among the fields, such as a header's, belongs to the value of the field.
    let before = none.get(name)?;
    Some(format!("/{name}{}", difference(before, value).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            channels::ChannelFields, endpoints::EndpointFields, keys::KeyFields, sources::SourceFields,
            subscriptions::SubscriptionFields, tenants::TenantFields,
        },
        *,
    };

    fn flag<F: clap::Args + Serialize>(pointer: &str) -> String {
        flag_of(pointer, &flags_of::<F>()).unwrap_or_default()
    }

    #[test]
    fn a_field_is_named_by_its_flag() {
        assert_eq!(flag::<EndpointFields>("/url"), "--post-to");
        assert_eq!(flag::<EndpointFields>("/retry/schedule/1"), "--retry-schedule (value 2)");
        assert_eq!(flag::<EndpointFields>("/retry/max_age"), "--retry-max-age");
        assert_eq!(flag::<EndpointFields>("/rate_limit/per_second"), "--rate-per-second");
        assert_eq!(flag::<EndpointFields>("/headers/x-a/secret"), "--header (x-a)");
        assert_eq!(flag::<EndpointFields>("/headers"), "--header");
        assert_eq!(flag::<TenantFields>("/quota/dead_letters"), "--dead-letters");
        assert_eq!(flag::<SubscriptionFields>("/event_types/0"), "--event-types (value 1)");
        for unknown in ["", "/", "/urls", "/secrets", "/retry"] {
            assert_eq!(flag::<EndpointFields>(unknown), "", "{unknown}");
        }
    }

    #[test]
    fn an_id_is_named_as_the_argument_that_it_is() {
        let refusal = |pointer: &str| {
            let problem = json!({"errors": [{"pointer": pointer, "message": "is blank"}]}).to_string();
            anyhow::Error::new(ApiRefusal::new(422, problem.as_bytes()))
        };
        assert_eq!(name_flags::<ChannelFields>(refusal("/channel_id")).to_string(), "422: the id: is blank");
        assert_eq!(name_flags::<EndpointFields>(refusal("/id")).to_string(), "422: the id: is blank");
        assert_eq!(name_flags::<SourceFields>(refusal("/channel_id")).to_string(), "422: --channel-id: is blank");
    }

    #[test]
    fn every_flag_of_a_field_is_known() {
        fn check<F: clap::Args + Serialize>() {
            let command = F::augment_args(Command::new("fields"));
            let all: Vec<_> =
                command.get_arguments().filter_map(Arg::get_long).map(|long| format!("--{long}")).collect();
            let known: Vec<_> = flags_of::<F>().into_iter().map(|(_, flag)| flag).collect();
            assert_eq!(known, all);
        }
        check::<TenantFields>();
        check::<EndpointFields>();
        check::<SubscriptionFields>();
        check::<SourceFields>();
        check::<KeyFields>();
        check::<ChannelFields>();
        check::<super::super::integrations::IntegrationFields>();
        check::<super::super::queues::QueueFields>();
    }
}
