//! The host that a request names: it must be exactly one, well-formed and trusted.

use std::fmt;

use axum::http::{Request, header, uri::Authority};

/// Maximum length of a DNS name with a port.
const MAX_HOST: usize = 261;

/// The host of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// In lower case, without a trailing dot; an IPv6 address keeps its brackets.
    name: String,
    port: Option<u16>,
}

/// Why a request's host is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoHost {
    #[error("the request has no Host header")]
    Missing,
    #[error("the request has several Host headers")]
    Several,
    #[error("the Host header is malformed")]
    Malformed,
    #[error("the Host header and the request line name different hosts")]
    Contradiction,
}

impl Host {
    /// The host of a request, from its single `Host` header (RFC 9112, section 3.2).
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, NoHost> {
        let mut values = request.headers().get_all(header::HOST).iter();
        let value = values.next().ok_or(NoHost::Missing)?;
        if values.next().is_some() {
            return Err(NoHost::Several);
        }
        let host = value.to_str().ok().and_then(Self::parse).ok_or(NoHost::Malformed)?;
        // A request line with an absolute URL names the host too.
        match request.uri().authority() {
            Some(authority) if Self::parse(authority.as_str()).as_ref() != Some(&host) => Err(NoHost::Contradiction),
            _ => Ok(host),
        }
    }

    /// Parses `name`, `name:port`, `[::1]` or `[::1]:port`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_HOST || text.contains('@') {
            return None;
        }
        let authority: Authority = text.parse().ok()?;
        let name = authority.host();
        let name = name.strip_suffix('.').unwrap_or(name);
        let port = match text.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => Some(port.parse().ok()?),
            _ => None,
        };
        (!name.is_empty()).then(|| Self { name: name.to_ascii_lowercase(), port })
    }

    /// Whether it is one of `trusted`: names without ports, or `*.name` for every subdomain.
    pub(super) fn is_among(&self, trusted: &[String]) -> bool {
        trusted.iter().any(|pattern| {
            let pattern = pattern.to_ascii_lowercase();
            match pattern.strip_prefix("*.") {
                Some(parent) => {
                    self.name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
                None => pattern == "*" || self.name == pattern,
            }
        })
    }

    /// The host for a redirect to https, without the default port of http.
    pub(super) fn for_https(&self) -> String {
        match self.port {
            None | Some(80 | 443) => self.name.clone(),
            Some(port) => format!("{}:{port}", self.name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(host: &str, patterns: &[&str]) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Host::parse(host).is_some_and(|host| host.is_among(&patterns))
    }

    #[test]
    fn names_are_compared_without_case_dot_and_port() {
        for host in ["example.org", "EXAMPLE.org", "example.org.", "example.org:8000"] {
            assert!(trusted(host, &["example.org"]), "{host}");
        }
        assert!(trusted("[::1]:8000", &["[::1]"]));
        assert!(!trusted("[::2]:8000", &["[::1]"]));
    }

    #[test]
    fn a_star_matches_subdomains() {
        assert!(trusted("a.example.org", &["*.example.org"]));
        assert!(trusted("b.a.example.org", &["*.example.org"]));
        assert!(!trusted("example.org", &["*.example.org"]));
        assert!(!trusted("badexample.org", &["*.example.org"]));
        assert!(!trusted(".example.org", &["*.example.org"]));
    }

    #[test]
    fn malformed_hosts_are_refused() {
        let long = "a".repeat(300);
        for text in ["", "a b", "user@example.org", "example.org/path", "example.org:port", "exa\tmple", &long] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let of = |uri: &str, hosts: &[&str]| {
            let builder = hosts.iter().fold(Request::builder().uri(uri), |builder, host| builder.header("host", *host));
            Host::of(&builder.body(()).expect("a request"))
        };
        assert_eq!(of("/", &["a"]).map(|host| host.to_string()), Ok("a".to_owned()));
        assert_eq!(of("/", &[]), Err(NoHost::Missing));
        assert_eq!(of("/", &["a", "a"]), Err(NoHost::Several));
        assert_eq!(of("/", &["a@b"]), Err(NoHost::Malformed));
        assert_eq!(of("http://b/", &["a"]), Err(NoHost::Contradiction));
        assert!(of("http://A/", &["a"]).is_ok());
    }

    #[test]
    fn redirects_drop_the_usual_ports() {
        let https = |host| Host::parse(host).expect("a host").for_https();
        assert_eq!((https("a:80"), https("a"), https("a:8000")), ("a".into(), "a".into(), "a:8000".into()));
    }
}
