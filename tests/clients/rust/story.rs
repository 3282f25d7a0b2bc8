//! A settings screen and a first incident, told with the generated client alone: not a line of HTTP is written here.

use std::{collections::HashMap, time::Duration};

use carteiro_client::{
    apis::{
        Error, channels_api, configuration::Configuration, dead_letters_api, endpoints_api, events_api,
        integrations_api, keys_api, subscriptions_api, tenants_api,
    },
    models::{
        Channel, ChannelWebhookBody, EndpointPatch, Event, EventList, Events, Format, HeaderTextInput, Id, Message,
        NewEndpoint, NewIntegration, NewKey, NewSubscription, NewTenantSettings, OutcomeClass, Problem, Queue,
        QueueIntegrationBody, ReplayBody, ReplayFilterInput, RetryPolicyInput, Scope, SecretHeaderInput, Ticked,
        Ticket, WrittenId,
    },
};

const TENANT: &str = "rust";

fn variable(name: &str) -> String {
    std::env::var(name).expect(name)
}

fn with_key(key: String) -> Configuration {
    Configuration { base_path: variable("CARTEIRO_URL"), bearer_access_token: Some(key), ..Configuration::new() }
}

fn message(id: &str) -> Event {
    Event {
        id: Some(Some(id.to_owned())),
        channel: Some(Box::new(Channel { id: Some(Some(Box::new(Id::Integer(7)))), ..Channel::new() })),
        ticket: Some(Some(Box::new(Ticket {
            queue: Some(Some(Box::new(Queue { id: Some(Some(Box::new(Id::Integer(12)))), ..Queue::new() }))),
            ..Ticket::new()
        }))),
        message: Some(Some(Box::new(Message { text: Some(Some(id.to_owned())), ..Message::new() }))),
        ..Event::new("message.received".to_owned())
    }
}

