//! Looks names up as the system says: in `/etc/hosts`, and then at the name servers and below the search domains of
//! `/etc/resolv.conf`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
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
    resolver: TokioResolver,
}

impl SystemResolver {
    pub(in crate::post) fn new(name_servers: &[SocketAddr], timeout: Duration) -> Self {
        let name_servers = name_servers.iter().map(name_server).collect();
        Self { name_servers, timeout, read: Mutex::default() }
    }

    pub(in crate::post) async fn look_up(self: Arc<Self>, name: String) -> Result<Found, LookUpError> {
        let name = Name::from_ascii(name).map_err(|_| LookUpError::NoAddress)?;
        let ReadFiles { hosts, resolver, .. } = self.files()?;
        // As in glibc, a name of the hosts file has the addresses there and no others.
        let in_hosts = |family| hosts.lookup_static_host(&Query::query(name.clone(), family));
        let in_hosts: Vec<_> = [RecordType::A, RecordType::AAAA].into_iter().filter_map(in_hosts).collect();
        if !in_hosts.is_empty() {
            return Ok(found(&in_hosts));
        }
        let answer = resolver.lookup_ip(name).await?;
        Ok(found(&[answer.into()]))
    }

    /// Reads the files again when they have changed.
    fn files(&self) -> Result<ReadFiles, NetError> {
        let modified = FILES.map(|path| fs::metadata(path).and_then(|file| file.modified()).ok());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some(known) if known.modified == modified => Ok(known.clone()),
            _ => {
                let (hosts, resolver) = (Arc::new(Hosts::from_system().unwrap_or_default()), self.resolver()?);
                Ok(read.insert(ReadFiles { modified, hosts, resolver }).clone())
            }
        }
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let (mut config, mut options) = read_system_conf().unwrap_or_else(|_| {
            let local = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
            (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
        });
        if !self.name_servers.is_empty() {
            let (domain, search, _) = config.into_parts();
            config = ResolverConfig::from_parts(domain, search, self.name_servers.clone());
        }
        // Over UDP a question is sent up to three times within its time, so it is not asked again.
        (options.timeout, options.attempts) = (self.timeout, 0);
        // A name without one of both gets the error of the first, which is IPv4.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // Addresses are kept for all tenants together, with what failed.
        (options.cache_size, options.use_hosts_file) = (0, ResolveHosts::Never);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build()
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn found(answers: &[Lookup]) -> Found {
    let records = || answers.iter().flat_map(Lookup::answers);
    // Names that lead to the addresses count, too.
    let ttl = records().map(|record| record.ttl).min().unwrap_or_default();
    let addresses = records().filter_map(|record| record.data.ip_addr()).collect();
    Found { addresses, ttl: Duration::from_secs(ttl.into()) }
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
