//! The shapes of the bodies that write a resource: what is read only is left out, and what need not be given may be null.

use std::{borrow::Cow, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;
use service::openapi::{body_shape, patch_shape};

use super::resource::Resource;

/// Declares a shape of bodies, named after its resource.
macro_rules! shape {
    ($(#[$doc:meta])* $shape:ident, $name:literal, |$generator:ident| $schema:expr) => {
        $(#[$doc])*
        pub(crate) struct $shape<R>(PhantomData<R>);

        impl<R: Resource + JsonSchema> JsonSchema for $shape<R> {
            fn schema_name() -> Cow<'static, str> {
                format!($name, R::schema_name()).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

shape!(
    /// Creates a resource. Its id may be left out.
    NewResource, "New{}", |generator| {
        body_shape(bare::<R>(generator), R::READ_ONLY, &[&[R::BODY_ID], &generated::<R>()[..]].concat())
    }
);

shape!(
    /// Creates or replaces the resource that the path names.
    ResourceBody, "{}Body", |generator| {
        body_shape(bare::<R>(generator), &[&[R::BODY_ID], R::READ_ONLY].concat(), &generated::<R>())
    }
);

shape!(
    /// Changes the fields that it names.
    ResourcePatch, "{}Patch", |generator| {
        let schema = bare::<R>(generator);
        patch_shape(schema, &[&[R::BODY_ID], R::READ_ONLY].concat(), generator)
    }
);

shape!(
    /// An item of a description. Secrets that are made may be left out.
    DescribedResource, "Described{}", |generator| {
        let mut schema = body_shape(bare::<R>(generator), R::READ_ONLY, &[]);
        schema.insert("required".to_owned(), given::<R>().into());
        schema
    }
);

/// The fields that every description has: an export leaves defaults out.
fn given<R: Resource + JsonSchema>() -> Vec<String> {
    let mut read = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let required = R::json_schema(&mut read).get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let names = required.iter().filter_map(|name| name.as_str().map(str::to_owned));
    names.filter(|name| !generated::<R>().contains(&name.as_str())).collect()
}

/// The schema of the resource. What carteiro changes by itself has no default, because it is kept when it is left out.
fn bare<R: Resource + JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = R::json_schema(generator);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for name in R::STATE {
            properties.get_mut(*name).and_then(Value::as_object_mut).map(|property| property.remove("default"));
        }
    }
    schema
}

/// Secrets that are made where they are left out.
fn generated<R: Resource>() -> Vec<&'static str> {
    R::REQUIRED_SECRETS.iter().map(|(name, _)| *name).collect()
}
