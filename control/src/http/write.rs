//! Changes a resource: read the body, merge it with the stored resource, decide on a draft, validate, write through
//! [`store::Store::edit`], answer.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use schemars::generate::SchemaSettings;
use schemas::{Strictness, Warning, path_segment};
use serde_json::{Value, json};
use service::{
    http::CHANGED,
    problem::{Code, Problem},
};
use store::{Draft, Edited, ItemKind};

use super::{
    conditions::{Conditions, entity_tag},
    context::{Authorization, RequestBody, RequestContext},
    edit::EditRequest,
    resource::{ChangeContext, Resource, kept_fields, version_of},
};
use crate::settings::{self, Generator, NotRemovable, Object};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteMode {
    /// Creates a resource under a given or generated id (`POST`).
    Create,
    /// Creates or replaces a resource under a given id (`PUT`).
    Replace,
    /// Changes the fields that the body names (`PATCH`).
    Patch,
}

/// The change of one resource that a request asks for.
struct ChangeRequest {
    context: ChangeContext,
    mode: WriteMode,
    body: Object,
    conditions: Conditions,
    strictness: Strictness,
    generator: Generator,
}

pub(crate) struct Written {
    pub(crate) shown: Object,
    /// Fields that are added to this answer and never shown again.
    pub(crate) shown_once: Object,
    /// What is probably a mistake in the resource. This answer has it; it is not stored.
    pub(crate) warnings: Vec<Warning>,
    pub(crate) is_new: bool,
    /// The version before the change. It still holds when nothing was changed.
    pub(crate) version: Option<u64>,
}

/// Field of an answer to a change that lists its warnings. A body may repeat it, and it is ignored.
const WARNINGS: &str = "warnings";

pub(crate) async fn create<R: Resource>(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    write::<R>(request, body, WriteMode::Create).await
}

pub(crate) async fn replace<R: Resource>(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    write::<R>(request, body, WriteMode::Replace).await
}

pub(crate) async fn patch<R: Resource>(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    write::<R>(request, body, WriteMode::Patch).await
}

