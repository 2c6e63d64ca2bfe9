//! The URL of a database, and its display without secrets.

use std::fmt;

use tokio_postgres::config::Host;

use super::link;
use crate::{model::host, store::StoreError};

/// The URL of a PostgreSQL database. Its display shows hosts, ports and the database's name, but no user, password or parameter.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: String,
    shown: String,
}

impl PostgresUrl {
    /// Parses a URL, or returns why it cannot be used. The reason contains no secrets of the URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const CURE: &str =
            "the text after the password is not a host; write @ / ? # : in user and password as %40 %2F %3F %23 %3A";
        let authority =
            text.split_once("://").map_or(text, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
        if authority.matches('@').count() > 1 {
            return Err(CURE.to_owned());
        }
        let config = match link::settings(text) {
            Ok((config, _)) => config,
            Err(StoreError::Unusable(why)) => return Err(why),
            Err(error) => return Err(error.to_string()),
        };
        let mut hosts = Vec::new();
        let ports = config.get_ports();
        for (index, name) in config.get_hosts().iter().enumerate() {
            let name = match name {
                // The driver accepts any text as a host, including the end of a password.
                Host::Tcp(name) => host(name).ok_or(CURE)?.to_owned(),
                #[cfg(unix)]
                Host::Unix(path) => path.to_string_lossy().replace('/', "%2F"),
            };
            let name = if name.contains(':') { format!("[{name}]") } else { name };
            hosts.push(match ports.get(index).or(ports.first()) {
                Some(port) if *port != 5432 => format!("{name}:{port}"),
                _ => name,
            });
        }
        let credentials = if config.get_user().is_some() || config.get_password().is_some() { "***@" } else { "" };
        // A name with other characters may be the rest of a password.
        let simple = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        let database = config
            .get_dbname()
            .map_or_else(String::new, |name| if simple(name) { format!("/{name}") } else { "/***".to_owned() });
        Ok(Self { url: text.to_owned(), shown: format!("postgres://{credentials}{}{database}", hosts.join(",")) })
    }

    /// The whole URL, for connecting.
    pub fn expose(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
