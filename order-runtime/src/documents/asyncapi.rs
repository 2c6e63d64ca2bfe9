//! The AsyncAPI document of topics and messages: <https://www.asyncapi.com/docs/reference/specification/v3.0.0>.

use serde_json::{Map, Value, json};

use super::{
    Declared,
    events::{self, Definitions},
};
use crate::engine::dead_letter::HEADERS;

pub(super) fn document(declared: &Declared<'_>) -> Value {
    let kafka = &declared.config.kafka;
    let definitions = Definitions::of(declared.registry, "#/components/schemas/");
    let mut messages = Map::new();
    for entry in declared.registry.processors() {
        let name = events::name(entry);
        let message = json!({
            "name": entry.event, "title": entry.event, "summary": entry.summary, "contentType": "application/json",
            "payload": definitions.reference(&name),
        });
        messages.insert(name, message);
    }
    let taken: Map<String, Value> = messages.keys().map(|name| (name.clone(), reference("messages", name))).collect();
    let mut channels = Map::new();
    let mut operations = Map::new();
    for (number, topic) in (1..).zip(&kafka.topics) {
        let channel = format!("events{number}");
        let title = if topic.name().is_some() { "Events" } else { "Topics that match the pattern" };
        channels.insert(channel.clone(), json!({"address": topic.as_str(), "title": title, "messages": taken}));
        operations.insert(
            format!("handleEvents{number}"),
            json!({
                "action": "receive",
                "channel": {"$ref": format!("#/channels/{channel}")},
                "summary": "Handles events, once each, in the order of their key.",
                "bindings": {"kafka": {"groupId": {"type": "string", "enum": [kafka.group_id]}}},
            }),
        );
    }
    let letter = json!({"deadLetter": reference("messages", "deadLetter")});
    channels.insert(
        "deadLetters".to_owned(),
        json!({"address": kafka.dlq_topic, "title": "Dead letters", "messages": letter}),
    );
    operations.insert(
        "sendDeadLetters".to_owned(),
        json!({
            "action": "send",
            "channel": {"$ref": "#/channels/deadLetters"},
            "summary": "Sends events that cannot be handled: key, payload and headers byte for byte, and the reason.",
        }),
    );
    let headers: Map<String, Value> =
        HEADERS.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
    messages.insert(
        "deadLetter".to_owned(),
        json!({
            "name": "deadLetter", "title": "Dead letter", "payload": true,
            "headers": {"type": "object", "required": HEADERS, "properties": headers},
        }),
    );
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": declared.config.app.name, "version": declared.dispatcher.version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": definitions.schemas},
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}
