//! The committed rules: they use only metrics that are exported, each alert has its runbook, and promtool's cases cover
//! each alert both firing and silent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{committed, exported, query, texts};
use crate::{harness::prometheus_tools, published::anchor};

const RULES: &str = "deploy/prometheus/rules";
const CASES: &str = "deploy/prometheus/tests";

/// A recording rule or an alert.
#[derive(Deserialize)]
pub(crate) struct Rule {
    pub(crate) record: Option<String>,
    pub(crate) alert: Option<String>,
    pub(crate) expr: String,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The files of a folder, read as YAML.
fn files<T: DeserializeOwned>(folder: &str) -> impl Iterator<Item = T> + use<T> {
    let read = |(path, text): (PathBuf, String)| {
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    texts(folder).into_iter().map(read)
}

/// All committed rules.
pub(crate) fn rules() -> impl Iterator<Item = Rule> {
    #[derive(Deserialize)]
    struct File {
        groups: Vec<Group>,
    }
    #[derive(Deserialize)]
    struct Group {
        rules: Vec<Rule>,
    }
    files::<File>(RULES).flat_map(|file| file.groups).flat_map(|group| group.rules)
}

fn alerts() -> impl Iterator<Item = (String, Rule)> {
    rules().filter_map(|mut rule| Some((rule.alert.take()?, rule)))
}

fn promtool(arguments: &[&str], files: &[PathBuf]) {
    let output =
        Command::new(prometheus_tools().join("promtool")).args(arguments).args(files).output().expect("promtool runs");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

/// The fields of promtool's test cases that are checked here.
#[derive(Deserialize)]
struct Case {
    name: String,
    input_series: Vec<Input>,
    promql_expr_test: Vec<Expected>,
}

#[derive(Deserialize)]
struct Input {
    series: String,
}

#[derive(Deserialize)]
struct Expected {
    expr: String,
    exp_samples: Vec<serde_json::Value>,
}

fn cases() -> Vec<Case> {
    #[derive(Deserialize)]
    struct File {
        tests: Vec<Case>,
    }
    files::<File>(CASES).flat_map(|file| file.tests).collect()
}

/// The scraped metrics that an expression needs, also through recorded ones.
fn scraped(expression: &str, recorded: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let named = query::metrics(expression).expect(expression);
    named
        .into_iter()
        .flat_map(|name| match recorded.get(&name) {
            None => BTreeSet::from([name]),
            Some(expressions) => expressions.iter().flat_map(|expression| scraped(expression, recorded)).collect(),
        })
        .collect()
}

/// The labels that a template names.
fn named(template: &str) -> impl Iterator<Item = &str> {
    let after = template.split("$labels.").skip(1);
    after
        .map(|rest| &rest[..rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len())])
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules_and_runs_their_cases() {
    promtool(&["check", "config"], &[committed("deploy/prometheus/prometheus.yml")]);
    promtool(&["check", "rules"], &texts(RULES).into_iter().map(|(path, _)| path).collect::<Vec<_>>());
    promtool(&["test", "rules"], &texts(CASES).into_iter().map(|(path, _)| path).collect::<Vec<_>>());
}

#[test]
fn every_rule_uses_only_metrics_that_are_exported() {
    let exported = exported();
    for rule in rules() {
        let name = rule.alert.as_ref().or(rule.record.as_ref()).expect("it has a name");
        let mut labels = query::labels(&rule.expr, &exported).unwrap_or_else(|error| panic!("{name}: {error}"));
        labels.extend(rule.labels.keys().cloned());
        for text in rule.annotations.values() {
            for label in named(text) {
                assert!(labels.contains(label), "{name} speaks of {label}, and has {labels:?}");
            }
        }
    }
}

#[test]
fn every_alert_has_a_severity_a_description_and_a_runbook() {
    let page = fs::read_to_string(committed("docs/operations.md")).expect("the runbooks");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### ").or(line.strip_prefix("## ")));
    let anchors: BTreeSet<_> = headings.map(anchor).collect();
    for (name, rule) in alerts() {
        let severity = rule.labels["severity"].as_str();
        assert!(["page", "ticket"].contains(&severity), "{name}: {severity}");
        for text in ["summary", "description"] {
            assert!(!rule.annotations[text].is_empty(), "{name} has no {text}");
        }
        let (file, section) = rule.annotations["runbook_url"].split_once('#').expect("a section");
        assert_eq!((file, section), ("docs/operations.md", anchor(&name).as_str()), "{name}");
        assert!(anchors.contains(section), "docs/operations.md has no section {name}");
        let (_, told) = page.split_once(&format!("### {name}\n\n")).expect("its section");
        assert!(told.starts_with(&format!("*{severity}.* ")), "its section says another severity: {name}");
    }
    for section in anchors.iter().filter(|section| section.starts_with("carteiro")) {
        assert!(alerts().any(|(name, _)| anchor(&name) == *section), "there is no alert {section} any more");
    }
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_is_silent_on_the_same_metrics() {
    let mut recorded = BTreeMap::<_, Vec<_>>::new();
    for (name, rule) in rules().filter_map(|mut rule| Some((rule.record.take()?, rule))) {
        recorded.entry(name).or_default().push(rule.expr);
    }
    let exported = exported();
    for (name, rule) in alerts() {
        let asks = format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}");
        let (fires, silent) = (format!("{name} fires "), format!("{name} is silent "));
        let needed = scraped(&rule.expr, &recorded);
        let mut seen = [false; 2];
        for case in cases().iter().filter(|case| case.name.starts_with(&fires) || case.name.starts_with(&silent)) {
            let expects = case.name.starts_with(&fires);
            for asked in &case.promql_expr_test {
                assert_eq!((&asked.expr, asked.exp_samples.is_empty()), (&asks, !expects), "{}", case.name);
            }
            let given: BTreeSet<_> =
                case.input_series.iter().flat_map(|input| query::metrics(&input.series).expect("a series")).collect();
            for input in &case.input_series {
                query::labels(&input.series, &exported).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            }
            // A burn rate can be that of any objective, and each of them has metrics of its own.
            let burns = rule.expr.contains("carteiro:slo_burn");
            let whole = if burns { needed.is_superset(&given) } else { needed.is_subset(&given) };
            seen[usize::from(expects)] |= whole && !case.promql_expr_test.is_empty() && !given.is_empty();
        }
        assert_eq!(seen, [true; 2], "{name}: a case is missing, or gives it less than {needed:?}");
    }
}
