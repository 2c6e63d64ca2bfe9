//! `CloudEvent`s in binary mode: attributes in headers, the payload is the data.

use super::{Envelope, Text, Undecodable, check_id, check_name, check_specversion, parse_time};
use crate::model::RecordRef;

/// Whether the record is a `CloudEvent` in binary mode, by its headers.
pub(super) fn is_binary(record: &RecordRef<'_>) -> bool {
    record.header("ce_specversion").is_some()
}

/// Reads the attributes from the headers.
pub(super) fn decode(record: &RecordRef<'_>, payload: &str) -> Result<Envelope, Undecodable> {
    check_specversion(text(record, "ce_specversion")?.unwrap_or_default())?;
    if let Some(kind) = text(record, "content-type")?
        && !is_json(kind)
    {
        return Err(Undecodable::new("bad_content_type", "the content-type is not JSON; send application/json"));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(payload).map_err(|error| super::json::not_json(&error))?;
    let name = text(record, "ce_type")?
        .ok_or_else(|| Undecodable::new("no_name", "the header ce_type is missing; it names the event"))?;
    check_name(name)?;
    let id = text(record, "ce_id")?;
    if let Some(id) = id {
        check_id(id)?;
    }
    let version = match text(record, "ce_dataversion")? {
        Some(version) => version.parse().ok().filter(|version| *version > 0).ok_or_else(|| {
            Undecodable::new("bad_version", "the header ce_dataversion is not a whole number from 1 on")
        })?,
        None => 1,
    };
    Ok(Envelope {
        id: id.map(|id| Text::Owned(id.into())),
        source: text(record, "ce_source")?.filter(|source| !source.is_empty()).map(|source| Text::Owned(source.into())),
        name: Text::Owned(name.into()),
        version,
        occurred_at: text(record, "ce_time")?.map(parse_time).transpose()?,
        data: 0..payload.len(),
    })
}

/// A header as text.
fn text<'a>(record: &RecordRef<'a>, name: &str) -> Result<Option<&'a str>, Undecodable> {
    let value = record.header(name).map(std::str::from_utf8).transpose();
    value.map_err(|_| Undecodable::new("bad_header", format!("the header {name} is not UTF-8")))
}

/// Whether a media type is JSON, by itself or by its suffix.
pub(crate) fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}
