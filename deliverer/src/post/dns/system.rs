//! Looks names up as the system says: in `/etc/hosts`, and then at the name servers and below the search domains of
//! `/etc/resolv.conf`.

use std::{
    fs, iter,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::future::join;
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::read_system_conf,
};

use super::{Found, LookUpError};

const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

pub(in crate::post) struct SystemResolver {
    /// Those that are asked instead of the system's, unless there are none.
    name_servers: Vec<NameServerConfig>,
    /// Longest time for a question. A name may take one for each search domain.
    timeout: Duration,
    read: Mutex<Option<ReadFiles>>,
}

/// What the files said when they were last modified.
#[derive(Clone)]
struct ReadFiles {
    modified: [Option<SystemTime>; 2],
    hosts: Arc<Hosts>,
    search_domains: Vec<Name>,
    ndots: usize,
    resolver: TokioResolver,
    /// One for each name server, if there are several.
    singly: Vec<TokioResolver>,
}

impl SystemResolver {
    pub(in crate::post) fn new(name_servers: &[SocketAddr], timeout: Duration) -> Self {
        let name_servers = name_servers.iter().map(config).collect();
        Self { name_servers, timeout, read: Mutex::default() }
    }

    pub(in crate::post) async fn look_up(self: Arc<Self>, name: String) -> Result<Found, LookUpError> {
        let name = Name::from_ascii(name).map_err(|_| LookUpError::NoAddress)?;
        let files = self.files()?;
        // As in glibc, a name of the hosts file has the addresses there and no others.
        let in_hosts = |family| files.hosts.lookup_static_host(&Query::query(name.clone(), family));
        let in_hosts: Vec<_> = [RecordType::A, RecordType::AAAA].into_iter().filter_map(in_hosts).collect();
        if !in_hosts.is_empty() {
            return Ok(found(&in_hosts, false));
        }
        let mut error = LookUpError::NoAddress;
        // Both families are asked for below one search domain after the other, so that no two hosts are mixed.
        for name in in_full(&name, &files.search_domains, files.ndots) {
            let (v4, v6) = join(files.ask(&name, RecordType::A), files.ask(&name, RecordType::AAAA)).await;
            let halves = [v4, v6].map(|half| half.map_err(LookUpError::from));
            let is_half = halves.iter().any(|half| matches!(half, Err(LookUpError::NoAnswer)));
            let found = found(&halves.into_iter().flatten().collect::<Vec<_>>(), is_half);
            if !found.addresses.is_empty() {
                return Ok(found);
            }
            if is_half {
                error = LookUpError::NoAnswer;
            }
        }
        Err(error)
    }

    /// Reads the files again when they have changed.
    fn files(&self) -> Result<ReadFiles, NetError> {
        let modified = FILES.map(|path| fs::metadata(path).and_then(|file| file.modified()).ok());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some(known) if known.modified == modified => Ok(known.clone()),
            _ => Ok(read.insert(self.read(modified)?).clone()),
        }
    }

    fn read(&self, modified: [Option<SystemTime>; 2]) -> Result<ReadFiles, NetError> {
        let (config, mut options) = read_system_conf().unwrap_or_else(|_| {
            let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
        });
        // Over UDP a question is sent up to three times within its time, so it is not asked again.
        (options.timeout, options.attempts) = (self.timeout, 0);
        // Addresses are kept for all tenants together, with what failed.
        (options.cache_size, options.use_hosts_file) = (0, ResolveHosts::Never);
        let (domain, search, of_system) = config.into_parts();
        let resolver = |name_servers: &[NameServerConfig]| {
            let config = ResolverConfig::from_name_servers(name_servers.to_vec());
            let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
            *builder.options_mut() = options.clone();
            builder.build()
        };
        let name_servers = if self.name_servers.is_empty() { &of_system } else { &self.name_servers };
        let singly =
            name_servers.chunks(1).filter(|_| name_servers.len() > 1).map(resolver).collect::<Result<_, _>>()?;
        let hosts = Arc::new(Hosts::from_system().unwrap_or_default());
        let resolver = resolver(name_servers)?;
        let search_domains = domain.into_iter().chain(search).filter(|domain| !domain.is_root()).collect();
        Ok(ReadFiles { modified, hosts, search_domains, ndots: options.ndots, resolver, singly })
    }
}

impl ReadFiles {
    /// Asks for the addresses of one family.
    async fn ask(&self, name: &Name, family: RecordType) -> Result<Lookup, NetError> {
        let mut answer = self.resolver.lookup(name.clone(), family).await;
        // The library asks all name servers, and ends when the first says that it cannot answer. Another one may.
        for single in &self.singly {
            if !matches!(answer, Err(NetError::Dns(DnsError::ResponseCode(_)))) {
                break;
            }
            answer = single.lookup(name.clone(), family).await;
        }
        answer
    }
}

/// What to ask for in turn: the name below each search domain, and as it is, which comes first if it has so many dots.
fn in_full(name: &Name, search_domains: &[Name], ndots: usize) -> Vec<Name> {
    let mut as_is = name.clone();
    as_is.set_fqdn(true);
    if name.is_fqdn() {
        return vec![as_is];
    }
    let below = search_domains.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
    if usize::from(name.num_labels()) > ndots || name.is_localhost() {
        iter::once(as_is).chain(below).collect()
    } else {
        below.chain([as_is]).collect()
    }
}

fn config(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn found(answers: &[Lookup], is_half: bool) -> Found {
    let records = || answers.iter().flat_map(Lookup::answers);
    // Names that lead to the addresses count, too.
    let ttl = records().map(|record| record.ttl).min().unwrap_or_default();
    let addresses = records().filter_map(|record| record.data.ip_addr()).collect();
    Found { addresses, ttl: Duration::from_secs(ttl.into()), is_half }
}

impl From<NetError> for LookUpError {
    /// A name server that says that it cannot answer is as one that says nothing.
    fn from(error: NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(_)) => Self::NoAddress,
            _ => Self::NoAnswer,
        }
    }
}

#[cfg(test)]
mod tests;
