//! The counts in an outbox: one line for each tenant and endpoint on each day. A line is kept until its day is over and
//! its last count is confirmed.

use std::collections::HashMap;

use schemas::{Counts, Finding, time};

const DAY: u64 = 86_400_000;
/// Largest number of lines, of some 200 bytes each. Beyond it, new endpoints are not counted.
const MOST: usize = 200_000;

#[derive(Debug, Default)]
pub(super) struct UsageCounts {
    /// None at a free index, which is also in `free`.
    lines: Vec<Option<DayCounts>>,
    free: Vec<usize>,
    by_tenant: HashMap<String, TenantCounters>,
    /// Indexes of the lines that changed since they were last sent.
    changed: Vec<usize>,
    today: u64,
}

/// Indexes of a tenant's lines.
#[derive(Debug, Default)]
struct TenantCounters {
    own: Option<usize>,
    endpoints: HashMap<String, usize>,
}

#[derive(Debug)]
struct DayCounts {
    tenant: String,
    endpoint_id: Option<String>,
    day: u64,
    counts: Counts,
    is_changed: bool,
    /// Number of unconfirmed notices that have this line.
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
    /// Adds counts. Returns false when there is no room for one more line.
    pub(super) fn add(&mut self, now: u64, tenant: &str, endpoint_id: Option<&str>, more: Counts) -> bool {
        let day = now / DAY;
        let known = self.by_tenant.get(tenant).and_then(|places| places.find(endpoint_id));
        // After the clock is set back over midnight, counting continues with the later day, because a finished day's
        // line must not begin again.
        let known = known.filter(|at| self.lines[*at].as_ref().is_some_and(|line| line.day >= day));
        let Some(at) = known.or_else(|| self.open(tenant, endpoint_id, day)) else { return false };
        let Some(line) = &mut self.lines[at] else { return false };
        line.counts += more;
        if !std::mem::replace(&mut line.is_changed, true) {
            self.changed.push(at);
        }
        true
    }

    /// Makes a new line. A line of an earlier day leaves the index and stays until it is confirmed.
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

    /// Begins a report. When a day has ended since the last one, removes its confirmed lines.
    pub(super) fn begin(&mut self, now: u64) {
        let today = now / DAY;
        if today > self.today {
            self.today = today;
            for at in 0..self.lines.len() {
                self.close_if_over(at);
            }
        }
    }

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

    /// True when a line has changed since it was last sent.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    pub(super) fn finding(&self, at: usize) -> Finding {
        let Some(line) = &self.lines[at] else { return Finding::Unknown };
        Finding::Usage {
            tenant: line.tenant.clone(),
            endpoint_id: line.endpoint_id.clone(),
            day: time::day(line.day * DAY),
            counts: line.counts,
        }
    }

    /// Notes that a notice with these lines was confirmed.
    pub(super) fn noted(&mut self, lines: &[usize]) {
        for at in lines {
            if let Some(line) = &mut self.lines[*at] {
                line.unnoted -= 1;
            }
            self.close_if_over(*at);
        }
    }

    /// Makes the lines of an unconfirmed notice due again.
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

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lines.iter().flatten().count()
    }

    /// True when there is no line, and nothing in the index.
    #[cfg(test)]
    pub(super) fn is_empty_but_for_room(&self) -> bool {
        self.len() == 0 && self.by_tenant.is_empty() && self.changed.is_empty() && self.free.len() == self.lines.len()
    }
}
