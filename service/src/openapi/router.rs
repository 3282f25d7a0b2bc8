//! Axum's router together with the description of its routes.

use axum::{Router, extract::DefaultBodyLimit, handler::Handler, routing::MethodRouter};
use utoipa::openapi::{HttpMethod, PathItem, PathsBuilder};
use utoipa_axum::{PathItemExt as _, router::OpenApiRouter};

use super::{Description, Operation, schemas::Schemas};

pub struct ApiRouter<S> {
    routes: OpenApiRouter<S>,
    schemas: Schemas,
}

/// The handlers of one path, each with its description.
pub struct MethodRoutes<S> {
    handlers: MethodRouter<S>,
    operations: Vec<(HttpMethod, Operation)>,
}

impl<S: Clone + Send + Sync + 'static> Default for ApiRouter<S> {
    fn default() -> Self {
        Self { routes: OpenApiRouter::default(), schemas: Schemas::default() }
    }
}

impl<S: Clone + Send + Sync + 'static> ApiRouter<S> {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn api_route(mut self, path: &str, methods: MethodRoutes<S>) -> Self {
        let MethodRoutes { handlers, operations } = methods;
        let mut item = PathItem::default();
        for (method, operation) in operations {
            let (operation, schemas) = operation.into_parts(path, &method);
            item.merge_operations(PathItem::new(method, operation));
            self.schemas.merge(schemas);
        }
        let paths = PathsBuilder::new().path(path, item).build();
        // The schemas are not given to `utoipa`, which would lose keywords of theirs.
        Self { routes: self.routes.routes((Vec::new(), paths, handlers)), ..self }
    }

    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.schemas.merge(other.schemas);
        Self { routes: self.routes.merge(other.routes), ..self }
    }

    /// Sets the largest body of the routes that were added until now.
    #[must_use]
    pub fn layer(self, limit: DefaultBodyLimit) -> Self {
        Self { routes: self.routes.layer(limit), ..self }
    }

    pub fn into_parts(self) -> (Router<S>, Description) {
        let (routes, document) = self.routes.split_for_parts();
        (routes, Description { document, schemas: self.schemas })
    }
}

impl<S: Clone + Send + Sync + 'static> MethodRoutes<S> {
    fn with<H, T>(mut self, method: HttpMethod, handler: H, describe: impl FnOnce(Operation) -> Operation) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.handlers = self.handlers.on(method.to_method_filter(), handler);
        self.operations.push((method, describe(Operation::default())));
        self
    }
}

/// Declares for each method a function that begins the routes of a path, and one that adds to them.
macro_rules! methods {
    ($($name:ident $method:ident)*) => {
        $(
            pub fn $name<S, H, T>(handler: H, describe: impl FnOnce(Operation) -> Operation) -> MethodRoutes<S>
            where
                S: Clone + Send + Sync + 'static,
                H: Handler<T, S>,
                T: 'static,
            {
                MethodRoutes { handlers: MethodRouter::new(), operations: Vec::new() }.with(HttpMethod::$method, handler, describe)
            }
        )*

        impl<S: Clone + Send + Sync + 'static> MethodRoutes<S> {
            $(
                #[must_use]
                pub fn $name<H, T>(self, handler: H, describe: impl FnOnce(Operation) -> Operation) -> Self
                where
                    H: Handler<T, S>,
                    T: 'static,
                {
                    self.with(HttpMethod::$method, handler, describe)
                }
            )*
        }
    };
}

methods! {
    get_with Get
    put_with Put
    post_with Post
    patch_with Patch
    delete_with Delete
}
