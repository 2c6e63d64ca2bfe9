//! Checks that the published JSON Schema and the service accept the same events, with one table of events for both.

use order_tests::{Broker, Deployment};
use serde_json::Value;

/// The members of a JSON object as text.
type Members = &'static [(&'static str, &'static str)];

const ITEM: Members = &[("sku", r#""A-1""#), ("quantity", "2"), ("unitPrice", r#""12.50""#)];
const CREATED: Members = &[
    ("orderId", r#""order-1""#),
    ("customerId", r#""customer-1""#),
    ("currency", r#""EUR""#),
    ("items", r#"[{"sku":"A-1","quantity":2,"unitPrice":"12.50"}]"#),
    ("total", "25.0"),
];
const PAID: Members = &[("orderId", r#""order-1""#), ("amount", r#""25.00""#)];
const SHIPPED: Members = &[("orderId", r#""order-1""#), ("carrier", r#""DHL""#), ("trackingNumber", r#""T-1""#)];
const CANCELLED: Members = &[("orderId", r#""order-1""#), ("reason", r#""too late""#)];
const EVENT: Members = &[
    ("eventId", r#""e-1""#),
    ("eventName", r#""OrderDelivered""#),
    ("version", "1"),
    ("occurredAt", r#""2026-01-31T12:00:00Z""#),
    ("data", r#"{"orderId":"order-1"}"#),
];

/// Values that are invalid for most or all members.
const OTHERS: [&str; 7] = ["null", "true", "7", "1.5", "[]", "{}", r#""text""#];

/// Numbers that JSON Schema counts as integers, and their neighbours.
const INTEGERS: [&str; 20] = [
    "1",
    "0",
    "-1",
    "-0",
    "1.0",
    "1e2",
    "10e-1",
    "1E+1",
    "1e-1",
    "2.5",
    "4294967295",
    "4294967296",
    "4294967295.0",
    "1e10",
    "4294967295.5",
    r#""1""#,
    r#""""#,
    "9007199254740993",
    "1e300",
    "-1.0",
];

const AMOUNTS: [&str; 49] = [
    "0",
    "1",
    "1.5",
    "-1",
    "-0",
    "0.0",
    "-0.5",
    "1e3",
    "1E-2",
    "2.50e1",
    "1e27",
    "1e28",
    "1e-27",
    "123456789012345678",
    r#""0""#,
    r#""1.50""#,
    r#""-0""#,
    r#""-0.0""#,
    r#""-1""#,
    r#""1e3""#,
    r#""1E+3""#,
    r#""1e18""#,
    r#""1e19""#,
    r#""1e20""#,
    r#""1e-18""#,
    r#""1e-19""#,
    r#""1e-20""#,
    r#""123456789.123456789e18""#,
    r#""123456789.123456789e-18""#,
    r#""123456789.123456789e-19""#,
    r#""1234567890e1""#,
    r#""1.1234567890e1""#,
    r#""1e007""#,
    r#""1e07""#,
    r#""9999999999999999999999999999""#,
    r#""99999999999999999999999999999""#,
    r#""0.123456789012345678901234567""#,
    r#""0.1234567890123456789012345678""#,
    r#""007""#,
    r#""1.""#,
    r#"".5""#,
    r#""+1""#,
    r#"" 1""#,
    r#""1 ""#,
    r#""1_000""#,
    r#""0x10""#,
    r#""1,5""#,
    r#""NaN""#,
    r#""1\u0000""#,
];

/// Amounts with too many digits, which JSON Schema cannot detect: a validator sees the nearest 64-bit number.
const BEYOND_THE_SCHEMA: [&str; 4] = [
    "25.004999999999999999999999999999",
    "25.004999999999999999999999999999e0",
    "0.12345678901234567890123456789",
    "1e-29",
];

fn text(character: &str, times: usize) -> String {
    format!("\"{}\"", character.repeat(times))
}

/// Texts around a maximum length.
fn texts(longest: usize) -> Vec<String> {
    let mut texts = vec![text("x", 0), text(" ", 1)];
    for character in ["x", "é", "\u{1f4e6}"] {
        texts.extend([text(character, longest), text(character, longest + 1)]);
    }
    let special = [
        "a\\tb",
        "a\\nb",
        "a\\u0000b",
        "a\\u001fb",
        "a\\u007fb",
        "a\\u0085b",
        "a\\u2028b",
        "a\\u00e9b",
        "a\\ud83d\\udce6b",
    ];
    texts.extend(special.map(|special| text(special, 1)));
    texts.extend(OTHERS.map(str::to_owned));
    texts
}

/// An object with this value for the member `name`; an empty value removes the member.
fn object(members: Members, name: &str, value: &str) -> String {
    let members = members.iter().map(|(known, text)| (*known, if *known == name { value } else { *text }));
    let members = members.filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("\"{name}\":{text}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn event(name: &str, data: &str) -> String {
    format!(r#"{{"eventName":"{name}","data":{data}}}"#)
}

fn with_item(name: &str, value: &str) -> String {
    event("OrderCreated", &object(CREATED, "items", &format!("[{}]", object(ITEM, name, value))))
}

/// The table of events.
fn rows() -> Vec<String> {
    let mut rows = Vec::new();
    let fields: [(&str, Members, &str, Vec<String>); 10] = [
        ("OrderCreated", CREATED, "orderId", texts(128)),
        ("OrderCreated", CREATED, "customerId", texts(128)),
        ("OrderPaid", PAID, "orderId", texts(128)),
        ("OrderPaid", PAID, "amount", AMOUNTS.map(str::to_owned).to_vec()),
        ("OrderCreated", CREATED, "total", AMOUNTS.map(str::to_owned).to_vec()),
        ("OrderShipped", SHIPPED, "carrier", texts(128)),
        ("OrderShipped", SHIPPED, "trackingNumber", texts(128)),
        ("OrderCancelled", CANCELLED, "reason", texts(1024)),
        (
            "OrderCreated",
            CREATED,
            "currency",
            ["EUR", "eur", "EURO", "EU", "ÉUR", "E1R", "EUR\\n", ""].map(|code| text(code, 1)).to_vec(),
        ),
        (
            "OrderCreated",
            CREATED,
            "items",
            [1, 1000, 1001].map(|items| format!("[{}]", vec![object(ITEM, "", ""); items].join(","))).to_vec(),
        ),
    ];
    for (name, members, field, values) in fields {
        let others = OTHERS.iter().map(|other| (*other).to_owned()).chain([String::new()]);
        rows.extend(values.into_iter().chain(others).map(|value| event(name, &object(members, field, &value))));
    }
    let others = || OTHERS.iter().map(|other| (*other).to_owned()).chain([String::new()]);
    rows.extend(texts(128).into_iter().chain(others()).map(|sku| with_item("sku", &sku)));
    rows.extend(
        INTEGERS.map(str::to_owned).into_iter().chain(others()).map(|quantity| with_item("quantity", &quantity)),
    );
    rows.extend(AMOUNTS.map(str::to_owned).into_iter().chain(others()).map(|price| with_item("unitPrice", &price)));
    rows.extend(texts(256).into_iter().chain(others()).map(|id| object(EVENT, "eventId", &id)));
    let versions = [
        "1", "1.0", "1e0", "10e-1", "2", "0", "-1", "1.5", r#""1""#, r#""01""#, r#""+1""#, r#""1.0""#, r#""2""#,
        r#""""#,
    ];
    rows.extend(
        versions.map(str::to_owned).into_iter().chain(others()).map(|version| object(EVENT, "version", &version)),
    );
    let times = [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.123456789012Z",
        "2026-01-31T12:00:00+01:00",
        "2026-01-31T12:00:00.5-23:59",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:00",
        "2026-01-31",
        "yesterday",
        "",
    ];
    rows.extend(
        times.map(|time| text(time, 1)).into_iter().chain(others()).map(|time| object(EVENT, "occurredAt", &time)),
    );
    for (field, values) in [
        ("eventName", [r#""OrderDelivered""#, r#""orderDelivered""#, r#""OrderInvented""#, r#""""#]),
        ("data", [r#"{"orderId":"o","more":[{"orderId":7}]}"#, r#"{"orderid":"o"}"#, "[1]", r#""{}""#]),
    ] {
        rows.extend(values.map(str::to_owned).into_iter().chain(others()).map(|value| object(EVENT, field, &value)));
    }
    rows
}

#[tokio::test]
async fn the_published_schema_and_the_service_agree() {
    let deployment = Deployment::new(&Broker::embedded().await).await;
    let published = deployment.run(["schema"]).await.expect_code(0).json();
    let schema = jsonschema::options().should_validate_formats(true).build(&published).expect("it is a JSON Schema");
    let fits = |event: &str| serde_json::from_str::<Value>(event).is_ok_and(|event| schema.is_valid(&event));
    let service = deployment.start_ready().await;
    let rows = rows();
    assert!(rows.len() >= 146, "{} rows", rows.len());
    let mut disagree = Vec::new();
    let mut taken = 0;
    for event in &rows {
        let answer = service.post_text("/events", event.clone()).await;
        let is_taken = answer.status == 202;
        taken += usize::from(is_taken);
        if is_taken != fits(event) {
            let shown: String = event.chars().take(300).collect();
            disagree.push(format!("the service answers {}: {shown} {}", answer.status, answer.body));
        }
    }
    assert!(disagree.is_empty(), "{} of {} rows:\n{}", disagree.len(), rows.len(), disagree.join("\n"));
    assert!(taken * 4 > rows.len() && taken * 4 < rows.len() * 3, "{taken} of {} rows are right", rows.len());
    for amount in BEYOND_THE_SCHEMA {
        let event = event("OrderPaid", &object(PAID, "amount", amount));
        assert!(fits(&event), "{amount}");
        assert_eq!(service.post_text("/events", event).await.status, 422, "{amount} is never rounded");
    }
}
