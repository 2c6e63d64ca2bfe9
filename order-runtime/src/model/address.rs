//! Hosts, and addresses of this machine.

use std::net::IpAddr;

/// The host without brackets, if the text is an IP address or a host name without a port; an IPv6 address may be in brackets.
pub(crate) fn host(text: &str) -> Option<&str> {
    let host = without_brackets(text.trim());
    (host.parse::<IpAddr>().is_ok() || is_host_name(host)).then_some(host)
}

/// Whether a host is reachable only from this machine: `localhost` and the loopback networks.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = without_brackets(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host)
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}