async fn write<R: Resource>(request: RequestContext, body: RequestBody, mode: WriteMode) -> Result<Response, Problem> {
    let authorized = request.authorize(R::CHANGED_BY).await?;
    let strictness = request.strictness()?;
    let change = ChangeRequest::read::<R>(&request, &authorized, body.object().await?, (mode, strictness))?;
    let location = match mode {
        WriteMode::Create => format!("{}/{}", request.path(), path_segment(&change.context.id)),
        WriteMode::Replace | WriteMode::Patch => request.path().to_owned(),
    };
    let (edit, id) = (EditRequest::of_tenant(&change.context.tenant, authorized.author), change.context.id.clone());
    let (written, edited) = request.control.edit(edit, move |draft| change.decide::<R>(draft)).await?;
    let is_new = written.is_new;
    let mut response = respond::<R>(&id, written, &edited);
    if let (true, Ok(location)) = (is_new, HeaderValue::try_from(location)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(crate) async fn delete<R: Resource>(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.authorize(R::CHANGED_BY).await?;
    request.query(&[])?;
    let (id, conditions) = (request.path_parameter(R::PATH_ID).to_owned(), Conditions::of(request.headers())?);
    let tenant = authorized.tenant.as_ref().map_or_else(|| id.clone(), |tenant| tenant.id.clone());
    R::check_id(&id)?;
    let edit = EditRequest::of_tenant(&tenant, authorized.author);
    let decide = move |draft: &mut Draft| {
        let found = match draft.tenants().get(&tenant) {
            Some(tenant) => R::find(tenant, &id),
            None => R::absent_tenant(&tenant).map(|_| None)?,
        };
        let found = found.ok_or(Code::NotFound)?;
        conditions.check(Some(version_of(&found, |kind, id| draft.version(&tenant, kind, id))))?;
        found.remove(draft, &tenant)
    };
    let (removed, _) = request.control.edit(edit, decide).await?;
    Ok(Json(deleted(&removed)).into_response())
}

impl ChangeRequest {
    fn read<R: Resource>(
        request: &RequestContext,
        authorized: &Authorization,
        mut body: Object,
        (mode, strictness): (WriteMode, Strictness),
    ) -> Result<Self, Problem> {
        let control = &request.control;
        let snapshot = control.deps.store.snapshot().ok_or(Code::Unavailable)?;
        let generator = control.generator();
        let of_path = (mode != WriteMode::Create).then(|| request.path_parameter(R::PATH_ID).to_owned());
        // A request about a tenant itself has its tenant in the id.
        let tenant_of = |id: &str| authorized.tenant.as_ref().map_or(id, |tenant| &tenant.id).to_owned();
        let of_body = take_id::<R>(&mut body, of_path.as_deref())?;
        check_nulls::<R>(&body)?;
        let id = match of_path.or(of_body) {
            Some(id) => id,
            None => generator.id(R::ID_PREFIX, |id| {
                let tenant = snapshot.tenant(&tenant_of(id));
                tenant.is_some_and(|tenant| R::in_snapshot(tenant, id).is_some())
            }),
        };
        let context = ChangeContext {
            tenant: tenant_of(&id),
            id,
            scopes: authorized.scopes.clone(),
            rules: control.deps.rules.clone(),
            snapshot,
        };
        let conditions = Conditions::of(request.headers())?;
        Ok(Self { context, mode, body, conditions, strictness, generator })
    }

    /// Carries the change out on a draft, or explains why it is refused.
    fn decide<R: Resource>(mut self, draft: &mut Draft) -> Result<Written, Problem> {
        R::check_id(&self.context.id)?;
        let stored = draft.tenants().get(&self.context.tenant);
        let before = stored.cloned().map_or_else(|| R::absent_tenant(&self.context.tenant), Ok)?;
        let old = stored.and_then(|tenant| R::find(tenant, &self.context.id));
        if self.mode == WriteMode::Create && old.is_some() {
            return Err(Problem::new(Code::Conflict).detail("the id is already used"));
        }
        let version_in_draft = |kind, id: &str| draft.version(&self.context.tenant, kind, id);
        let version = old.as_ref().and_then(|old| version_of(old, version_in_draft));
        self.conditions.check(old.as_ref().map(|_| version))?;
        if old.is_none() && self.mode != WriteMode::Patch {
            R::check_new_id(&self.context.id)?;
        }
        let (new, shown_once) = self.merge(old.as_ref())?;
        let mut after = before.clone();
        let scope = new.put(&mut after, old.as_ref(), &self.context)?;
        settings::check(&before, &after, scope, &self.context.rules)?;
        let new = R::find(&after, &self.context.id);
        let warnings = new.as_ref().map(|new| new.warnings(&after)).unwrap_or_default();
        if self.strictness.refuses(&warnings) {
            return Err(Problem::warned(&warnings));
        }
        let shown = new.map(|new| new.shown()).unwrap_or_default();
        draft.put(after);
        Ok(Written { shown, shown_once, warnings, is_new: old.is_none(), version })
    }

    /// Merges the body with the stored resource. Returns the new resource and the fields that are shown only once.
    fn merge<R: Resource>(&mut self, old: Option<&R>) -> Result<(R, Object), Problem> {
        let mut body = std::mem::take(&mut self.body);
        body.retain(|name, _| name != WARNINGS && !R::READ_ONLY.contains(&name.as_str()));
        let (kept, stored) = (kept_fields::<R>(), old.map(R::reveal));
        let merged = match (self.mode, &stored) {
            (WriteMode::Patch, Some(stored)) => settings::patched(&kept, stored, body),
            (WriteMode::Patch, None) => return Err(Code::NotFound.into()),
            (_, stored) => settings::replaced(&kept, stored.as_ref(), body),
        };
        let mut merged = merged.map_err(not_removable)?;
        R::check_fields(&merged)?;
        let shown_once = match old {
            Some(_) => Object::new(),
            None => R::generate(&mut merged, &self.generator).map_err(no_randomness)?,
        };
        merged.insert(R::BODY_ID.to_owned(), self.context.id.as_str().into());
        Ok((typed(merged)?, shown_once))
    }
}

/// Takes the id out of a body. Refuses one that differs from the id in the path.
fn take_id<R: Resource>(body: &mut Object, of_path: Option<&str>) -> Result<Option<String>, Problem> {
    let wrong = |message| Err(Problem::new(Code::InvalidBody).error(format!("/{}", R::BODY_ID), message));
    let id = match body.shift_remove(R::BODY_ID) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(id)) => id,
        Some(Value::Number(id)) if R::HAS_PLATFORM_ID && of_path.is_some() => id.to_string(),
        Some(_) => return wrong("expected a text"),
    };
    match of_path {
        Some(of_path) if id != of_path => wrong("differs from the id in the path"),
        _ => Ok(Some(id)),
    }
}

