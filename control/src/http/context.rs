//! A request as handlers take it: its target, its sender, and its body, which is read only when a handler asks for it.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{
    RequestPartsExt as _,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderMap, request::Parts},
};
use bytes::Bytes;
use schemas::{KeyHash, Scope, Strictness};
use serde_json::Value;
use service::{
    http::{RequestOrigin, bearer, parameters, require_json, strictness},
    problem::{Code, Problem},
};
use store::{Access, Author, Principal, StoreError, TenantSnapshot, admit};

use super::problems;
use crate::{Control, settings::Object};

/// A request without its body, and the control that serves it.
pub(crate) struct RequestContext {
    pub(crate) control: Arc<Control>,
    path: HashMap<String, String>,
    parts: Parts,
}

pub(crate) struct RequestBody(Request);

/// The authorized sender of a request.
#[derive(Clone, Debug)]
pub(crate) struct Authorization {
    /// The tenant that the request is about. None for a request about all tenants, or about one that need not exist.
    pub(crate) tenant: Option<Arc<TenantSnapshot>>,
    /// Scopes of the presented key. None stands for everything, which only the operator may do.
    pub(crate) scopes: Option<Vec<Scope>>,
    pub(crate) author: Author,
}

/// The key that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// The operator's key.
    Operator,
    /// A key of the path's tenant with this scope, or the operator's key.
    Scope(Scope),
}

impl FromRequestParts<Arc<Control>> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Arc<Control>) -> Result<Self, Problem> {
        // A path that is not UTF-8 belongs to no resource.
        let path = parts.extract::<RawPathParams>().await.map_err(|_| Code::NotFound)?;
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { control: control.clone(), path, parts: parts.clone() })
    }
}

impl FromRequest<Arc<Control>> for RequestBody {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &Arc<Control>) -> Result<Self, Infallible> {
        Ok(Self(request))
    }
}

impl RequestContext {
    pub(crate) fn path_parameter(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    pub(crate) fn path(&self) -> &str {
        self.parts.uri.path()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Parses the parameters of the query. Refuses those that are not in `known`.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
        parameters(self.parts.uri.query().unwrap_or_default(), known)
    }

    /// Reads the query of a change, which may have `strict` and nothing else.
    pub(crate) fn strictness(&self) -> Result<Strictness, Problem> {
        self.query(&["strict"])?;
        strictness(self.parts.uri.query().unwrap_or_default())
    }

    pub(crate) async fn authorize(&self, needed: Permission) -> Result<Authorization, Problem> {
        match needed {
            Permission::Operator => self.operator().await,
            Permission::Scope(scope) => self.tenant(scope).await,
        }
    }

    /// Authorizes a request about the tenant of the path.
    pub(crate) async fn tenant(&self, scope: Scope) -> Result<Authorization, Problem> {
        let deps = &self.control.deps;
        let (presented, tenant, now) = (bearer(self.headers()), self.path_parameter("tenant"), (deps.clock)());
        let access = admit(&*deps.store, deps.operator, presented, tenant, scope, now).await;
        let Access { tenant, principal } = access.map_err(|denied| problems::denied(&denied))?;
        let (scopes, name) = match principal {
            Principal::Operator => (None, "operator".to_owned()),
            Principal::Key(id) => {
                let key = tenant.keys.iter().find(|key| key.id == id);
                (Some(key.map(|key| key.scopes.clone()).unwrap_or_default()), format!("key:{}/{id}", tenant.id))
            }
        };
        Ok(Authorization { tenant: Some(tenant), scopes, author: self.author(name) })
    }

    /// Authorizes a request that only the operator may make, about all tenants or about one that need not exist.
    pub(crate) async fn operator(&self) -> Result<Authorization, Problem> {
        match (self.key_owner().await?, self.path.get("tenant")) {
            (None, _) => Ok(Authorization { tenant: None, scopes: None, author: self.author("operator".to_owned()) }),
            (Some(owner), Some(tenant)) if owner != *tenant => Err(problems::denied(&store::Denied::OtherTenant)),
            _ => Err(Problem::new(Code::Forbidden).detail("only the operator's key allows this")),
        }
    }

    /// Authorizes a request that any valid key allows. Returns the key's tenant; none for the operator's key.
    pub(crate) async fn key_owner(&self) -> Result<Option<String>, Problem> {
        let deps = &self.control.deps;
        let presented = bearer(self.headers()).ok_or(Code::Unauthorized)?;
        if deps.operator == Some(KeyHash::of(presented)) {
            return Ok(None);
        }
        let now = (deps.clock)();
        let owner = || deps.store.snapshot().and_then(|snapshot| Some(snapshot.key(presented, now)?.0.id.clone()));
        match owner() {
            Some(owner) => Ok(Some(owner)),
            None => {
                deps.store.pull().await.map_err(|error| problems::store_unavailable(&error))?;
                Ok(Some(owner().ok_or(Code::Unauthorized)?))
            }
        }
    }

    /// Searches the snapshot, and searches once more after a pull when nothing is found.
    pub(crate) async fn find<T>(&self, look: impl Fn(&store::Snapshot) -> Option<T>) -> Result<T, Problem> {
        let store = &self.control.deps.store;
        let unread = || problems::store_unavailable(&StoreError("nothing was read yet".to_owned()));
        let snapshot = || store.snapshot().ok_or_else(unread);
        match look(&*snapshot()?) {
            Some(found) => Ok(found),
            None => {
                store.pull().await.map_err(|error| problems::store_unavailable(&error))?;
                look(&*snapshot()?).ok_or_else(|| Code::NotFound.into())
            }
        }
    }

    fn author(&self, name: String) -> Author {
        Author { name, address: self.parts.extensions.get::<RequestOrigin>().map(|origin| origin.client) }
    }
}

impl RequestBody {
    /// Reads the body as a JSON object. An empty body is an empty object.
    pub(crate) async fn object_or_nothing(self) -> Result<Object, Problem> {
        match self.bytes().await? {
            (_, bytes) if bytes.is_empty() => Ok(Object::new()),
            (headers, bytes) => object(&headers, &bytes),
        }
    }

    pub(crate) async fn object(self) -> Result<Object, Problem> {
        let (headers, bytes) = self.bytes().await?;
        object(&headers, &bytes)
    }

    /// Reads the body as it was sent, with the request's headers.
    pub(crate) async fn bytes(self) -> Result<(HeaderMap, Bytes), Problem> {
        let headers = self.0.headers().clone();
        Ok((headers, Bytes::from_request(self.0, &()).await?))
    }
}

fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Object, Problem> {
    require_json(headers)?;
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::new(Code::InvalidBody).error("", "expected an object")),
        // The parser's messages give a line and a column, and repeat no value.
        Err(error) => Err(Problem::new(Code::MalformedJson).detail(error.to_string())),
    }
}

impl Authorization {
    /// Id of the tenant that the request is about; empty when it is about all tenants.
    pub(crate) fn tenant_id(&self) -> &str {
        self.tenant.as_ref().map_or("", |tenant| &tenant.id)
    }
}
