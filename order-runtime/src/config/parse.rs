//! Parsers of the values of settings. Every error states the expected form; the caller adds the name and the text.

use std::{collections::BTreeMap, fmt, net::Ipv6Addr, str::FromStr, time::Duration};

use super::{Embedded, OffsetReset, OnTruncation, StoreUrl};
use crate::{
    headers::HeaderFormat,
    model::{self, TopicPattern},
};

/// The form that is expected instead of the given text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected(pub(super) String);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Parsed<T> = Result<T, Expected>;

fn expected<T>(what: impl Into<String>) -> Parsed<T> {
    Err(Expected(what.into()))
}

/// The text without the quotes around it; `None` without quotes. A shell and an env file remove them, docker's `--env-file`
/// does not.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\''))
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => expected("True or False (also 1/0, yes/no, on/off)"),
    }
}

/// A whole number from `least` to `most`.
pub(super) fn number<T>(text: &str, least: T, most: T) -> Parsed<T>
where
    T: Copy + FromStr + PartialOrd + fmt::Display,
{
    match text.trim().parse::<T>() {
        Ok(number) if least <= number && number <= most => Ok(number),
        _ => expected(format!("a whole number from {least} to {most}")),
    }
}

/// A text of at least one visible character, on one line.
pub(super) fn line(text: &str) -> Parsed<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return expected("a text on one line");
    }
    Ok(text.to_owned())
}

/// `["a","b"]` or `a,b`, with or without a trailing comma; at least one entry, none of them empty.
pub(super) fn list(text: &str) -> Parsed<Vec<String>> {
    const FORM: &str = r#"a list: JSON such as ["a","b"], or a,b"#;
    let entries: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).or_else(|_| expected(FORM))?
    } else {
        without_last_comma(text).split(',').map(ToOwned::to_owned).collect()
    };
    let entries: Vec<String> = entries.iter().map(|entry| entry.trim().to_owned()).collect();
    if entries.iter().any(String::is_empty) {
        return expected(FORM);
    }
    Ok(entries)
}

/// `spring`, `connect`, or both.
pub(super) fn header_formats(text: &str) -> Parsed<Vec<HeaderFormat>> {
    let mut formats = Vec::new();
    for entry in list(&text.replace('|', ","))? {
        let is_named = |format: &HeaderFormat| format.as_str() == entry.to_ascii_lowercase();
        let Some(format) = HeaderFormat::additional().find(is_named) else {
            return expected("spring, connect, or both with a comma");
        };
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    Ok(formats)
}

/// `2s`, `1m 30s`; above zero.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    match humantime::parse_duration(text.trim()) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => expected("a duration above zero, such as 500ms, 2s or 1m 30s"),
    }
}

