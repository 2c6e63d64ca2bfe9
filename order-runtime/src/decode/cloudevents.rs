//! `CloudEvent`s. In binary mode, their attributes are in headers and the payload is the data.

use std::borrow::Cow;

use super::{
    DecodeError, Decoder, Envelope,
    checks::{self, check_id, check_name, parse_time},
    json::{self, Member, Members},
};
use crate::model::RecordRef;

/// `CloudEvent`s in binary mode.
pub(super) struct Binary;

impl Decoder for Binary {
    fn recognizes(&self, record: &RecordRef<'_>) -> bool {
        record.header("ce_specversion").is_some()
    }

    fn decode<'r>(&self, record: &RecordRef<'r>) -> Result<Envelope<'r>, DecodeError> {
        let data = checks::payload(record)?;
        check_specversion(header(record, "ce_specversion")?.unwrap_or_default())?;
        if let Some(kind) = header(record, "content-type")?
            && !is_json(kind)
        {
            return Err(DecodeError::new("bad_content_type", "the content-type is not JSON; send application/json"));
        }
        json::check(data)?;
        let name = header(record, "ce_type")?
            .ok_or_else(|| DecodeError::new("no_name", "the header ce_type is missing; it names the event"))?;
        check_name(name)?;
        let id = header(record, "ce_id")?;
        id.map(check_id).transpose()?;
        let version = match header(record, "ce_dataversion")? {
            Some(version) => version.parse().ok().filter(|version| *version > 0).ok_or_else(|| {
                DecodeError::new("bad_version", "the header ce_dataversion is not a whole number from 1 on")
            })?,
            None => 1,
        };
        Ok(Envelope {
            id: id.map(Cow::Borrowed),
            source: header(record, "ce_source")?.filter(|source| !source.is_empty()).map(Cow::Borrowed),
            name: name.into(),
            version,
            occurred_at: header(record, "ce_time")?.map(parse_time).transpose()?,
            data: data.into(),
        })
    }
}

/// A header as text.
fn header<'r>(record: &RecordRef<'r>, name: &str) -> Result<Option<&'r str>, DecodeError> {
    let value = record.header(name).map(std::str::from_utf8).transpose();
    value.map_err(|_| DecodeError::new("bad_header", format!("the header {name} is not UTF-8")))
}

/// The source of a `CloudEvent` in structured mode, after checks of what only a `CloudEvent` has. `None` also for any other
/// event: without a `specversion`, `source` is an unknown member.
pub(super) fn structured_source<'r>(members: &Members<'r>) -> Result<Option<Cow<'r, str>>, DecodeError> {
    let Some(specversion) = members.specversion else { return Ok(None) };
    if members.is_source_repeated {
        return Err(json::repeated(Member::Source));
    }
    check_specversion(&json::text(specversion, Member::SpecVersion, "bad_specversion")?)?;
    let source = members.source.filter(|source| !matches!(source.get(), "null" | "\"\""));
    source.map(|source| json::text(source, Member::Source, "bad_source")).transpose()
}

/// Checks that the event follows CloudEvents 1.
fn check_specversion(version: &str) -> Result<(), DecodeError> {
    if version == "1.0" || version.starts_with("1.") {
        return Ok(());
    }
    Err(DecodeError::new("bad_specversion", "the specversion is not 1.0; send CloudEvents 1.0"))
}

/// Whether a media type is JSON, by itself or by its suffix.
pub(crate) fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}