/// Refuses null for a field that the resource does not have. It would remove nothing, without a word.
fn check_nulls<R: Resource>(body: &Object) -> Result<(), Problem> {
    fn has_null(object: &Object) -> bool {
        object.values().any(|value| value.is_null() || value.as_object().is_some_and(has_null))
    }
    if !has_null(body) {
        return Ok(());
    }
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<R>();
    match settings::unknown_null(schema.as_value(), body) {
        Some((pointer, message)) => Err(Problem::new(Code::InvalidBody).error(pointer, message)),
        None => Ok(()),
    }
}

/// Answers with the resource as it is now, its version and whether it was changed, and with 201 when it is new.
pub(crate) fn respond<R: Resource>(id: &str, written: Written, edited: &Edited) -> Response {
    let status = if written.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut shown = R::shown_after(&edited.changes, id).unwrap_or(written.shown);
    shown.extend(written.shown_once);
    if !written.warnings.is_empty() {
        shown.insert(WARNINGS.to_owned(), json!(written.warnings));
    }
    with_change((status, Json(shown)).into_response(), written.version, edited)
}

/// Adds whether there was a change, and the version after it. `before` is the version before.
pub(crate) fn with_change(response: Response, before: Option<u64>, edited: &Edited) -> Response {
    let (version, is_changed) =
        if edited.changes.is_empty() { (before, "false") } else { (Some(edited.revision), "true") };
    let mut response = with_version(response, version);
    response.headers_mut().insert(CHANGED, HeaderValue::from_static(is_changed));
    response
}

pub(crate) fn with_version(mut response: Response, version: Option<u64>) -> Response {
    if let Some(version) = version {
        response.headers_mut().insert(header::ETAG, entity_tag(version));
    }
    response
}

/// Lists every removed item, and says what happens to deliveries that are still queued for it.
fn deleted(removed: &[(ItemKind, String)]) -> Value {
    let list: Vec<_> = removed.iter().map(|(kind, id)| json!({"kind": kind.name(), "id": id})).collect();
    let mut answer = json!({"deleted": list});
    if removed.iter().any(|(kind, _)| *kind == ItemKind::Endpoint || *kind == ItemKind::Tenant) {
        answer["queued"] = "endpoint_gone".into();
        answer["detail"] = "what is still queued for it ends as dead letters with the reason endpoint_gone, \
                            which can be looked at"
            .into();
    }
    answer
}

/// Reads an object as a type. A mistake is reported with its place in the object.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(object: Object) -> Result<T, Problem> {
    store::read_json(&Value::Object(object))
        .map_err(|found| Problem::new(Code::InvalidBody).error(found.path.pointer(), found.message))
}

pub(crate) fn not_removable(NotRemovable { field, message }: NotRemovable) -> Problem {
    Problem::new(Code::InvalidBody).error(format!("/{field}"), message)
}

pub(crate) fn no_randomness(_: std::io::Error) -> Problem {
    Problem::new(Code::Internal).detail("the system has no randomness to give")
}
