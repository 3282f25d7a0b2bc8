//! A collection of the API, and the output of its answers.

use schemas::MASK;
use serde_json::{Map, Value, json};
use service::Exit;

use super::arguments::{CollectionArgs, Owner};
use crate::cli::{
    client::{ApiRefusal, Change, Client, Method, path_segment},
    output::{self, List, Output, cell},
    setup::Setup,
};

/// Largest page of the API.
const PAGE: usize = 1_000;

/// Fields whose values the API shows only in the answer that makes them.
const SHOWN_ONCE: [&str; 4] = ["secret", "token", "path", "key"];

/// A collection of resources.
pub(super) struct Collection {
    client: Client,
    /// Where vendors reach the sources.
    public_url: String,
    path: String,
    /// Part of the path after the resource's id; empty for the resource itself.
    view: &'static str,
    name: &'static str,
    output: Output,
}

pub(crate) struct Action {
    pub(super) method: Method,
    /// Part of the path after the resource's own.
    pub(super) path: &'static str,
    pub(super) body: Option<Value>,
    /// Message about the resource, such as `enabled`. Without it, the answer is printed.
    pub(super) done: Option<&'static str>,
}

impl Action {
    pub(super) fn post(path: &'static str, done: Option<&'static str>) -> Self {
        Self { method: Method::POST, path, body: None, done }
    }
}

#[derive(serde::Deserialize)]
struct ResourcePage {
    items: Vec<Value>,
    next: Option<String>,
}

impl Collection {
    pub(super) fn open<O: Owner>(
        setup: &Setup,
        args: &CollectionArgs<O>,
        name: &'static str,
        collection: &str,
        view: &'static str,
    ) -> anyhow::Result<Self> {
        let client = Client::new(&args.api, setup)?;
        let public_url = setup.load(&[])?.config.http.public_url.map(|url| url.to_string());
        let public_url = public_url.unwrap_or_else(|| client.server().to_string());
        Ok(Self { client, public_url, path: args.owner.path(collection), view, name, output: args.output })
    }

    fn path_of(&self, id: &str) -> String {
        format!("{}/{}{}", self.path, path_segment(id), self.view)
    }

    pub(super) async fn list(&self, columns: &[(&str, &str)], shows: impl Fn(&Value) -> bool) -> anyhow::Result<Exit> {
        let mut list = List::new(self.output, columns.iter().map(|(heading, _)| *heading));
        let mut cursor = None::<String>;
        loop {
            let after = cursor.map_or(String::new(), |cursor| format!("&cursor={}", path_segment(&cursor)));
            let path = format!("{}?limit={PAGE}{after}", self.path);
            let page: ResourcePage = self.client.call(Method::GET, &path, None).await?;
            for item in page.items.iter().filter(|item| shows(item)) {
                let at = |path: &str| path.split('.').fold(item, |within, field| &within[field]);
                list.push(item, || columns.iter().map(|(_, path)| cell(at(path))).collect())?;
            }
            cursor = page.next;
            if cursor.is_none() {
                return list.end();
            }
        }
    }

    pub(super) async fn show(&self, id: &str) -> anyhow::Result<Exit> {
        self.print(&self.client.call(Method::GET, &self.path_of(id), None).await?)
    }

    /// Creates a resource with this id, or with one from the API. An existing id is refused.
    pub(super) async fn create(&self, id: Option<&str>, body: Map<String, Value>) -> anyhow::Result<Exit> {
        let body = Value::from(body).to_string();
        let (change, created) = match id {
            Some(id) => {
                let created = self.client.write(Method::PUT, &self.path_of(id), body, true).await;
                created.map_err(|error| self.explain_conflict(id, error))?
            }
            None => self.client.write(Method::POST, &self.path, body, false).await?,
        };
        self.print_written(change, created["id"].as_str().or(id).unwrap_or_default(), &created)
    }

    /// Explains a failed precondition: the id is taken.
    fn explain_conflict(&self, id: &str, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref::<ApiRefusal>() {
            Some(ApiRefusal { status: 412, .. }) => {
                anyhow::anyhow!("{} {id} is there already: `set` replaces it", self.name)
            }
            _ => error,
        }
    }

