use serde_json::{Value, json};

use super::{Declared, Kind, broken, document};
use crate::{
    config::Config,
    engine::tests::rig::{Rig, dispatcher},
};

async fn made(kind: Kind) -> Value {
    let rig = Rig::start().await;
    let config = Config::default();
    document(
        kind,
        &Declared { dispatcher: &dispatcher(), config: &config, registry: &rig.registry, routes: crate::http::routes },
    )
}

/// A document of one event whose data has this schema.
fn of(data: &Value) -> Value {
    json!({"$defs": {"Happened.v1": {"properties": {"data": {"$ref": "#/$defs/INPUT_Do"}}}, "INPUT_Do": data}})
}

#[tokio::test]
async fn every_reference_resolves() {
    fn references(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, into));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }
    for kind in [Kind::Schema, Kind::AsyncApi, Kind::OpenApi] {
        let document = made(kind).await;
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty(), "{kind:?}");
        for target in found {
            assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{kind:?}: {target}");
        }
        assert!(document.to_string().contains("Added.v1"), "{kind:?}");
        assert_eq!(broken(&document, &document), [""; 0], "{kind:?}: it is compatible with itself");
    }
}

#[test]
fn a_schema_may_accept_more() {
    let earlier = of(&json!({"type": "object", "required": ["a", "b"], "properties": {
        "a": {"type": "integer", "minimum": 1}, "b": {"enum": ["x"]}, "c": {"type": "string"},
    }}));
    let later = of(&json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": ["number", "null"], "minimum": 0}, "b": {"enum": ["x", "y"]}, "d": {"type": "string"},
    }}));
    assert_eq!(broken(&earlier, &later), [""; 0]);
}

#[test]
fn schemas_that_accept_less_are_reported() {
    let earlier = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": "integer"}, "b": {"enum": ["x", "y"]}, "c": {"type": "array", "items": {"type": "string"}},
        "d": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    }});
    for (pointer, replacement, expected) in [
        ("/required", json!(["a", "b"]), "Happened.v1.data.b: is required now"),
        ("/properties/a", json!({"type": "string"}), "Happened.v1.data.a: must be string now"),
        ("/properties/a", json!({"type": "integer", "minimum": 3}), "Happened.v1.data.a: minimum is 3 now"),
        ("/properties/b", json!({"enum": ["x"]}), "Happened.v1.data.b: fewer values are accepted"),
        ("/properties/c/items", json!({"type": "string", "maxLength": 5}), "Happened.v1.data.c[]: maxLength is 5 now"),
        (
            "/properties/d",
            json!({"anyOf": [{"type": "string"}]}),
            "Happened.v1.data.d: alternative 2 is no longer accepted",
        ),
    ] {
        let mut later = earlier.clone();
        *later.pointer_mut(pointer).expect("it is there") = replacement;
        assert_eq!(broken(&of(&earlier), &of(&later)), [expected], "{pointer}");
    }
}

#[test]
fn removed_events_routes_and_topics_are_reported() {
    let earlier = json!({
        "paths": {"/things": {"get": {}, "post": {}}},
        "channels": {"one": {"address": "things"}},
        "components": {"schemas": {"Happened.v1": {}, "Problem": {}}},
    });
    let later = json!({"paths": {"/things": {"get": {}}}, "channels": {}, "components": {"schemas": {}}});
    let expected = [
        "Happened.v1: the event is no longer handled",
        "POST /things: the route no longer exists",
        "things: the topic is no longer used",
    ];
    assert_eq!(broken(&earlier, &later), expected);
}

#[test]
fn comparing_schemas_that_refer_to_themselves_ends() {
    let tree = |limit| of(&json!({"properties": {"left": {"$ref": "#/$defs/INPUT_Do"}, "n": {"maximum": limit}}}));
    assert_eq!(broken(&tree(2), &tree(2)), [""; 0]);
    assert!(!broken(&tree(2), &tree(1)).is_empty());
}
