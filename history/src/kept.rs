//! How much each tenant has.

use std::collections::HashMap;

/// Bytes of each tenant by day, roughly: what its rows and bodies take. A day is counted from 1970.
#[derive(Default)]
pub(crate) struct KeptBytes {
    by_day: HashMap<(i64, i64), u64>,
    by_tenant: HashMap<i64, u64>,
    total: u64,
}

impl KeptBytes {
    pub(crate) fn of(&self, tenant: i64) -> u64 {
        self.by_tenant.get(&tenant).copied().unwrap_or_default()
    }

    /// Bytes of all tenants but one.
    pub(crate) fn of_others(&self, tenant: i64) -> u64 {
        self.total.saturating_sub(self.of(tenant))
    }

    pub(crate) fn add(&mut self, day: i64, tenant: i64, bytes: u64) {
        *self.by_day.entry((day, tenant)).or_default() += bytes;
        *self.by_tenant.entry(tenant).or_default() += bytes;
        self.total += bytes;
    }

    pub(crate) fn drop_day(&mut self, day: i64) {
        self.forget(|of, _| of == day);
    }

    pub(crate) fn drop_tenant(&mut self, tenant: i64) {
        self.forget(|_, of| of == tenant);
    }

    fn forget(&mut self, is_meant: impl Fn(i64, i64) -> bool) {
        let (by_tenant, total) = (&mut self.by_tenant, &mut self.total);
        self.by_day.retain(|(day, tenant), bytes| {
            let is_meant = is_meant(*day, *tenant);
            if is_meant {
                let own = by_tenant.entry(*tenant).or_default();
                *own = own.saturating_sub(*bytes);
                *total = total.saturating_sub(*bytes);
            }
            !is_meant
        });
        self.by_tenant.retain(|_, bytes| *bytes > 0);
    }
}