    pub(super) async fn write(&self, method: Method, id: &str, body: Map<String, Value>) -> anyhow::Result<Exit> {
        let body = Value::from(body).to_string();
        let (change, written) = self.client.write(method, &self.path_of(id), body, false).await?;
        self.print_written(change, id, &written)
    }

    fn print_written(&self, change: Change, id: &str, written: &Value) -> anyhow::Result<Exit> {
        match self.output {
            Output::Json => output::json(written)?,
            Output::Table => {
                output::line(format_args!("{} {id} {change}", self.name))?;
                self.print_issued(written)?;
            }
        }
        if !issued(written).is_empty() {
            warn_shown_once();
        }
        Ok(Exit::Done)
    }

    /// Deletes a resource, and prints everything that was deleted with it.
    pub(super) async fn delete(&self, id: &str) -> anyhow::Result<Exit> {
        let answer: Value = self.client.call(Method::DELETE, &self.path_of(id), None).await?;
        if self.output == Output::Json {
            output::json(&answer)?;
            return Ok(Exit::Done);
        }
        // The answer about a view has no list: only the view was deleted.
        let itself = vec![json!({"kind": self.name, "id": id})];
        for one in answer["deleted"].as_array().unwrap_or(&itself) {
            output::line(format_args!("{} {} deleted", cell(&one["kind"]), cell(&one["id"])))?;
        }
        if let Some(detail) = answer["detail"].as_str() {
            anstream::eprintln!("{detail}");
        }
        Ok(Exit::Done)
    }

    /// Calls an action of a resource. Returns [`Exit::Failed`] if the answer has an attempt without a 2xx.
    pub(super) async fn act(&self, id: &str, action: Action) -> anyhow::Result<Exit> {
        let path = format!("{}{}", self.path_of(id), action.path);
        let answer: Value = self.client.call(action.method, &path, action.body.map(|body| body.to_string())).await?;
        match (self.output, action.done) {
            (Output::Table, Some(done)) => {
                output::line(format_args!("{} {id} {done}", self.name))?;
                self.print_issued(&answer)?;
            }
            _ => {
                self.print(&answer)?;
                let outcome = answer["attempt"]["outcome"].as_str();
                return Ok(if outcome.is_none_or(|outcome| outcome == "2xx") { Exit::Done } else { Exit::Failed });
            }
        }
        if !issued(&answer).is_empty() {
            warn_shown_once();
        }
        if let Some(offer) = answer["replayable"]["detail"].as_str() {
            anstream::eprintln!("{offer}");
        }
        Ok(Exit::Done)
    }

    /// Prints the issued secrets, and the public key for receivers, which is always available.
    fn print_issued(&self, answer: &Value) -> anyhow::Result<()> {
        let mut lines = issued(answer);
        for (name, text) in lines.iter_mut().filter(|(name, _)| name == "path") {
            // The platform's screen wants the whole URL.
            (*name, *text) = ("url".to_owned(), format!("{}{text}", self.public_url));
        }
        lines.extend(answer["public_key"].as_str().map(|key| ("public_key".to_owned(), key.to_owned())));
        output::aligned(&lines)
    }

    fn print(&self, value: &Value) -> anyhow::Result<Exit> {
        match self.output {
            Output::Json => output::json(value)?,
            Output::Table => output::fields(value)?,
        }
        Ok(Exit::Done)
    }
}

/// The newly issued secrets in an answer. Masked ones were issued before.
fn issued(answer: &Value) -> Vec<(String, String)> {
    let shown = SHOWN_ONCE.iter().filter_map(|name| Some((*name, answer.get(name)?.as_str()?)));
    shown.filter(|(_, text)| *text != MASK).map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// Warns on stderr that the printed secrets are not shown again.
pub(crate) fn warn_shown_once() {
    anstream::eprintln!("Secrets are shown only now: keep them.");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_masked_secret_was_not_issued_by_this_answer() {
        assert_eq!(issued(&json!({"token": "***", "id": "main"})), []);
        assert_eq!(issued(&json!({"token": "in_x", "path": "/v1/in/in_x"})).len(), 2);
    }
}
