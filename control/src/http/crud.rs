//! The calls that endpoints, subscriptions, sources and keys have in common.

use std::sync::Arc;

use aide::axum::{ApiRouter, routing::get_with};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use schemas::Scope;
use serde_json::{Value, json};
use service::problem::{Code, Problem};
use store::{Edited, Item, ItemChange, ItemKind};

use super::{
    call::{Call, Input, Who},
    change::{self, Wish},
    describe::{self, Body, Page as PageOf, Patch},
    page::{self, Page},
    resource::{Resource, shown},
    tag::{Conditions, tag},
    write::{Manner, Write, Written},
};
use crate::{
    Control,
    settings::{Made, Object, list_name},
};

/// List, create, show, replace, patch, delete.
pub(crate) fn routes<R: Resource>() -> ApiRouter<Arc<Control>> {
    let (kind, list) = (R::KIND.name(), list_name(R::KIND));
    let collection = format!("/v1/tenants/{{tenant}}/{list}");
    let name = describe::capital(kind);
    ApiRouter::new()
        .api_route(
            &collection,
            get_with(list_all::<R>, |op| {
                let op = describe::call(op, list, &format!("list{name}s"), &format!("List {list}"), Some(Scope::Read));
                describe::answers::<200, PageOf<R>>(describe::paged(op))
            })
            .post_with(create::<R>, |op| {
                let op =
                    describe::call(op, list, &format!("create{name}"), &format!("Create {kind}"), Some(Scope::Manage));
                describe::answers::<201, describe::Made<R>>(describe::takes::<Body<R>>(op, R::EXAMPLE))
            }),
        )
        .api_route(
            &format!("{collection}/{{id}}"),
            get_with(show::<R>, |op| {
                let op = describe::call(op, list, &format!("get{name}"), &format!("Show {kind}"), Some(Scope::Read));
                describe::answers::<200, R>(op)
            })
            .put_with(replace::<R>, |op| {
                let op = describe::call(
                    op,
                    list,
                    &format!("put{name}"),
                    &format!("Create or replace {kind}"),
                    Some(Scope::Manage),
                );
                let op = describe::conditional(describe::takes::<Body<R>>(op, R::EXAMPLE));
                describe::answers::<201, describe::Made<R>>(describe::answers::<200, R>(op))
            })
            .patch_with(patch::<R>, |op| {
                let op =
                    describe::call(op, list, &format!("patch{name}"), &format!("Change {kind}"), Some(Scope::Manage));
                let op = describe::conditional(describe::takes_patch::<Patch<R>>(op, r#"{"name":"New name"}"#));
                describe::answers::<200, R>(op)
            })
            .delete_with(delete::<R>, |op| {
                let op =
                    describe::call(op, list, &format!("delete{name}"), &format!("Delete {kind}"), Some(Scope::Manage));
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
}

async fn list_all<R: Resource>(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    let page = Page::of(&call.query(&page::PARAMETERS)?)?;
    let Some(tenant) = &who.tenant else { return Err(Code::NotFound.into()) };
    let (items, next) = page.cut(R::in_snapshot(tenant).into_iter().map(|item| (item.id(), item)));
    Ok(page::answer(items.into_iter().map(shown).collect(), next))
}

async fn show<R: Resource>(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    call.query(&[])?;
    let (tenant, id) = (who.tenant_id(), call.part("id"));
    let (item, version) = call
        .find(|snapshot| {
            let tenant = snapshot.tenant(tenant)?;
            let item = R::in_snapshot(tenant).into_iter().find(|item| item.id() == id)?;
            Some((shown(item), tenant.versions.of(R::KIND, id)))
        })
        .await?;
    Ok(with_tag(Json(item).into_response(), version))
}

async fn create<R: Resource>(call: Call, input: Input) -> Result<Response, Problem> {
    write::<R>(call, input, Manner::Create).await
}

async fn replace<R: Resource>(call: Call, input: Input) -> Result<Response, Problem> {
    write::<R>(call, input, Manner::Replace).await
}

async fn patch<R: Resource>(call: Call, input: Input) -> Result<Response, Problem> {
    write::<R>(call, input, Manner::Patch).await
}

async fn write<R: Resource>(call: Call, input: Input, manner: Manner) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    call.query(&[])?;
    let control = call.control.clone();
    let id = (manner != Manner::Create).then(|| call.part("id").to_owned());
    let conditions = Conditions::of(call.headers());
    let body = input.object().await?;
    let write = control.write(&who, id, manner, body, conditions)?;
    let wish = Wish::of(who.tenant_id(), who.author.clone());
    let (written, edited) = control.change(wish, move |draft| write.decide::<R>(draft)).await?;
    Ok(answer(R::KIND, &write_path(&who.tenant, R::KIND, &written.id), written, &edited))
}

impl Control {
    /// A change that this caller wants.
    pub(crate) fn write(
        &self,
        who: &Who,
        id: Option<String>,
        manner: Manner,
        body: Object,
        conditions: Conditions,
    ) -> Result<Write, Problem> {
        let snapshot = self.deps.store.snapshot().ok_or(Code::Unavailable)?;
        Ok(Write {
            tenant: who.tenant_id().to_owned(),
            id,
            manner,
            body,
            conditions,
            scopes: who.scopes.clone(),
            rules: self.deps.rules.clone(),
            maker: self.maker(),
            snapshot,
        })
    }
}

fn write_path(tenant: &Option<Arc<store::TenantSnapshot>>, kind: ItemKind, id: &str) -> String {
    let tenant = tenant.as_ref().map_or("", |tenant| &tenant.id);
    format!("/v1/tenants/{tenant}/{}/{id}", list_name(kind))
}

/// 201 with its address, or 200; with its version either way.
pub(crate) fn answer(kind: ItemKind, path: &str, written: Written, edited: &Edited) -> Response {
    let changed = edited.changes.iter().find(|change| change.kind == kind && change.id == written.id);
    let version = if changed.is_some() { Some(edited.revision) } else { written.version };
    let status = if written.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let shown = as_stored(changed, written.shown, written.made);
    let mut response = with_tag((status, Json(shown)).into_response(), version);
    if let (true, Ok(path)) = (written.is_new, HeaderValue::try_from(path)) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// A thing as the store has it now, which forgets what has ended, and what was made for it.
pub(crate) fn as_stored(changed: Option<&ItemChange>, shown_before: Object, made: Made) -> Object {
    let mut shown = match changed.and_then(|one| one.after.as_ref()) {
        Some(Item::Endpoint(endpoint)) => shown(&**endpoint),
        Some(Item::Source(source)) => shown(&**source),
        Some(Item::Key(key)) => shown(&**key),
        _ => shown_before,
    };
    shown.extend(made);
    shown
}

/// An answer about one thing, with its version.
pub(crate) fn with_tag(mut response: Response, version: Option<u64>) -> Response {
    if let Some(version) = version {
        response.headers_mut().insert(header::ETAG, tag(version));
    }
    response
}

async fn delete<R: Resource>(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    call.query(&[])?;
    let (tenant, id, conditions) =
        (who.tenant_id().to_owned(), call.part("id").to_owned(), Conditions::of(call.headers()));
    R::owned(&id)?;
    let decide = move |draft: &mut store::Draft| {
        let version = draft.version(&tenant, R::KIND, &id);
        let tenant = change::tenant(draft, &tenant)?;
        let list = R::list(tenant);
        let place = list.iter().position(|item| item.id() == id).ok_or(Code::NotFound)?;
        conditions.check(Some(version))?;
        list.remove(place);
        let mut gone = vec![(R::KIND, id.clone())];
        gone.extend(R::take_along(&id, tenant));
        Ok(gone)
    };
    let wish = Wish::of(who.tenant_id(), who.author.clone());
    let (gone, _) = call.control.change(wish, decide).await?;
    Ok(Json(deleted(&gone)).into_response())
}

/// What went, and what becomes of what was queued for it.
pub(crate) fn deleted(gone: &[(ItemKind, String)]) -> Value {
    let list: Vec<_> = gone.iter().map(|(kind, id)| json!({"kind": kind.name(), "id": id})).collect();
    let mut answer = json!({"deleted": list});
    if gone.iter().any(|(kind, _)| *kind == ItemKind::Endpoint || *kind == ItemKind::Tenant) {
        answer["queued"] = "endpoint_gone".into();
        answer["detail"] = "what is still queued for it ends as dead letters with the reason endpoint_gone, \
                            which can be looked at"
            .into();
    }
    answer
}
