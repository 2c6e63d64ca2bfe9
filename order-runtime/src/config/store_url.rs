//! The URL of the store, and its display without the password.

use std::{fmt, path::PathBuf};

use tokio_postgres::config::Host;

use super::{
    Secret,
    parse::{Expected, host},
};
use crate::store::postgres;

/// The URL of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite://PATH`.
    Sqlite(PathBuf),
    /// `postgres://…`.
    Postgres(PostgresUrl),
    /// `memory`.
    Memory,
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// The URL of a PostgreSQL database. Its display shows hosts, ports and the database's name, but no user, password or parameter.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: Secret,
    shown: String,
}

impl PostgresUrl {
    /// The whole URL, for connecting.
    pub fn expose(&self) -> &str {
        self.url.expose()
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

/// Parses `sqlite://PATH`, `postgres://…` or `memory`.
pub(super) fn parse(text: &str) -> Result<StoreUrl, Expected> {
    const FORMS: &str = "sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or memory";
    let expected = |what: String| Err(Expected(what));
    let text = text.trim();
    if text.eq_ignore_ascii_case("memory") {
        return Ok(StoreUrl::Memory);
    }
    match text.split_once("://") {
        Some(("sqlite", ":memory:")) => {
            expected("memory; the in-memory store is selected by this word alone".to_owned())
        }
        Some(("sqlite", path)) if path.contains(['?', '#']) => {
            expected("sqlite://PATH without parameters; the service sets what it needs".to_owned())
        }
        Some(("sqlite", path)) if !path.is_empty() && !path.ends_with('/') => Ok(StoreUrl::Sqlite(PathBuf::from(path))),
        Some(("postgres" | "postgresql", _)) => match postgres(text) {
            Ok(url) => Ok(StoreUrl::Postgres(url)),
            Err(why) => expected(format!("{FORMS}; {why}")),
        },
        Some((scheme, _)) if scheme.starts_with("postgres") => {
            expected(format!("{FORMS}; the scheme is postgres, without the name of a driver"))
        }
        None if text.contains("host=") || text.contains("password=") => {
            expected(format!("{FORMS}; the form with keywords is not supported, write it as a URL"))
        }
        _ => expected(FORMS.to_owned()),
    }
}

fn postgres(text: &str) -> Result<PostgresUrl, String> {
    const CURE: &str =
        "the text after the password is not a host; write @ / ? # : in user and password as %40 %2F %3F %23 %3A";
    let authority =
        text.split_once("://").map_or(text, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
    if authority.matches('@').count() > 1 {
        return Err(CURE.to_owned());
    }
    let config = postgres::check_url(text)?;
    let mut hosts = Vec::new();
    let ports = config.get_ports();
    for (index, name) in config.get_hosts().iter().enumerate() {
        let name = match name {
            // The driver accepts any text as a host, including the end of a password.
            Host::Tcp(name) => host(name).map_err(|_| CURE)?,
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
    Ok(PostgresUrl { url: Secret::new(text), shown: format!("postgres://{credentials}{}{database}", hosts.join(",")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores() {
        for (text, wanted) in [
            ("memory", Some(StoreUrl::Memory)),
            ("sqlite://service.db", Some(StoreUrl::Sqlite("service.db".into()))),
            ("sqlite:///var/lib/service.db", Some(StoreUrl::Sqlite("/var/lib/service.db".into()))),
            ("sqlite://", None),
            ("sqlite://dir/", None),
            ("sqlite://a.db?mode=ro", None),
            ("mysql://a", None),
        ] {
            assert_eq!(parse(text).ok(), wanted, "{text}");
        }
        assert!(matches!(parse("postgres://u:secret@localhost/service"), Ok(StoreUrl::Postgres(_))));
    }

    #[test]
    fn the_error_of_a_url_does_not_quote_it() {
        for (text, cure) in [
            ("postgres://u:secret@db/service", "sslmode=disable"),
            ("postgres://u:p@secret@localhost/service", "%40"),
            ("postgresql+asyncpg://u:secret@localhost/service", "without the name of a driver"),
            ("host=localhost password=secret", "write it as a URL"),
        ] {
            let Expected(why) = parse(text).expect_err("it cannot be used");
            assert!(why.contains(cure) && !why.contains("secret"), "{text}: {why}");
        }
    }
}
