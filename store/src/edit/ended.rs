//! What is retiring and has ended is forgotten with the next change, so that nothing has to be written when it ends.

use std::collections::BTreeMap;

use schemas::{Endpoint, Key, SourceConfig, Tenant};

use super::Draft;

/// Takes what has ended from all that was changed. What was not stays as it is: its version says so.
pub(super) fn forget(before: &BTreeMap<String, Tenant>, draft: &mut Draft, now: u64) {
    for tenant in draft.tenants_mut() {
        let old = before.get(&tenant.id);
        forget_in(old.map(|old| &*old.endpoints), &mut tenant.endpoints, |one| Endpoint::forget_ended(one, now));
        forget_in(old.map(|old| &*old.sources), &mut tenant.sources, |one| SourceConfig::forget_ended(one, now));
        forget_in(old.map(|old| &*old.keys), &mut tenant.keys, |one| Key::forget_ended(one, now));
    }
}

fn forget_in<T: Clone + PartialEq>(before: Option<&[T]>, after: &mut [T], forget: impl Fn(&mut T)) {
    for item in after {
        let mut tidy = item.clone();
        forget(&mut tidy);
        if tidy != *item && !before.is_some_and(|before| before.contains(item)) {
            *item = tidy;
        }
    }
}
