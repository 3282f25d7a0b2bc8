//! The calls that the verbs are, and what is printed of their answers.

use serde_json::{Map, Value, json};
use service::Exit;

use super::{
    home::{At, Home, segment},
    kind::{Kind, Step},
    show,
};
use crate::cli::{
    client::{Client, Method},
    print,
    refused::Refused,
    setup::{Output, Setup},
    table,
};

/// As many of a list as the API gives at once.
const PAGE: usize = 1_000;

/// A collection, asked for by a command.
pub(crate) struct Place {
    client: Client,
    path: String,
    /// What follows the thing's id in its path.
    view: &'static str,
    name: &'static str,
    output: Output,
}

impl Place {
    pub(crate) fn of<K: Kind>(setup: &Setup, at: &At<K::Home>) -> anyhow::Result<Self> {
        Self::new(setup, at, K::NAME, K::COLLECTION)
    }

    pub(crate) fn new<H: Home + clap::Args>(
        setup: &Setup,
        at: &At<H>,
        name: &'static str,
        collection: &str,
    ) -> anyhow::Result<Self> {
        let client = Client::new(&at.api, &setup.load(&[])?.config)?;
        Ok(Self { client, path: at.home.path(collection), view: "", name, output: at.output })
    }

    /// Not the things themselves, but what is at this path below each.
    pub(crate) fn view(self, view: &'static str) -> Self {
        Self { view, ..self }
    }

    fn path_of(&self, id: &str) -> String {
        format!("{}/{}{}", self.path, segment(id), self.view)
    }

    pub(crate) async fn list(&self, columns: &[(&str, &str)]) -> anyhow::Result<Exit> {
        let mut rows = table::of(columns.iter().map(|(heading, _)| *heading));
        let mut cursor = None::<String>;
        loop {
            let after = cursor.map_or(String::new(), |cursor| format!("&cursor={}", segment(&cursor)));
            let path = format!("{}?limit={PAGE}{after}", self.path);
            let page: Page = self.client.call(Method::GET, &path, None).await?;
            for item in &page.items {
                match self.output {
                    Output::Json => print::json(item)?,
                    Output::Table => {
                        rows.add_row(columns.iter().map(|(_, field)| show::cell(&item[field])));
                    }
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        if self.output == Output::Table {
            print::line(rows)?;
        }
        Ok(Exit::Done)
    }

    pub(crate) async fn show(&self, id: &str) -> anyhow::Result<Exit> {
        self.print(&self.client.call(Method::GET, &self.path_of(id), None).await?)
    }

    /// With an id of ours nothing must be there yet; else the API makes an id.
    pub(crate) async fn create(&self, id: Option<&str>, body: Map<String, Value>) -> anyhow::Result<Exit> {
        let body = Value::from(body).to_string();
        let (is_new, made) = match id {
            Some(id) => {
                self.client.write(Method::PUT, &self.path_of(id), body, true).await.map_err(|e| self.taken(id, e))?
            }
            None => self.client.write(Method::POST, &self.path, body, false).await?,
        };
        self.written(is_new, made["id"].as_str().or(id).unwrap_or_default(), &made)
    }

    /// That there was something already, in words that fit.
    fn taken(&self, id: &str, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref::<Refused>() {
            Some(Refused { status: 412, .. }) => {
                anyhow::anyhow!("{} {id} is there already: `set` replaces it", self.name)
            }
            _ => error,
        }
    }

    pub(crate) async fn write(&self, method: Method, id: &str, body: Map<String, Value>) -> anyhow::Result<Exit> {
        let body = Value::from(body).to_string();
        let (is_new, written) = self.client.write(method, &self.path_of(id), body, false).await?;
        self.written(is_new, id, &written)
    }

    fn written(&self, is_new: bool, id: &str, written: &Value) -> anyhow::Result<Exit> {
        match self.output {
            Output::Json => print::json(written)?,
            Output::Table => {
                let done = if is_new { "created" } else { "changed" };
                print::line(format_args!("{} {id} {done}", self.name))?;
                show::once_only(written)?;
            }
        }
        if show::is_once_only(written) {
            show::say_so();
        }
        Ok(Exit::Done)
    }

    pub(crate) async fn delete(&self, id: &str) -> anyhow::Result<Exit> {
        let gone: Value = self.client.call(Method::DELETE, &self.path_of(id), None).await?;
        if self.output == Output::Json {
            print::json(&gone)?;
            return Ok(Exit::Done);
        }
        // A view says of itself alone that it is gone.
        let own = vec![json!({"kind": self.name, "id": id})];
        for one in gone["deleted"].as_array().unwrap_or(&own) {
            print::line(format_args!("{} {} deleted", show::cell(&one["kind"]), show::cell(&one["id"])))?;
        }
        if let Some(detail) = gone["detail"].as_str() {
            anstream::eprintln!("{detail}");
        }
        Ok(Exit::Done)
    }

    /// Does it; an attempt in the answer that did not succeed is a failure.
    pub(crate) async fn step(&self, id: &str, step: Step) -> anyhow::Result<Exit> {
        let path = format!("{}{}", self.path_of(id), step.path);
        let answer: Value = self.client.call(step.method, &path, step.body.map(|body| body.to_string())).await?;
        match (self.output, step.done) {
            (Output::Table, Some(done)) => {
                print::line(format_args!("{} {id} {done}", self.name))?;
                show::once_only(&answer)?;
            }
            _ => {
                self.print(&answer)?;
                let outcome = answer["attempt"]["outcome"].as_str();
                return Ok(if outcome.is_none_or(|outcome| outcome == "2xx") { Exit::Done } else { Exit::Failed });
            }
        }
        if show::is_once_only(&answer) {
            show::say_so();
        }
        if let Some(offer) = answer["replayable"]["detail"].as_str() {
            anstream::eprintln!("{offer}");
        }
        Ok(Exit::Done)
    }

    fn print(&self, value: &Value) -> anyhow::Result<Exit> {
        match self.output {
            Output::Json => print::json(value)?,
            Output::Table => show::fields(value)?,
        }
        Ok(Exit::Done)
    }
}

/// A page of a list.
#[derive(serde::Deserialize)]
struct Page {
    items: Vec<Value>,
    next: Option<String>,
}
