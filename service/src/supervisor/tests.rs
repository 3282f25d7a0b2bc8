use std::{process::Command, sync::Arc};

use schemas::Span;
use tokio_util::sync::CancellationToken;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Looks every five seconds, at a process that is stuck or not, and returns what each look means.
fn looks<const N: usize>(max_stuck: Duration, is_stuck: [bool; N]) -> [Look; N] {
    let (mut looks, mut now) = (Looks { max_stuck, stuck_since: None }, Instant::now());
    is_stuck.map(|is_stuck| {
        now += 5 * SECOND;
        looks.add(is_stuck, now)
    })
}

#[test]
fn a_process_is_stuck_for_too_long_when_every_look_within_the_limit_finds_it_so() {
    use Look::{Alive, Stuck, StuckForTooLong};
    let seen = [false, true, true, true, false, true, true, true, true, true];
    let expected = [Alive, Stuck, Stuck, Stuck, Alive, Stuck, Stuck, Stuck, StuckForTooLong, StuckForTooLong];
    assert_eq!(looks(15 * SECOND, seen), expected);
    assert_eq!(looks(Duration::ZERO, [true; 200]), [Stuck; 200], "without a limit");
}

#[test]
fn looks_are_at_least_twice_as_frequent_as_the_service_manager_demands() {
    let pause = |max_stuck: u64, watchdog: Option<u64>| {
        pause(Duration::from_secs(max_stuck), watchdog.map(Duration::from_secs)).as_millis()
    };
    assert_eq!((pause(30, None), pause(0, Some(60)), pause(30, Some(0))), (5_000, 5_000, 5_000));
    assert_eq!((pause(30, Some(3)), pause(1, Some(60))), (1_500, 500));
}

/// Name of the variable that makes a run of the test below the stuck process itself.
const IS_STUCK: &str = "CARTEIRO_TEST_IS_STUCK";

#[tokio::test]
async fn a_stuck_process_ends_with_70_although_its_runtime_is_blocked() {
    if std::env::var_os(IS_STUCK).is_some() {
        tracing_subscriber::fmt().json().init();
        let ops = Ops::new(Arc::default(), CancellationToken::new());
        ops.alive("router", || Err("its loop has not turned for 61 s".to_owned()));
        let config = OpsConfig { listen: String::new(), max_stuck: Span(SECOND / 100) };
        start(ops, &config).unwrap();
        loop {
            thread::park();
        }
    }
    let test = "supervisor::tests::a_stuck_process_ends_with_70_although_its_runtime_is_blocked";
    let mut process = Command::new(std::env::current_exe().unwrap());
    let output = process.args(["--exact", test, "--nocapture"]).env(IS_STUCK, "yes").output().unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(70), "{log}");
    assert!(log.contains(r#""message":"process.stuck","error":"router: its loop has not turned for 61 s""#), "{log}");
}
