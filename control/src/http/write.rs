//! A body onto what is stored, typed, checked and put into its place: what every changing call does.

use schemas::Scope;
use serde_json::Value;
use service::problem::{Code, Problem};
use store::{Draft, Snapshot};

use super::{
    change,
    resource::{Resource, no_chance, shown},
    tag::Conditions,
};
use crate::settings::{self, Field, Focus, Made, Maker, NotRemovable, Object, Rules};

/// How a body is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Something new, under this id or one that is made.
    Create,
    /// All of it.
    Replace,
    /// Changes to what there is.
    Patch,
}

/// One change of one thing.
pub(crate) struct Write {
    pub(crate) tenant: String,
    /// Its id; none for one that is made, or given in the body.
    pub(crate) id: Option<String>,
    pub(crate) manner: Manner,
    pub(crate) body: Object,
    pub(crate) conditions: Conditions,
    /// What the caller's key allows; none is everything.
    pub(crate) scopes: Option<Vec<Scope>>,
    pub(crate) rules: Rules,
    pub(crate) maker: Maker,
    pub(crate) snapshot: std::sync::Arc<Snapshot>,
}

/// What became of it.
pub(crate) struct Written {
    pub(crate) id: String,
    /// As it is shown.
    pub(crate) shown: Object,
    /// What is shown with it, this once.
    pub(crate) made: Made,
    /// Whether it is new.
    pub(crate) is_new: bool,
    /// The version before; it still is where nothing changed.
    pub(crate) version: Option<u64>,
}

impl Write {
    /// Decides on a draft.
    pub(crate) fn decide<R: Resource>(mut self, draft: &mut Draft) -> Result<Written, Problem> {
        let before = change::tenant(draft, &self.tenant)?.clone();
        let mut after = before.clone();
        let id = self.take_id::<R>(R::list(&mut after))?;
        R::owned(&id)?;
        let list = R::list(&mut after);
        let place = list.iter().position(|item| item.id() == id);
        if self.manner == Manner::Create && place.is_some() {
            return Err(Problem::new(Code::Conflict).detail("the id is already used"));
        }
        let version = place.and_then(|_| draft.version(&self.tenant, R::KIND, &id));
        self.conditions.check(place.map(|_| version))?;
        let old = place.map(|place| list[place].clone());
        let (mut new, made) = self.merged::<R>(&id, old.as_ref())?;
        new.settle(old.as_ref(), &self.rules, self.scopes.as_deref())?;
        let is_other = |(tenant, other): &(String, String)| (tenant, other) != (&self.tenant, &id);
        if new.owners(&self.snapshot).iter().any(is_other) {
            return Err(Problem::new(Code::Conflict).detail("it is already used, by something else"));
        }
        let shown = shown(&new);
        let index = match place {
            Some(place) => {
                list[place] = new;
                place
            }
            None => {
                list.push(new);
                list.len() - 1
            }
        };
        settings::check(&before, &after, Focus { kind: R::KIND, index }, &self.rules)?;
        draft.put(after);
        Ok(Written { id, shown, made, is_new: place.is_none(), version })
    }

    /// The id of the path, else of the body, else one that is made. In a body it may stand, but not differ.
    fn take_id<R: Resource>(&mut self, list: &[R]) -> Result<String, Problem> {
        let given = match self.body.shift_remove("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(given)) => Some(given),
            Some(_) => return Err(Problem::new(Code::InvalidBody).error("/id", "expected a text")),
        };
        match (self.id.take(), given) {
            (Some(id), Some(given)) if id != given => {
                Err(Problem::new(Code::InvalidBody).error("/id", "differs from the id in the path"))
            }
            (Some(id), _) | (None, Some(id)) => Ok(id),
            (None, None) => Ok(self.maker.id(R::KIND, |id| list.iter().any(|item| item.id() == id))),
        }
    }

    fn merged<R: Resource>(&mut self, id: &str, old: Option<&R>) -> Result<(R, Made), Problem> {
        let body = std::mem::take(&mut self.body);
        let stored = old.map(settings::reveal);
        let merged = match (self.manner, &stored) {
            (Manner::Patch, Some(stored)) => settings::patched(R::KEPT, stored, body),
            (Manner::Patch, None) => return Err(Code::NotFound.into()),
            (_, stored) => settings::replaced(R::KEPT, stored.as_ref(), body),
        };
        let mut merged = merged.map_err(not_removable)?;
        let made = match old {
            Some(_) => Made::new(),
            None => R::make(&mut merged, &self.maker).map_err(no_chance)?,
        };
        merged.insert("id".to_owned(), id.into());
        Ok((typed(merged)?, made))
    }
}

/// An object as what it should be.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(object: Object) -> Result<T, Problem> {
    store::read_json(&Value::Object(object))
        .map_err(|found| Problem::new(Code::InvalidBody).error(found.path.pointer(), found.message))
}

pub(crate) fn not_removable(NotRemovable { field, message }: NotRemovable) -> Problem {
    Problem::new(Code::InvalidBody).error(format!("/{field}"), message)
}

/// Fields that carteiro changes itself, and that a `PUT` which does not know of them must not undo.
pub(crate) const OWN_STATE: [Field; 3] =
    [Field::One("state"), Field::One("disabled_reason"), Field::One("cancelled_before")];
