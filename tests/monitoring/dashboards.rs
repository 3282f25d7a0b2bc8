//! The committed dashboards: their queries use exported metrics, and each panel is explained. Grafana itself does not run.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{exported, query, texts};

/// The fields of a dashboard that are checked here.
#[derive(Deserialize)]
pub(crate) struct Dashboard {
    pub(crate) uid: String,
    title: String,
    description: String,
    tags: Vec<String>,
    panels: Vec<Panel>,
    templating: Templating,
}

#[derive(Deserialize)]
struct Templating {
    list: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    datasource: Datasource,
    query: VariableQuery,
}

#[derive(Deserialize)]
struct VariableQuery {
    query: String,
}

#[derive(Deserialize)]
struct Datasource {
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    id: u64,
    r#type: String,
    title: String,
    description: String,
    grid_pos: GridPosition,
    datasource: Option<Datasource>,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct GridPosition {
    h: u64,
    w: u64,
    x: u64,
    y: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    ref_id: String,
    expr: String,
    legend_format: String,
    format: Option<String>,
}

/// All committed dashboards.
pub(crate) fn dashboards() -> Vec<Dashboard> {
    let read = |(path, text): (std::path::PathBuf, String)| {
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    texts("deploy/grafana/dashboards").into_iter().map(read).collect()
}

impl Dashboard {
    /// Its panels' titles and queries, with all variables chosen and rates over `range`.
    pub(crate) fn queries(&self, range: &str) -> Vec<(String, String)> {
        let asked = |target: &Target| self.all_chosen(&target.expr.replace("$__rate_interval", range));
        let of =
            |panel: &Panel| panel.targets.iter().map(|target| (panel.title.clone(), asked(target))).collect::<Vec<_>>();
        self.panels.iter().flat_map(of).collect()
    }

    /// A query with all variables replaced by a pattern that matches everything.
    fn all_chosen(&self, query: &str) -> String {
        let variables = self.templating.list.iter().map(|variable| format!("${}", variable.name));
        variables.fold(query.to_owned(), |query, variable| query.replace(&variable, ".*"))
    }
}

impl GridPosition {
    fn overlaps(self, other: Self) -> bool {
        let apart =
            |at: u64, size: u64, other_at: u64, other_size: u64| at + size <= other_at || other_at + other_size <= at;
        !apart(self.x, self.w, other.x, other.w) && !apart(self.y, self.h, other.y, other.h)
    }
}

#[test]
fn every_query_of_a_dashboard_uses_only_metrics_that_are_exported() {
    let exported = exported();
    for dashboard in dashboards() {
        let legends = dashboard.panels.iter().flat_map(|panel| &panel.targets).map(|target| &target.legend_format);
        for ((panel, query), legend) in dashboard.queries("5m").into_iter().zip(legends) {
            let place = format!("{}, {panel}", dashboard.title);
            assert!(!query.contains('$'), "{place}: {query} has a variable that there is not");
            let labels = query::labels(&query, &exported).unwrap_or_else(|error| panic!("{place}: {error}"));
            for label in legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label) {
                assert!(labels.contains(label), "{place}: its legend has {label}, the query {labels:?}");
            }
        }
        for variable in &dashboard.templating.list {
            let asked = variable.query.query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (series, label) = asked.and_then(|asked| asked.rsplit_once(", ")).expect("label_values(series, label)");
            let labels = query::labels(&dashboard.all_chosen(series), &exported);
            assert!(labels.is_ok_and(|labels| labels.contains(label)), "{}: {}", dashboard.title, variable.query.query);
            assert_eq!(variable.datasource.uid, "prometheus");
        }
    }
}

#[test]
fn every_panel_asks_a_question_and_says_what_to_do() {
    for dashboard in dashboards() {
        assert!(dashboard.description.ends_with(['?', '.']), "{}", dashboard.title);
        for panel in &dashboard.panels {
            assert!(panel.title.ends_with('?'), "{}: {} is no question", dashboard.title, panel.title);
            assert!(panel.description.ends_with('.'), "{}: {} does not say what to do", dashboard.title, panel.title);
        }
    }
}

#[test]
fn the_panels_of_a_dashboard_stand_side_by_side_in_24_columns() {
    for dashboard in dashboards() {
        for (number, panel) in dashboard.panels.iter().enumerate() {
            let place = panel.grid_pos;
            assert!(place.w > 0 && place.h > 0 && place.x + place.w <= 24, "{}: {place:?}", dashboard.title);
            for other in &dashboard.panels[..number] {
                assert_ne!(panel.id, other.id, "{}", dashboard.title);
                assert!(!place.overlaps(other.grid_pos), "{}: {} and {}", dashboard.title, panel.title, other.title);
            }
        }
    }
}

#[test]
fn every_panel_asks_the_provisioned_prometheus() {
    for dashboard in dashboards() {
        for panel in dashboard.panels.iter().filter(|panel| panel.r#type != "text") {
            let place = format!("{}: {}", dashboard.title, panel.title);
            assert_eq!(panel.datasource.as_ref().map(|source| source.uid.as_str()), Some("prometheus"), "{place}");
            let names: BTreeSet<_> = panel.targets.iter().map(|target| &target.ref_id).collect();
            assert!(!names.is_empty() && names.len() == panel.targets.len(), "{place}");
            let buckets = panel.targets.iter().all(|target| target.format.as_deref() == Some("heatmap"));
            assert_eq!(buckets, panel.r#type == "heatmap", "{place}");
        }
    }
    let sources = texts("deploy/grafana/provisioning/datasources");
    assert!(sources.iter().any(|(_, text)| text.contains("uid: prometheus")), "no data source has that uid");
}

#[test]
fn every_dashboard_leads_to_the_others() {
    let all = dashboards();
    let uids: BTreeSet<_> = all.iter().map(|dashboard| &dashboard.uid).collect();
    assert_eq!(uids.len(), all.len(), "two have the same uid");
    for dashboard in &all {
        assert_eq!(dashboard.tags, ["carteiro"], "{} is not found by the link, which goes by tag", dashboard.title);
    }
}
