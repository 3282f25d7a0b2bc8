//! The metrics that an expression of PromQL uses, and the labels of its result.

use std::collections::BTreeSet;

use promql::{AggregationAction, LabelMatch, LabelMatchOp, Node, Op, OpGroupSide, OpMod, ParserOptions, Vector, parse};

use super::exported::ExportedMetrics;

type Labels = BTreeSet<String>;

/// The labels of an expression's result. An error when it does not parse, or uses something that is not exported.
pub(crate) fn labels(expression: &str, exported: &ExportedMetrics) -> Result<Labels, String> {
    walk(&parsed(expression)?, exported)
}

/// The metrics that an expression names.
pub(crate) fn metrics(expression: &str) -> Result<BTreeSet<String>, String> {
    fn collect(node: &Node, found: &mut BTreeSet<String>) {
        match node {
            Node::Vector(vector) => found.extend(name(vector)),
            Node::Operator { args, .. } | Node::Function { args, .. } => {
                args.iter().for_each(|arg| collect(arg, found));
            }
            Node::Negation(of) => collect(of, found),
            Node::Scalar(_) | Node::String(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    collect(&parsed(expression)?, &mut found);
    Ok(found)
}

fn parsed(expression: &str) -> Result<Node, String> {
    parse(expression, &ParserOptions::new().build()).map_err(|error| format!("{expression}: {error:?}"))
}

fn walk(node: &Node, exported: &ExportedMetrics) -> Result<Labels, String> {
    match node {
        Node::Scalar(_) | Node::String(_) => Ok(Labels::new()),
        Node::Negation(of) => walk(of, exported),
        Node::Vector(vector) => selected(vector, exported),
        Node::Operator { op, args } => {
            let sides = args.iter().map(|side| walk(side, exported)).collect::<Result<Vec<_>, _>>()?;
            joined(op, &sides)
        }
        Node::Function { name, args, aggregation } => {
            let mut labels = Labels::new();
            for arg in args {
                labels.extend(walk(arg, exported)?);
            }
            let aggregation = aggregation.as_ref().map(|of| (&of.action, &of.labels));
            if let Some((_, named)) = aggregation {
                all_in(named, &labels)?;
            }
            Ok(match (name.as_str(), aggregation) {
                (_, Some((AggregationAction::By, named))) => named.iter().cloned().collect(),
                (_, Some((AggregationAction::Without, named))) => &labels - &named.iter().cloned().collect(),
                ("sum" | "max" | "min" | "count" | "avg" | "absent", None) => Labels::new(),
                ("histogram_quantile", None) => &labels - &Labels::from(["le".to_owned()]),
                ("label_replace", None) => labels.into_iter().chain(replaced(args)).collect(),
                (_, None) => labels,
            })
        }
    }
}

/// The label that a `label_replace` makes.
fn replaced(args: &[Node]) -> Option<String> {
    match args.get(1) {
        Some(Node::String(name)) => Some(String::from_utf8_lossy(name).into_owned()),
        _ => None,
    }
}

/// The labels of a binary operation: of the side that may have several matches, or with `or` of all sides. A number has no
/// labels, and the result has those of the other side.
fn joined(op: &Op, sides: &[Labels]) -> Result<Labels, String> {
    let matching = matching(op);
    for side in sides {
        all_in(matching.map_or(&[][..], |of| &of.labels), side)?;
    }
    let right = matching.and_then(|of| of.group.as_ref()).is_some_and(|group| group.side == OpGroupSide::Right);
    Ok(match (op, sides) {
        (Op::Or(_), sides) => sides.iter().flatten().cloned().collect(),
        (_, [_, .., last]) if right => last.clone(),
        (_, sides) => sides.iter().find(|side| !side.is_empty()).cloned().unwrap_or_default(),
    })
}

fn matching(op: &Op) -> Option<&OpMod> {
    match op {
        Op::Pow(of) | Op::Mul(of) | Op::Div(of) | Op::Mod(of) | Op::Plus(of) | Op::Minus(of) => of.as_ref(),
        Op::And(of) | Op::Unless(of) | Op::Or(of) => of.as_ref(),
        Op::Eq(_, of) | Op::Ne(_, of) | Op::Lt(_, of) | Op::Gt(_, of) | Op::Le(_, of) | Op::Ge(_, of) => of.as_ref(),
    }
}

fn name(vector: &Vector) -> Option<String> {
    let name = vector.labels.iter().find(|label| label.name == "__name__")?;
    Some(String::from_utf8_lossy(&name.value).into_owned())
}

fn selected(vector: &Vector, exported: &ExportedMetrics) -> Result<Labels, String> {
    let name = name(vector).ok_or("a selector without a metric's name")?;
    let labels = exported.labels(&name).ok_or_else(|| format!("nobody exports {name}"))?;
    for asked in vector.labels.iter().filter(|label| label.name != "__name__") {
        let values = labels.get(&asked.name).ok_or_else(|| format!("{name} has no label {}", asked.name))?;
        for value in named(asked) {
            if !values.is_empty() && !values.contains(&value) {
                return Err(format!("{name} never has {}={value}", asked.name));
            }
        }
    }
    Ok(labels.keys().cloned().collect())
}

/// The values that a matcher names: one, or the branches of an alternation. A pattern names none.
fn named(asked: &LabelMatch) -> Vec<String> {
    let text = String::from_utf8_lossy(&asked.value);
    let branches: Vec<&str> = match asked.op {
        LabelMatchOp::Eq | LabelMatchOp::Ne => vec![&text],
        LabelMatchOp::REq | LabelMatchOp::RNe => text.split('|').collect(),
    };
    // Prometheus 3 writes a bound as 30.0, before it is 30.
    let plain = branches.into_iter().map(|branch| branch.strip_suffix(r"(\.0)?").unwrap_or(branch));
    plain.filter(|value| !value.contains(['.', '*', '+', '(', '$'])).map(str::to_owned).collect()
}

fn all_in(named: &[String], labels: &Labels) -> Result<(), String> {
    match named.iter().find(|label| !labels.contains(*label)) {
        Some(missing) => Err(format!("there is no label {missing} among {labels:?}")),
        None => Ok(()),
    }
}

#[test]
fn a_query_of_a_metric_that_nobody_exports_is_refused() {
    let exported = super::exported();
    for (query, refused) in [
        ("carteiro_no_such_total", "nobody exports"),
        ("carteiro_attempts_total{tenant=\"a\"}", "has no label tenant"),
        ("carteiro_attempts_total{outcome=~\"2xx|6xx\"}", "never has outcome=6xx"),
        ("carteiro_lateness_seconds_bucket{le=~\"31(\\\\.0)?\"}", "never has le=31"),
        ("sum by (queue) (carteiro_attempts_total)", "no label queue"),
        ("sum by (lane) (sum(carteiro_attempts_total))", "no label lane"),
        ("carteiro_attempts_total / on (stage) carteiro_slots_limit", "no label stage"),
        ("sum(rate(carteiro_attempts_total[5m])", "carteiro_attempts_total"),
    ] {
        let error = labels(query, &exported).expect_err(query);
        assert!(error.contains(refused), "{query}: {error}");
    }
}

#[test]
fn the_labels_of_a_result_are_known() {
    let exported = super::exported();
    for (query, expected) in [
        ("sum by (lane) (rate(carteiro_attempts_total{outcome!=\"2xx\"}[5m]))", &["lane"][..]),
        ("histogram_quantile(0.9, sum by (le, kind) (carteiro_lateness_seconds_bucket))", &["kind"]),
        ("time() - max by (role) (process_start_time_seconds)", &["role"]),
        ("label_replace(absent(up{role=\"router\"}), \"role\", \"router\", \"\", \"\")", &["role"]),
        ("max(up) - on () group_right () sum by (stage, instance) (carteiro_slots_limit)", &["instance", "stage"]),
    ] {
        let labels = labels(query, &exported).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(labels.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{query}");
    }
}
