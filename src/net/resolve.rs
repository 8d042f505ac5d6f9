//! Name lookups that can hang without holding anybody else up.
//!
//! The system's resolver (`getaddrinfo`) blocks, for as long as half a minute when a name server is away. Each lookup
//! therefore has a short-lived thread of its own, never one of the runtime's pool; a name is looked up once at a time,
//! whoever asks for it meanwhile waits for the same answer; and there are at most [`limits::LOOKUPS_AT_ONCE`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::NetError;
use crate::limits;

type Answer = Option<Result<Vec<IpAddr>, String>>;

/// Looks names up. Cheap to clone; clones share the lookups that are under way. Nothing is cached.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    waiting: Arc<Mutex<HashMap<String, watch::Receiver<Answer>>>>,
}

impl Resolver {
    /// A resolver without lookups.
    pub fn new() -> Resolver {
        Resolver::default()
    }

    /// The addresses of a host, in the system's order; a literal address (also in brackets) is its own answer.
    ///
    /// # Errors
    /// When the name has no address, or too many lookups hang already.
    pub async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, NetError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let fail = |problem: &str| NetError::Lookup { host: bare.to_owned(), problem: problem.to_owned() };
        let mut answer = self.ask(bare).map_err(fail)?;
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(addresses))) => Ok(addresses.clone()),
            Ok(Some(Err(problem))) => Err(fail(problem)),
            Ok(None) | Err(_) => Err(fail("the lookup broke off")),
        }
    }

    fn ask(&self, host: &str) -> Result<watch::Receiver<Answer>, &'static str> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = waiting.get(host) {
            return Ok(answer.clone());
        }
        if waiting.len() >= limits::LOOKUPS_AT_ONCE {
            return Err("too many lookups hang already");
        }
        let (tell, answer) = watch::channel(None);
        let (table, name) = (Arc::clone(&self.waiting), host.to_owned());
        let work = move || {
            let found = system_lookup(&name);
            table.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            tell.send_replace(Some(found));
        };
        let thread = std::thread::Builder::new().name("lookup".to_owned()).stack_size(256 << 10).spawn(work);
        thread.map_err(|_| "the system gives no thread for the lookup")?;
        waiting.insert(host.to_owned(), answer.clone());
        Ok(answer)
    }
}

fn system_lookup(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|found| found.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("the name has no address".to_owned()) } else { Ok(addresses) }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.lookup(name.as_str()).await?;
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_need_no_lookup_and_names_are_looked_up() {
        let resolver = Resolver::new();
        assert_eq!(resolver.lookup("127.0.0.1").await.unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(resolver.lookup("[::1]").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(resolver.lookup("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        let error = resolver.lookup("a name with spaces").await.unwrap_err().to_string();
        assert!(error.starts_with("cannot resolve a name with spaces"), "{error}");
        assert!(resolver.waiting.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn hanging_lookups_are_bounded_and_shared() {
        let resolver = Resolver::new();
        let (tell, answer) = watch::channel(None);
        for n in 0..limits::LOOKUPS_AT_ONCE {
            resolver.waiting.lock().unwrap().insert(format!("slow{n}"), answer.clone());
        }
        let error = resolver.lookup("localhost").await.unwrap_err().to_string();
        assert!(error.contains("too many lookups"), "{error}");
        let shared = tokio::join!(resolver.lookup("slow1"), resolver.lookup("slow1"), async {
            tell.send_replace(Some(Ok(vec!["10.0.0.1".parse().unwrap()])));
        });
        assert_eq!(shared.0.unwrap(), shared.1.unwrap());
    }
}
