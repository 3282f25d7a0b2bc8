//! A request as handlers take it: who asks, for what, and with which body, which is not read before it is asked for.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use aide::OperationInput;
use axum::{
    RequestPartsExt as _,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, request::Parts},
};
use bytes::Bytes;
use schemas::{KeyHash, Scope};
use serde_json::Value;
use service::{
    http::{RequestOrigin, bearer, is_json},
    problem::{Code, Problem},
};
use store::{Access, Author, Principal, StoreError, TenantSnapshot, admit};

use super::denied;
use crate::{Control, settings::Object};

/// A request without its body.
pub(crate) struct Call {
    pub(crate) control: Arc<Control>,
    path: HashMap<String, String>,
    parts: Parts,
}

/// A request's body.
pub(crate) struct Input(Request);

/// Who asks, and may.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// Whose things it is about; none where it is about all tenants.
    pub(crate) tenant: Option<Arc<TenantSnapshot>>,
    /// What the caller's key allows; none is everything.
    pub(crate) scopes: Option<Vec<Scope>>,
    /// For the audit log.
    pub(crate) author: Author,
}

impl FromRequestParts<Arc<Control>> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, Problem> {
        // What is not even text names nothing.
        let path = parts.extract::<RawPathParams>().await.map_err(|_| Code::NotFound)?;
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { control: control.clone(), path, parts: parts.clone() })
    }
}

impl FromRequest<Arc<Control>> for Input {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &Arc<Control>) -> Result<Self, Infallible> {
        Ok(Self(request))
    }
}

/// What they hold is described where the routes are.
impl OperationInput for Call {}
impl OperationInput for Input {}

impl Call {
    /// A part of the path, unescaped.
    pub(crate) fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The path as it was asked for.
    pub(crate) fn path(&self) -> &str {
        self.parts.uri.path()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The parameters of the query, of which only these are known.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
        let query = self.parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                let detail = format!("unknown parameter, {}", service::suggest::suggestion(name, known));
                Err(Problem::new(Code::InvalidParameter).detail(detail))
            }
            None => Ok(pairs),
        }
    }

    /// Leave to do what needs `scope` for the tenant of the path.
    pub(crate) async fn tenant(&self, scope: Scope) -> Result<Who, Problem> {
        let deps = &self.control.deps;
        let (presented, tenant, now) = (bearer(self.headers()), self.part("tenant"), (deps.clock)());
        let access = admit(&*deps.store, deps.operator, presented, tenant, scope, now).await;
        let Access { tenant, principal } = access.map_err(|denied| denied::problem(&denied))?;
        let (scopes, name) = match principal {
            Principal::Operator => (None, "operator".to_owned()),
            Principal::Key(id) => {
                let key = tenant.keys.iter().find(|key| key.id == id);
                (Some(key.map(|key| key.scopes.clone()).unwrap_or_default()), format!("key:{}/{id}", tenant.id))
            }
        };
        Ok(Who { tenant: Some(tenant), scopes, author: self.author(name) })
    }

    /// Leave to do what only the operator may: with all tenants, or with the one of the path, which need not exist.
    pub(crate) async fn operator(&self) -> Result<Who, Problem> {
        let deps = &self.control.deps;
        let presented = bearer(self.headers()).ok_or(Code::Unauthorized)?;
        if deps.operator == Some(KeyHash::of(presented)) {
            return Ok(Who { tenant: None, scopes: None, author: self.author("operator".to_owned()) });
        }
        let now = (deps.clock)();
        let owner = || deps.store.snapshot().and_then(|snapshot| Some(snapshot.key(presented, now)?.0.id.clone()));
        let known = match owner() {
            Some(owner) => Some(owner),
            None => {
                deps.store.pull().await.map_err(|error| denied::away(&error))?;
                owner()
            }
        };
        match (known, self.path.get("tenant")) {
            (None, _) => Err(Code::Unauthorized.into()),
            (Some(owner), Some(tenant)) if owner != *tenant => Err(denied::problem(&store::Denied::NoSuchTenant)),
            _ => Err(Problem::new(Code::Forbidden).detail("only the operator's key allows this")),
        }
    }

    /// Looks for something in the snapshot, and once more after a pull before it is said not to be there.
    pub(crate) async fn find<T>(&self, look: impl Fn(&store::Snapshot) -> Option<T>) -> Result<T, Problem> {
        let store = &self.control.deps.store;
        let snapshot = || store.snapshot().ok_or_else(|| denied::away(&StoreError("nothing was read yet".to_owned())));
        match look(&*snapshot()?) {
            Some(found) => Ok(found),
            None => {
                store.pull().await.map_err(|error| denied::away(&error))?;
                look(&*snapshot()?).ok_or_else(|| Code::NotFound.into())
            }
        }
    }

    fn author(&self, name: String) -> Author {
        Author { name, address: self.parts.extensions.get::<RequestOrigin>().map(|origin| origin.client) }
    }
}

impl Input {
    /// The body as a JSON object; nothing at all is an empty one.
    pub(crate) async fn object_or_nothing(self) -> Result<Object, Problem> {
        match self.bytes().await? {
            (_, bytes) if bytes.is_empty() => Ok(Object::new()),
            (headers, bytes) => object(&headers, &bytes),
        }
    }

    /// The body as a JSON object.
    pub(crate) async fn object(self) -> Result<Object, Problem> {
        let (headers, bytes) = self.bytes().await?;
        object(&headers, &bytes)
    }

    /// The body as it is, and the headers that describe it.
    pub(crate) async fn bytes(self) -> Result<(HeaderMap, Bytes), Problem> {
        let headers = self.0.headers().clone();
        Ok((headers, Bytes::from_request(self.0, &()).await?))
    }
}

fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Object, Problem> {
    if !is_json(headers) {
        return Err(Code::UnsupportedMediaType.into());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::new(Code::InvalidBody).error("", "expected an object")),
        // The parser's messages name a line and a column, and no value.
        Err(error) => Err(Problem::new(Code::MalformedJson).detail(error.to_string())),
    }
}

impl Who {
    /// The tenant that it is about.
    pub(crate) fn tenant_id(&self) -> &str {
        self.tenant.as_ref().map_or("", |tenant| &tenant.id)
    }
}
