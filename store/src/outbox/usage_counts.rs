//! The lines of an outbox: one for each tenant and each endpoint on each day, kept until the day is over and the last
//! count of it was noted.

use std::collections::HashMap;

use schemas::{Counts, Finding, time};

const DAY: u64 = 86_400_000;
/// Lines, at most: beyond, new endpoints are not counted. Some 200 bytes each.
const MOST: usize = 200_000;

/// All lines, and where to find them.
#[derive(Debug, Default)]
pub(super) struct UsageCounts {
    /// A free place is none, and in `free`.
    lines: Vec<Option<DayCounts>>,
    free: Vec<usize>,
    by_tenant: HashMap<String, TenantCounters>,
    /// Counted since they were last said.
    changed: Vec<usize>,
    /// Days since 1970.
    today: u64,
}

/// Where a tenant's lines of the day are.
#[derive(Debug, Default)]
struct TenantCounters {
    own: Option<usize>,
    endpoints: HashMap<String, usize>,
}

#[derive(Debug)]
struct DayCounts {
    tenant: String,
    endpoint_id: Option<String>,
    /// Days since 1970.
    day: u64,
    counts: Counts,
    is_changed: bool,
    /// In how many notices that were said and not noted it is.
    unnoted: u32,
}

impl DayCounts {
    fn is_settled(&self) -> bool {
        !self.is_changed && self.unnoted == 0
    }
}

impl TenantCounters {
    fn find(&self, endpoint_id: Option<&str>) -> Option<usize> {
        match endpoint_id {
            None => self.own,
            Some(id) => self.endpoints.get(id).copied(),
        }
    }
}

impl UsageCounts {
    /// Counts. False when there is no room for one more line.
    pub(super) fn add(&mut self, now: u64, tenant: &str, endpoint_id: Option<&str>, more: Counts) -> bool {
        let day = now / DAY;
        let known = self.by_tenant.get(tenant).and_then(|places| places.find(endpoint_id));
        // A clock that is put back over midnight counts on the later day: none of its lines may begin again.
        let known = known.filter(|at| self.lines[*at].as_ref().is_some_and(|line| line.day >= day));
        let Some(at) = known.or_else(|| self.open(tenant, endpoint_id, day)) else { return false };
        let Some(line) = &mut self.lines[at] else { return false };
        line.counts += more;
        if !std::mem::replace(&mut line.is_changed, true) {
            self.changed.push(at);
        }
        true
    }

    /// A new line. One of an earlier day stays until it is noted, and is found no more.
    fn open(&mut self, tenant: &str, endpoint_id: Option<&str>, day: u64) -> Option<usize> {
        let places = self.by_tenant.entry(tenant.to_owned()).or_default();
        let old = places.find(endpoint_id);
        if let Some(old) = old
            && self.lines[old].as_ref().is_some_and(DayCounts::is_settled)
        {
            self.lines[old] = None;
            self.free.push(old);
        }
        if self.lines.len() - self.free.len() >= MOST {
            return None;
        }
        let endpoint = endpoint_id.map(str::to_owned);
        let line = DayCounts {
            tenant: tenant.to_owned(),
            endpoint_id: endpoint.clone(),
            day,
            counts: Counts::default(),
            is_changed: false,
            unnoted: 0,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.lines.push(None);
            self.lines.len() - 1
        });
        self.lines[at] = Some(line);
        match endpoint {
            None => places.own = Some(at),
            Some(id) => _ = places.endpoints.insert(id, at),
        }
        Some(at)
    }

    /// A report begins: if a day has ended since the last, what was noted of it is forgotten.
    pub(super) fn begin(&mut self, now: u64) {
        let today = now / DAY;
        if today > self.today {
            self.today = today;
            for at in 0..self.lines.len() {
                self.close_if_over(at);
            }
        }
    }

    /// Some lines that have changed, to be said now.
    pub(super) fn take_changed(&mut self, most: usize) -> Vec<usize> {
        let taken = self.changed.split_off(self.changed.len().saturating_sub(most));
        for at in &taken {
            if let Some(line) = &mut self.lines[*at] {
                line.is_changed = false;
                line.unnoted += 1;
            }
        }
        taken
    }

    /// Whether there are any.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What a line says.
    pub(super) fn finding(&self, at: usize) -> Finding {
        let Some(line) = &self.lines[at] else { return Finding::Unknown };
        Finding::Usage {
            tenant: line.tenant.clone(),
            endpoint_id: line.endpoint_id.clone(),
            day: time::day(line.day * DAY),
            counts: line.counts,
        }
    }

    /// A notice with these lines was noted.
    pub(super) fn noted(&mut self, lines: &[usize]) {
        for at in lines {
            if let Some(line) = &mut self.lines[*at] {
                line.unnoted -= 1;
            }
            self.close_if_over(*at);
        }
    }

    /// A notice with these lines was not: they are to be said again.
    pub(super) fn not_noted(&mut self, lines: &[usize]) {
        for at in lines {
            let Some(line) = &mut self.lines[*at] else { continue };
            line.unnoted -= 1;
            if !std::mem::replace(&mut line.is_changed, true) {
                self.changed.push(*at);
            }
        }
    }

    fn close_if_over(&mut self, at: usize) {
        let today = self.today;
        let Some(line) = self.lines[at].take_if(|line| line.day < today && line.is_settled()) else { return };
        self.free.push(at);
        let Some(places) = self.by_tenant.get_mut(&line.tenant) else { return };
        match &line.endpoint_id {
            None => _ = places.own.take_if(|own| *own == at),
            Some(id) if places.endpoints.get(id) == Some(&at) => _ = places.endpoints.remove(id),
            Some(_) => {}
        }
        if places.own.is_none() && places.endpoints.is_empty() {
            self.by_tenant.remove(&line.tenant);
        }
    }

    /// How many lines there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lines.iter().flatten().count()
    }

    /// Whether there is no line, nor a trace of one.
    #[cfg(test)]
    pub(super) fn is_empty_but_for_room(&self) -> bool {
        self.len() == 0 && self.by_tenant.is_empty() && self.changed.is_empty() && self.free.len() == self.lines.len()
    }
}
