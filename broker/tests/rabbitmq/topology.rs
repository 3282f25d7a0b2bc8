//! Declaring, comparing and removing a topology (docs/rabbitmq.md#declaring), and what a role does on a broker whose topology is
//! not as it must be.

use broker::{
    Broker, BrokerConfig, ConnectionState, Due, Lane, Log, Queue, Settlement, Target,
    rabbitmq::{self, DeclaredBinding, Topology, TopologyError},
    records::read_parked,
};
use lapin::{
    Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use crate::fixture::{Fixture, TIMEOUT, clock, connect, message, next, unique};

async fn nothing_declared() -> BrokerConfig {
    unique(tokio::task::spawn_blocking(crate::node::shared).await.expect("a node"))
}

/// Declares one level with another time to live than ours.
async fn declare_another_ttl(config: &BrokerConfig) -> Connection {
    let connection = Connection::connect(&config.url, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(7));
    arguments
        .insert("x-dead-letter-exchange".into(), AMQPValue::LongString(format!("{}.v1.wake", config.prefix).into()));
    arguments.insert("x-dead-letter-strategy".into(), AMQPValue::LongString("at-least-once".into()));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let name = format!("{}.v1.delay.5m", config.prefix);
    channel.queue_declare(name.into(), durable, arguments).await.expect("declared");
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn another_argument_is_named_and_left_as_it_is() {
    let config = nothing_declared().await;
    let _connection = declare_another_ttl(&config).await;
    let refused = rabbitmq::apply(&config).await.expect_err("it differs");
    let TopologyError::Mismatch { entity, argument, .. } = &refused else { panic!("{refused}") };
    assert_eq!(
        (entity.as_str(), argument.as_str()),
        (&*format!("queue {}.v1.delay.5m", config.prefix), "x-message-ttl")
    );
    assert!(refused.is_fatal());

    let role = connect(&config);
    let fatal = timeout(TIMEOUT, role.first_session()).await.expect("in time").expect_err("fatal");
    assert_eq!(fatal.to_string(), refused.to_string());
    let away = role.connection_state().borrow().clone();
    assert!(matches!(&away, ConnectionState::Away(reason) if reason.contains("x-message-ttl")), "{away:?}");
    rabbitmq::remove(&config).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_size_is_told_and_used_as_it_is() {
    let config = nothing_declared().await;
    assert_eq!(rabbitmq::apply(&config).await.expect("applied"), []);
    let larger = BrokerConfig { dead_letters_bytes: 20_000_000_000, ..config.clone() };
    let told = rabbitmq::apply(&larger).await.expect("applied again");
    let [size @ TopologyError::LogSize { entity, detail }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(entity, &format!("queue {}.v1.dead", config.prefix));
    assert!(detail.contains("20000000000") && detail.contains("10000000000") && !size.is_fatal(), "{detail}");
    assert_eq!(rabbitmq::verify(&larger, fastrand::Rng::new()).await.expect("it could look"), told);

    let role = connect(&larger);
    timeout(TIMEOUT, role.first_session()).await.expect("in time").expect("it goes on");
    assert_eq!((role.max_log_bytes(Log::Dead), role.max_log_bytes(Log::Parked)), (20_000_000_000, 5_000_000_000));
    role.publish(&Target::Log(Log::Dead, "exhausted.acme".to_owned()), &message("e1")).await.expect("confirmed");
    rabbitmq::remove(&config).await.expect("removed");
}

/// Declares the log of dead letters with these bounds.
async fn declare_another_log(config: &BrokerConfig, bounds: &[(&'static str, AMQPValue)]) {
    let connection = Connection::connect(&config.url, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-max-age".into(), AMQPValue::LongString("30D".into()));
    for (name, value) in bounds {
        arguments.insert((*name).into(), value.clone());
    }
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(format!("{}.v1.dead", config.prefix).into(), durable, arguments).await.expect("declared");
    connection.close(200, "".into()).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_size_that_differs_in_something_else_is_refused_with_both() {
    let (size, segments) = ("x-max-length-bytes", "x-stream-max-segment-size-bytes");
    let number = |bytes| AMQPValue::LongLongInt(bytes);
    let both = vec![(size, number(20_000_000_000)), (segments, number(77_000_000))];
    let no_size = vec![(segments, number(50_000_000))];
    for (bounds, named) in [(both, [size, segments]), (no_size, [size, "current is none"])] {
        let config = nothing_declared().await;
        declare_another_log(&config, &bounds).await;
        let refused = rabbitmq::apply(&config).await.expect_err("it differs");
        let TopologyError::Mismatch { entity, detail, .. } = &refused else { panic!("{refused}") };
        assert_eq!(entity, &format!("queue {}.v1.dead", config.prefix));
        assert!(named.iter().all(|named| detail.contains(named)) && refused.is_fatal(), "{detail}");
        let found = rabbitmq::verify(&config, fastrand::Rng::new()).await.expect("it could look");
        assert!(found.contains(&refused), "{found:?}");
        rabbitmq::remove(&config).await.expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_all_differences_at_once_and_declares_nothing() {
    let config = nothing_declared().await;
    let _connection = declare_another_ttl(&config).await;
    let found = rabbitmq::verify(&config, fastrand::Rng::new()).await.expect("it could look");
    let missing = found.iter().filter(|error| matches!(error, TopologyError::Missing { .. })).count();
    let mismatched = found.iter().filter(|error| matches!(error, TopologyError::Mismatch { .. })).count();
    let plan = Topology::plan(&config);
    assert_eq!((missing, mismatched), (plan.queues.len() - 1 + plan.exchanges.len(), 1));
    assert_eq!(rabbitmq::verify(&config, fastrand::Rng::new()).await.expect("it could look").len(), found.len());
    rabbitmq::remove(&config).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_topology_is_verified_by_what_it_does() {
    let config = nothing_declared().await;
    rabbitmq::apply(&config).await.expect("applied");
    rabbitmq::apply(&config).await.expect("applied twice");
    assert_eq!(rabbitmq::verify(&config, fastrand::Rng::new()).await.expect("it could look"), []);
    rabbitmq::remove(&config).await.expect("removed");
}

/// Removes one binding, as an operator by mistake.
async fn unbind(channel: &Channel, binding: &DeclaredBinding) {
    let DeclaredBinding { from, to, key } = binding;
    let unbound =
        channel.queue_unbind(to.as_str().into(), from.as_str().into(), key.as_str().into(), FieldTable::default());
    unbound.await.expect("unbound");
}

async fn verify(config: &BrokerConfig) -> Vec<TopologyError> {
    timeout(TIMEOUT, rabbitmq::verify(config, fastrand::Rng::new())).await.expect("in time").expect("it could look")
}

fn intake(config: &BrokerConfig) -> DeclaredBinding {
    DeclaredBinding { from: config.exchange.clone(), to: format!("{}.v1.ingest", config.prefix), key: "#".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_binding_is_named_until_it_is_applied_again() {
    let config = nothing_declared().await;
    rabbitmq::apply(&config).await.expect("applied");
    let connection = Connection::connect(&config.url, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    let plan = Topology::plan(&config);
    for binding in &plan.bindings {
        unbind(&channel, binding).await;
        let found = verify(&config).await;
        let named = found.first().map(ToString::to_string).unwrap_or_default();
        assert!(named.starts_with(&format!("{binding} is missing: ")), "{binding}: {found:?}");
        assert!(plan.to_string().contains(&binding.to_string()), "the plan says it in the same words");
        let (fatal, open): (Vec<_>, Vec<_>) = found.iter().partition(|error| error.is_fatal());
        // Without the log of parked messages nothing shows the others.
        assert_eq!((fatal.len(), open.len()), (1, usize::from(binding.to.ends_with(".park"))), "{found:?}");
        rabbitmq::apply(&config).await.expect("applied again");
    }
    assert_eq!(verify(&config).await, []);
    rabbitmq::remove(&config).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unbound_intake_is_noticed_although_somebody_else_takes_the_events() {
    let fixture = Fixture::start().await;
    let foreign = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let foreign = fixture.channel.queue_declare("".into(), foreign, FieldTable::default()).await.expect("a queue");
    let (exchange, options) = (fixture.config.exchange.as_str(), QueueBindOptions::default());
    let bound =
        fixture.channel.queue_bind(foreign.name().clone(), exchange.into(), "#".into(), options, FieldTable::default());
    bound.await.expect("bound");
    assert_eq!(fixture.broker.intake_is_bound().await, Some(true));

    let intake = intake(&fixture.config);
    unbind(&fixture.channel, &intake).await;
    assert_eq!(fixture.broker.intake_is_bound().await, Some(false));
    assert_eq!(verify(&fixture.config).await, [TopologyError::IntakeClosed { binding: intake.to_string() }]);
    rabbitmq::apply(&fixture.config).await.expect("applied");
    assert_eq!(fixture.broker.intake_is_bound().await, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_reach_no_consumer_and_no_reader_of_a_log() {
    let fixture = Fixture::start().await;
    let mut consumers: Vec<_> = Queue::ALL.map(|queue| (queue, fixture.broker.consume(queue, 10.into()))).into();
    for _ in 0..3 {
        assert_eq!(verify(&fixture.config).await, []);
        assert_eq!(fixture.broker.intake_is_bound().await, Some(true));
    }
    let key = "acme.-.-.ticket.created".to_owned();
    for (queue, consumer) in &mut consumers {
        let to = match queue {
            Queue::Ingest => Target::Ingest { key: key.clone() },
            Queue::IngestSlow => Target::IngestSlow { key: key.clone() },
            Queue::Lane(lane) => Target::Lane(*lane, None),
        };
        fixture.broker.publish(&to, &message("work")).await.expect("confirmed");
        let incoming = next(consumer).await;
        assert_eq!((incoming.message.id.as_str(), incoming.count), ("work", 0), "nothing came before it");
        incoming.settle(Settlement::Done);
    }
    for log in [Log::Dead, Log::Parked] {
        fixture.broker.publish(&Target::Log(log, "test.acme".to_owned()), &message("record")).await.expect("confirmed");
        let ids: Vec<_> = fixture.read(log, 0).await.into_iter().map(|record| record.message.id).collect();
        assert_eq!(ids, ["record"]);
    }
    let left = rabbitmq::contents(&fixture.config).await.expect("it could look").into_iter();
    assert_eq!(left.filter(|queue| queue.ready > 0).collect::<Vec<_>>(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intake_in_which_events_wait_is_said_to_be_unchecked() {
    let fixture = Fixture::start().await;
    let to = Target::Ingest { key: "acme.-.-.ticket.created".to_owned() };
    fixture.broker.publish(&to, &message("e1")).await.expect("confirmed");
    let [unchecked] = &verify(&fixture.config).await[..] else { panic!("the intake alone") };
    let TopologyError::Unchecked { entity, detail } = unchecked else { panic!("{unchecked}") };
    assert_eq!(*entity, intake(&fixture.config).to_string());
    assert!(detail.contains("wait in the queue") && !unchecked.is_fatal(), "{detail}");
    assert_eq!(fixture.broker.intake_is_bound().await, None);
    let mut consumer = fixture.broker.consume(Queue::Ingest, 10.into());
    next(&mut consumer).await.settle(Settlement::Done);
    assert_eq!(fixture.broker.intake_is_bound().await, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_has_parked_itself_says_when() {
    let fixture = Fixture::start().await;
    unbind(&fixture.channel, &intake(&fixture.config)).await;
    let before = clock()();
    let to = Target::Ingest { key: "acme.-.-.ticket.created".to_owned() };
    fixture.broker.publish(&to, &message("e1")).await.expect("confirmed");
    let parked = read_parked(&fixture.parked().await);
    let at = parked.parked_at.as_deref().and_then(schemas::time::unix_ms).expect("a time");
    // AMQP has seconds.
    assert!((before - before % 1_000..=clock()()).contains(&at), "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topology_is_named_and_not_made_when_roles_do_not_declare() {
    let mut config = nothing_declared().await;
    config.declare = false;
    let role = connect(&config);
    let fatal = timeout(TIMEOUT, role.first_session()).await.expect("in time").expect_err("fatal");
    assert!(matches!(&fatal, TopologyError::Missing { .. }), "{fatal}");
    assert!(fatal.to_string().contains("carteiro topology apply"), "{fatal}");

    // Once somebody has applied it, the role goes on by itself.
    rabbitmq::apply(&config).await.expect("applied");
    timeout(TIMEOUT, role.connection_state().wait_for(|state| *state == ConnectionState::Ready))
        .await
        .expect("in time")
        .expect("a state");
    assert_eq!(*role.defect().borrow(), None);
    rabbitmq::remove(&config).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_takes_full_queues_too_and_is_fine_with_nothing_there() {
    let fixture = Fixture::start().await;
    let to = broker::Target::Ingest { key: "acme.-.-.ticket.created".to_owned() };
    fixture.broker.publish(&to, &message("e1")).await.expect("confirmed");
    rabbitmq::remove(&fixture.config).await.expect("removed");
    rabbitmq::remove(&fixture.config).await.expect("removed again");
    let found =
        rabbitmq::verify(&BrokerConfig { declare: false, ..fixture.config.clone() }, fastrand::Rng::new()).await;
    // The fixture's own process may already be declaring again: it may find less missing, but never a difference.
    let is_absence =
        |error: &TopologyError| matches!(error, TopologyError::Missing { .. } | TopologyError::Unchecked { .. });
    assert!(found.expect("it could look").iter().all(is_absence));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_exchange_stays_while_somebody_else_is_bound_to_it() {
    let config = nothing_declared().await;
    rabbitmq::apply(&config).await.expect("applied");
    let connection = Connection::connect(&config.url, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    let foreign = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let foreign = channel.queue_declare("".into(), foreign, FieldTable::default()).await.expect("a queue");
    let bind = QueueBindOptions::default();
    let (exchange, table) = (config.exchange.as_str(), FieldTable::default);
    channel.queue_bind(foreign.name().clone(), exchange.into(), "#".into(), bind, table()).await.expect("bound");

    rabbitmq::remove(&config).await.expect("removed");
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let asked = channel.exchange_declare(exchange.into(), ExchangeKind::Topic, passive, table()).await;
    asked.expect("it is still there");
    connection.close(200, "".into()).await.expect("closed, and the queue with it");
    rabbitmq::remove(&config).await.expect("removed");
    let found = rabbitmq::verify(&config, fastrand::Rng::new()).await.expect("it could look");
    let gone = TopologyError::Missing { entity: format!("exchange {exchange}") };
    assert!(found.contains(&gone), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_discarded_and_work_stays_as_it_is() {
    let fixture = Fixture::start().await;
    let mark = |headers: &mut schemas::Headers| headers.set("carteiro-probe", schemas::HeaderValue::Text("1".into()));
    let (fast, slow) = (Target::Lane(Lane::Fast, None), Target::Lane(Lane::Slow, None));
    let far = Target::Lane(Lane::Slow, Some(Due { at: clock()() + 300_000, exact: true }));
    for to in [&fast, &slow, &far] {
        for nth in 0..3 {
            let mut message = message(&format!("s{nth}"));
            mark(&mut message.headers);
            fixture.broker.publish(to, &message).await.expect("confirmed");
        }
    }
    fixture.broker.publish(&slow, &message("work")).await.expect("confirmed");
    rabbitmq::discard(&fixture.config, "carteiro-probe").await.expect("done");
    let left = rabbitmq::contents(&fixture.config).await.expect("it could look").into_iter();
    let left: Vec<_> = left.filter(|queue| queue.ready > 0).map(|queue| (queue.queue, queue.ready)).collect();
    assert_eq!(left, [(fixture.name("deliver.slow"), 1)]);
    rabbitmq::discard(&fixture.config, "carteiro-probe").await.expect("done");
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Slow), 1.into());
    assert_eq!(next(&mut consumer).await.message.id, "work");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_of_a_command_reaches_every_process_and_nobody_where_nothing_is_declared() {
    let fixture = Fixture::start().await;
    let mut notices = fixture.broker.notices();
    rabbitmq::announce(&fixture.config, b"to all").await.expect("said");
    assert_eq!(timeout(TIMEOUT, notices.next()).await.expect("in time").expect("open"), "to all");
    rabbitmq::announce(&nothing_declared().await, b"to nobody").await.expect("nobody hears");
}
