//! Reads resources: lists those of a tenant, and shows one.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemas::Scope;
use service::problem::{Code, Problem};
use store::Snapshot;

use super::{
    context::RequestContext,
    page::{self, Page},
    resource::{Listed, Resource, version_of},
    write::with_version,
};

pub(crate) async fn list<R: Listed>(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let page = Page::of(&request.query(&page::PARAMETERS)?)?;
    let Some(tenant) = &authorized.tenant else { return Err(Code::NotFound.into()) };
    let (mut items, next) = R::page(tenant, &page);
    for item in &mut items {
        let id = item.get(R::BODY_ID).and_then(|id| id.as_str()).unwrap_or_default().to_owned();
        item.extend(R::observed(&id, tenant, &request.control));
    }
    Ok(page::answer(items, next))
}

pub(crate) async fn show<R: Resource>(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    request.query(&[])?;
    let (tenant, id) = (authorized.tenant_id(), request.path_parameter(R::PATH_ID));
    let look = |snapshot: &Snapshot| {
        let tenant = snapshot.tenant(tenant)?;
        let resource = R::in_snapshot(tenant, id)?;
        let version = version_of(&resource, |kind, id| tenant.versions.of(kind, id));
        let mut shown = resource.shown();
        shown.extend(R::observed(id, tenant, &request.control));
        Some((shown, version))
    };
    let (shown, version) = request.find(look).await?;
    Ok(with_version(Json(shown).into_response(), version))
}