/// The parsed problem of a call that must be refused.
fn refused<T: std::fmt::Debug, E: serde::Serialize>(result: Result<T, Error<E>>) -> Problem {
    match result {
        Err(Error::ResponseError(response)) => serde_json::from_str(&response.content).expect("a problem"),
        Err(error) => panic!("{error}"),
        Ok(done) => panic!("it was done: {done:?}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (operator, receiver) = (with_key(variable("CARTEIRO_KEY")), variable("CARTEIRO_RECEIVER"));
    // The operator makes a tenant and its key, with which the tenant sets everything up.
    let tenant = NewTenantSettings { id: Some(Some(TENANT.to_owned())), ..NewTenantSettings::new() };
    tenants_api::create_tenant(&operator, tenant, None).await.expect("a tenant");
    let scopes = vec![Scope::Publish, Scope::Read, Scope::Manage];
    let made = keys_api::create_key(&operator, TENANT, NewKey::new(scopes), None).await.expect("a key");
    let own = with_key(made.key.expect("a new key is shown"));

    let secret = SecretHeaderInput::new("S3CRET".to_owned());
    let headers = HashMap::from([
        ("x-plain".to_owned(), HeaderTextInput::String("shown".to_owned())),
        ("x-secret".to_owned(), HeaderTextInput::SecretHeaderInput(Box::new(secret))),
    ]);
    let crm = NewEndpoint {
        id: Some(Some("crm".to_owned())),
        format: Some(Some(Format::Whazing)),
        headers: Some(Some(headers)),
        ..NewEndpoint::new(format!("{receiver}/crm"))
    };
    let made = endpoints_api::create_endpoint(&own, TENANT, crm, None).await.expect("an endpoint");
    assert!(made.secret.is_some_and(|secret| secret.starts_with("whsec_")), "a new endpoint shows its secret");
    // Every attempt fails, and there is one: what is for it ends at once.
    let retry = RetryPolicyInput { schedule: Some(Vec::new()), ..RetryPolicyInput::new() };
    let dead = NewEndpoint {
        id: Some(Some("dead".to_owned())),
        retry: Some(Some(Box::new(retry))),
        ..NewEndpoint::new("http://127.0.0.1:9/".to_owned())
    };
    endpoints_api::create_endpoint(&own, TENANT, dead, None).await.expect("an endpoint");
    for endpoint_id in ["crm", "dead"] {
        let subscription = NewSubscription {
            event_types: Some(Some(vec!["message.*".to_owned()])),
            channel_ids: Some(Some(vec![WrittenId::Integer(7), WrittenId::String("suporte".to_owned())])),
            ..NewSubscription::new(endpoint_id.to_owned())
        };
        subscriptions_api::create_subscription(&own, TENANT, subscription, None).await.expect("a subscription");
    }
    let webhook = ChannelWebhookBody {
        events: Some(Some(vec![Ticked::NewTicket, Ticked::Received])),
        ..ChannelWebhookBody::new(format!("{receiver}/channel"))
    };
    channels_api::put_channel_webhook(&own, TENANT, "7", webhook, None, None, None).await.expect("a webhook");
    let bot = NewIntegration { id: Some(Some("bot".to_owned())), ..NewIntegration::new(format!("{receiver}/bot")) };
    integrations_api::create_integration(&own, TENANT, bot, None).await.expect("an integration");
    let binding = QueueIntegrationBody::new("bot".to_owned());
    integrations_api::put_queue_integration(&own, TENANT, "12", binding, None, None, None).await.expect("a binding");

    // A list comes in pages, and a patch changes what it names.
    let listed = endpoints_api::list_endpoints(&own, TENANT, Some(2), None).await.expect("a page");
    assert_eq!(listed.items.iter().map(|endpoint| &*endpoint.id).collect::<Vec<_>>(), ["channel-7", "crm"]);
    let rest = endpoints_api::list_endpoints(&own, TENANT, None, listed.next.as_deref()).await.expect("a page");
    assert_eq!(rest.items.iter().map(|endpoint| &*endpoint.id).collect::<Vec<_>>(), ["dead", "integration-bot"]);
    let patch = EndpointPatch { name: Some(Some("CRM".to_owned())), ..EndpointPatch::new() };
    let patched = endpoints_api::patch_endpoint(&own, TENANT, "crm", patch, None, None, None).await.expect("a patch");
    assert_eq!((patched.format, patched.timeout.as_str()), (Format::Whazing, "15s"));

    // Events go in, alone and several at once, and a test shows its attempt.
    let one = Events::Event(Box::new(message("rust-1")));
    let accepted = events_api::publish_events(&own, TENANT, one, None).await.expect("accepted").accepted;
    assert_eq!(accepted[0].id, "rust-1");
    let list = EventList::new(vec![message("rust-2"), message("rust-3")]);
    events_api::publish_events(&own, TENANT, Events::EventList(Box::new(list)), None).await.expect("accepted");
    let attempt = endpoints_api::test_endpoint(&own, TENANT, "crm").await.expect("a test").attempt;
    assert_eq!((attempt.outcome, attempt.status), (OutcomeClass::Variant2xx, Some(200)));

    // What failed is found, its cause is mended, and all of it is replayed.
    let letters = async || {
        let endpoint_id = Some("dead");
        let listed = dead_letters_api::list_dead_letters(
            &own,
            TENANT,
            None,
            None,
            None,
            None,
            None,
            endpoint_id,
            None,
            None,
            None,
            None,
        );
        listed.await.expect("dead letters").items.len()
    };
    let until = async |count: usize| {
        while letters().await != count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until(3)).await.expect("dead letters within a minute");
    let mended = EndpointPatch { url: Some(format!("{receiver}/mended")), ..EndpointPatch::new() };
    endpoints_api::patch_endpoint(&own, TENANT, "dead", mended, None, None, None).await.expect("a patch");
    let filter = ReplayFilterInput { endpoint_id: Some(Some("dead".to_owned())), ..ReplayFilterInput::new() };
    assert_eq!(
        dead_letters_api::start_replay(&own, TENANT, ReplayBody::new(filter)).await.expect("a replay").matched,
        3
    );
    tokio::time::timeout(Duration::from_secs(60), until(0)).await.expect("replayed within a minute");

    // Problems are parsed: a program finds the code, and a person the place.
    let wrong = NewEndpoint::new("ftp://crm.example/".to_owned());
    let problem = refused(endpoints_api::create_endpoint(&own, TENANT, wrong, None).await);
    assert_eq!(problem.status, 422);
    assert_eq!(problem.errors.expect("places")[0].pointer, "/url");
}
