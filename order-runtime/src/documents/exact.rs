//! Rules for every event, whatever its type declares; the published schemas state them too.

use serde_json::{Map, Value, json};

/// A text without control characters.
pub(super) const WITHOUT_CONTROLS: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
/// A text without U+0000, which no event may have.
const WITHOUT_NUL: &str = r"^[^\x00]*$";

/// The integer types of Rust, by the format of their schema.
const INTEGERS: [(&str, i64, u64); 8] = [
    ("uint8", 0, u8::MAX as u64),
    ("uint16", 0, u16::MAX as u64),
    ("uint32", 0, u32::MAX as u64),
    ("uint64", 0, u64::MAX),
    ("int8", i8::MIN as i64, i8::MAX as u64),
    ("int16", i16::MIN as i64, i16::MAX as u64),
    ("int32", i32::MIN as i64, i32::MAX as u64),
    ("int64", i64::MIN, i64::MAX as u64),
];

/// Adds these rules to a schema and its inner schemas, unless a schema is stricter.
pub(super) fn add_rules(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    bound_integers(fields);
    let says_more = ["pattern", "format", "enum", "const"].iter().any(|name| fields.contains_key(*name));
    if is_string(fields) && !says_more {
        fields.insert("pattern".to_owned(), WITHOUT_NUL.into());
    }
    for (name, value) in fields {
        match name.as_str() {
            "properties" | "patternProperties" | "$defs" | "dependentSchemas" => {
                value.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(add_rules);
            }
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                value.as_array_mut().into_iter().flatten().for_each(add_rules);
            }
            "items" | "additionalProperties" | "contains" | "if" | "then" | "else" | "not" => add_rules(value),
            _ => {}
        }
    }
}

fn is_string(fields: &Map<String, Value>) -> bool {
    match fields.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => false,
    }
}

fn bound_integers(fields: &mut Map<String, Value>) {
    let format = fields.get("format").and_then(Value::as_str);
    let Some((_, minimum, maximum)) = INTEGERS.iter().find(|(name, ..)| Some(*name) == format) else { return };
    fields.entry("minimum").or_insert_with(|| json!(minimum));
    fields.entry("maximum").or_insert_with(|| json!(maximum));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_added_unless_a_schema_is_stricter() {
        let mut schema = json!({
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "pattern": {"type": ["string", "null"], "maxLength": 3},
                "code": {"type": "string", "pattern": "^x$"},
                "kind": {"enum": ["a"], "type": "string"},
                "count": {"type": "integer", "format": "uint32", "minimum": 1},
                "delta": {"type": ["integer", "null"], "format": "int16"},
                "many": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/T"}]}},
            },
            "$defs": {"T": {"type": "string"}},
        });
        add_rules(&mut schema);
        let nul = json!(WITHOUT_NUL);
        for pointer in ["/properties/type", "/properties/pattern", "/properties/many/items/anyOf/0", "/$defs/T"] {
            assert_eq!(schema.pointer(&format!("{pointer}/pattern")), Some(&nul), "{pointer}: {schema}");
        }
        assert_eq!(schema["properties"]["code"]["pattern"], "^x$");
        assert_eq!(schema["properties"]["kind"].get("pattern"), None);
        let count = &schema["properties"]["count"];
        assert_eq!((&count["minimum"], &count["maximum"]), (&json!(1), &json!(u32::MAX)));
        assert_eq!(schema["properties"]["delta"]["minimum"], json!(i16::MIN));
    }
}