/// `{"Feature": 1}`.
pub(super) fn contracts(text: &str) -> Parsed<BTreeMap<String, u32>> {
    serde_json::from_str(text)
        .or_else(|_| expected(r#"a JSON object from feature to contract version, such as {"Feature": 1}"#))
}

/// An IP address or a host name, without a port; an IPv6 address may be in brackets.
pub(super) fn host(text: &str) -> Parsed<String> {
    match model::host(text) {
        Some(host) => Ok(host.to_owned()),
        None => expected("an IP address or a host name without a port, such as 127.0.0.1"),
    }
}

/// The URL of the store.
pub(super) fn store(text: &str) -> Parsed<StoreUrl> {
    StoreUrl::parse(text).map_err(Expected)
}

fn without_last_comma(text: &str) -> &str {
    let text = text.trim();
    text.strip_suffix(',').unwrap_or(text)
}

/// `host:port`, separated by commas; the default port is Kafka's 9092.
pub(super) fn brokers(text: &str) -> Parsed<String> {
    const FORM: &str = "host:port, separated by commas, such as localhost:9092";
    let text = without_last_comma(text);
    if text.contains("://") {
        return expected(format!(
            "{FORM}; without a scheme such as PLAINTEXT://, the protocol is set by KAFKA_SECURITY_PROTOCOL"
        ));
    }
    let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
    if brokers.iter().any(|broker| broker.contains([';', ' ', '\t'])) {
        return expected(format!("{FORM}; separate brokers by a comma, not by a semicolon or a blank"));
    }
    if brokers.iter().any(|broker| may_end_in_a_port(broker)) {
        return expected(format!("{FORM}; write an IPv6 address with a port in brackets, such as [::1]:9092"));
    }
    let addresses: Option<Vec<String>> = brokers.into_iter().map(broker_address).collect();
    addresses.map(|addresses| addresses.join(",")).ok_or_else(|| Expected(FORM.to_owned()))
}

/// Whether this is an IPv6 address without brackets whose last group may also be a port.
fn may_end_in_a_port(broker: &str) -> bool {
    let last = broker.rsplit(':').next().unwrap_or_default();
    broker.parse::<Ipv6Addr>().is_ok() && last.len() == 4 && last.bytes().all(|byte| byte.is_ascii_digit())
        // Five digits are not a group, so they can only be a port.
        || broker.rsplit_once(':').is_some_and(|(host, port)| host.parse::<Ipv6Addr>().is_ok() && port.len() == 5)
}

fn broker_address(text: &str) -> Option<String> {
    let (host_text, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        Some(_) | None => (text, "9092"),
    };
    let host = host(host_text).ok()?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// The name of one topic, by Kafka's rules.
pub(super) fn topic(text: &str) -> Parsed<String> {
    let name = text.trim();
    let legal = (1..=249).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if legal { Ok(name.to_owned()) } else { expected("a topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -") }
}

/// A list of topic names and of patterns, which start with `^`.
pub(super) fn topics(text: &str) -> Parsed<Vec<TopicPattern>> {
    let mut topics: Vec<TopicPattern> = Vec::new();
    for entry in list(text)? {
        let Ok(pattern) = TopicPattern::parse(&entry) else {
            return expected("patterns (entries that start with ^) that are regular expressions");
        };
        if pattern.name().is_some_and(|name| topic(name).is_err()) {
            return expected("topic names of the characters a-z A-Z 0-9 . _ -, or patterns that start with ^");
        }
        if topics.contains(&pattern) {
            return expected(format!("each topic once; {entry} is listed twice"));
        }
        topics.push(pattern);
    }
    Ok(topics)
}

pub(super) fn offset_reset(text: &str) -> Parsed<OffsetReset> {
    match text.trim().to_ascii_lowercase().as_str() {
        "earliest" => Ok(OffsetReset::Earliest),
        "latest" => Ok(OffsetReset::Latest),
        "error" => Ok(OffsetReset::Error),
        _ => expected("earliest, latest or error"),
    }
}

pub(super) fn embedded(text: &str) -> Parsed<Embedded> {
    match text.trim().to_ascii_lowercase().as_str() {
        "auto" => Ok(Embedded::Auto),
        "always" => Ok(Embedded::Always),
        "never" => Ok(Embedded::Never),
        _ => expected("auto, always or never"),
    }
}

pub(super) fn on_truncation(text: &str) -> Parsed<OnTruncation> {
    match text.trim().to_ascii_lowercase().as_str() {
        "stop" => Ok(OnTruncation::Stop),
        "continue" => Ok(OnTruncation::Continue),
        _ => expected("stop or continue"),
    }
}

/// Hosts that a request may name: names, addresses, `*.example.com` for the names below one, `*` for any.
pub(super) fn trusted_hosts(text: &str) -> Parsed<Vec<String>> {
    list(text)?
        .into_iter()
        .map(|entry| {
            let name = entry.strip_prefix("*.").unwrap_or(&entry);
            let bracketed = name.starts_with('[') == name.contains(':');
            if entry == "*" || (bracketed && host(name).is_ok()) {
                return Ok(entry.to_ascii_lowercase());
            }
            expected("host names or addresses without a port, IPv6 in brackets, *.example.com for the names below one")
        })
        .collect()
}

/// Origins that a browser may call from: `scheme://host`, with a port unless it is the scheme's default, or `*` alone.
pub(super) fn origins(text: &str) -> Parsed<Vec<String>> {
    let origins = list(text)?;
    let legal = |origin: &String| match origin.split_once("://") {
        Some(("http" | "https", authority)) => is_authority(authority),
        _ => false,
    };
    if origins == ["*"] || origins.iter().all(legal) {
        return Ok(origins.iter().map(|origin| origin.to_ascii_lowercase()).collect());
    }
    expected(
        "origins such as https://app.example.com or http://localhost:3000 (scheme, host and port, nothing after), or * alone",
    )
}

fn is_authority(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    name.starts_with('[') == name.contains(':')
        && host(name).is_ok()
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// A bearer token that is hard to guess: at least 16 visible ASCII characters.
pub(super) fn token(text: &str) -> Parsed<String> {
    let fits = text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { expected("at least 16 visible ASCII characters without blanks") }
}

/// The name of a level.
pub(super) fn level(text: &str) -> Parsed<String> {
    let level = text.trim().to_ascii_lowercase();
    match level.as_str() {
        "off" | "error" | "warn" | "info" | "debug" | "trace" => Ok(level),
        "warning" => Ok("warn".to_owned()),
        _ => expected("off, error, warn, info, debug or trace"),
    }
}

/// A filter of tracing-subscriber.
pub(super) fn filter(text: &str) -> Parsed<String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => expected("a log filter, such as info,order_runtime=debug"),
    }
}

/// Whether logs are JSON.
pub(super) fn log_format(text: &str) -> Parsed<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => expected("text or json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks texts against what they parse to; `None` is an error.
    fn table<T: PartialEq + fmt::Debug>(parse: impl Fn(&str) -> Parsed<T>, rows: &[(&str, Option<T>)]) {
        for (text, wanted) in rows {
            assert_eq!(parse(text).ok().as_ref(), wanted.as_ref(), "{text:?}");
        }
    }

    fn entries<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(ToOwned::to_owned).to_vec()
    }

    #[test]
    fn booleans_in_any_case() {
        table(
            boolean,
            &[
                ("True", Some(true)),
                ("TRUE", Some(true)),
                ("yes ", Some(true)),
                ("1", Some(true)),
                ("False", Some(false)),
                ("no", Some(false)),
                ("0", Some(false)),
                ("", None),
                ("2", None),
                ("truee", None),
            ],
        );
    }

    #[test]
    fn lists_as_json_or_with_commas() {
        table(
            list,
            &[
                ("a", Some(entries(["a"]))),
                (" a , b ", Some(entries(["a", "b"]))),
                (r#"["a","b"]"#, Some(entries(["a", "b"]))),
                (r#"["a","#, None),
                ("[1]", None),
                ("a,b,", Some(entries(["a", "b"]))),
                ("a,,b", None),
                ("a,,", None),
                (",", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn broker_addresses() {
        table(
            brokers,
            &[
                ("localhost", Some("localhost:9092".into())),
                ("k1:19092, k2:9093", Some("k1:19092,k2:9093".into())),
                ("[::1]:9092", Some("[::1]:9092".into())),
                ("::1", Some("[::1]:9092".into())),
                ("k1:0", None),
                ("k1:port", None),
                ("k1,,k2", None),
                ("http://k1:9092", None),
                ("k1:9092,", Some("k1:9092".into())),
                ("fe80::1:2", Some("[fe80::1:2]:9092".into())),
                ("::1:9092", None),
                ("fe80::1:19092", None),
            ],
        );
        for (text, cure) in [
            ("::1:9092", "[::1]:9092"),
            ("PLAINTEXT://kafka:9092", "KAFKA_SECURITY_PROTOCOL"),
            ("k1:9092;k2:9092", "a comma"),
            ("k1:9092 k2:9092", "a comma"),
        ] {
            let Expected(what) = brokers(text).expect_err("no brokers");
            assert!(what.contains(cure), "{text}: {what}");
        }
    }

    fn patterns(texts: &[&str]) -> Vec<TopicPattern> {
        texts.iter().map(|text| TopicPattern::parse(text).expect("a topic")).collect()
    }

    #[test]
    fn topics_are_names_or_patterns() {
        table(
            topics,
            &[
                (r#"["one-topic"]"#, Some(patterns(&["one-topic"]))),
                ("a,^b.*", Some(patterns(&["a", "^b.*"]))),
                ("a,a", None),
                ("a b", None),
                ("^(", None),
                ("..", None),
            ],
        );
    }

    #[test]
    fn hosts_that_may_be_trusted() {
        table(
            trusted_hosts,
            &[
                ("localhost,[::1]", Some(entries(["localhost", "[::1]"]))),
                ("*.Example.com", Some(entries(["*.example.com"]))),
                ("*", Some(entries(["*"]))),
                ("a.*.com", None),
                ("localhost:8000", None),
                ("::1", None),
                ("a/b", None),
            ],
        );
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        table(
            origins,
            &[
                (
                    "https://app.example.com,http://localhost:3000",
                    Some(entries(["https://app.example.com", "http://localhost:3000"])),
                ),
                ("http://[::1]:3000", Some(entries(["http://[::1]:3000"]))),
                ("*", Some(entries(["*"]))),
                ("*,https://a", None),
                ("https://a/", None),
                ("null", None),
                ("ftp://a", None),
                ("https://a:0", None),
            ],
        );
    }

    #[test]
    fn other_values() {
        table(duration, &[("2s", Some(Duration::from_secs(2))), ("0s", None), ("2", None)]);
        table(
            |text| number::<u16>(text, 1, 100),
            &[("1", Some(1)), (" 100 ", Some(100)), ("0", None), ("101", None), ("-1", None)],
        );
        table(host, &[("0.0.0.0", Some("0.0.0.0".into())), ("[::]", Some("::".into())), ("a:1", None), ("", None)]);
        table(
            token,
            &[
                ("0123456789abcdef", Some("0123456789abcdef".into())),
                ("0123456789abcde", None),
                ("0123456789 abcdef", None),
            ],
        );
        table(filter, &[("info,order_runtime=debug", Some("info,order_runtime=debug".into())), ("a=b=c=d", None)]);
        table(level, &[("INFO", Some("info".into())), ("verbose", None)]);
    }
}
