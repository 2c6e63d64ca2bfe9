//! Long lists of dead letters, and dead letters of other writers, in a real browser.

use order_tests::{Broker, Browser, Deployment, NewRecord, events};
use serde_json::json;

/// A dead letter in the service's format, of the event at this offset.
fn letter(deployment: &Deployment, offset: u32) -> NewRecord {
    let mut letter = NewRecord::json("order-1", &json!({"eventName": "OrderInvented", "data": {}}));
    letter.headers = [
        ("dlq-id", format!("{offset:032x}")),
        ("dlq-topic", deployment.events().name().to_owned()),
        ("dlq-partition", "0".to_owned()),
        ("dlq-offset", offset.to_string()),
        ("dlq-event-name", "OrderInvented".to_owned()),
        ("dlq-event-id", format!("event-{offset}")),
        ("dlq-reason", "unknown_event".to_owned()),
        ("dlq-error-code", "unknown_event".to_owned()),
        ("dlq-error-message", "no processor is declared for it".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), Some(value.into_bytes())))
    .to_vec();
    letter
}

/// Replaces a header of a letter, or removes it.
fn with(mut letter: NewRecord, name: &str, value: Option<&[u8]>) -> NewRecord {
    letter.headers.retain(|(known, _)| known != name);
    letter.headers.extend(value.map(|value| (name.to_owned(), Some(value.to_owned()))));
    letter
}

const MARKUP: &str = "<img src=x onerror=document.title='broken'>";
const REVERSED: &str = "\u{202e}gnp.\u{2066}redrO";

/// Hostile records in the dead-letter topic.
fn hostile(deployment: &Deployment) -> Vec<NewRecord> {
    let texts: [&[u8]; 7] = [
        MARKUP.as_bytes(),
        REVERSED.as_bytes(),
        b"\x1b[31m\x07\x7f\r\n",
        b"__proto__",
        b"\xff\xfe\xed\xa0\x80",
        b"",
        &[b'x'; 10_000],
    ];
    let names = ["dlq-event-name", "dlq-reason", "dlq-error-message", "dlq-event-id", "dlq-topic"];
    let mut letters = Vec::new();
    for text in texts {
        let number = u32::try_from(letters.len()).expect("a small number");
        let mut odd = names.iter().fold(letter(deployment, number), |odd, name| with(odd, name, Some(text)));
        odd.key = Some(text.to_owned());
        odd.payload = Some(text.to_owned());
        odd.headers.push(("a-header".to_owned(), Some(text.to_owned())));
        odd.headers.push((MARKUP.to_owned(), None));
        letters.push(odd);
    }
    // In a path, these ids would lead to another route.
    for id in ["..", "", "audit", "jobs"] {
        letters.push(with(letter(deployment, 90), "dlq-id", Some(id.as_bytes())));
    }
    for name in names {
        let number = 100 + u32::try_from(letters.len()).expect("a small number");
        letters.push(with(letter(deployment, number), name, None));
    }
    letters.push(with(letter(deployment, 200), "dlq-offset", Some(b"9223372036854775807")));
    letters.push(NewRecord { headers: letter(deployment, 201).headers, ..NewRecord::default() });
    letters.push(NewRecord::default());
    letters
}

pub(crate) async fn hostile_dead_letters_are_shown_as_text(broker: &Broker) {
    let Some(browser) = Browser::start().await else { return };
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    let letters = hostile(&deployment);
    let count = letters.len();
    assert!(count <= 20, "the list shows them at once");
    deployment.dead_letters().produce(letters).await;
    browser.open(&format!("{}/", service.address())).await;
    browser.choose("#letters-filter [name=state]", "all").await;
    browser.click("Search").await;
    let rows = "document.querySelectorAll('#letter-rows tr')";
    browser.sees("all are listed", &format!("{rows}.length === {count}")).await;
    browser.reads("#letter-rows", MARKUP).await;
    browser.reads("#letter-rows", "⟨U+202E⟩gnp.⟨U+2066⟩redrO").await;
    browser.reads("#letter-rows", "⟨U+001B⟩[31m⟨U+0007⟩⟨U+007F⟩").await;
    browser.reads("#letter-rows", "(no key)").await;
    browser.reads("#letter-rows", "(unknown event)").await;
    browser.reads("#letter-rows", "@9223372036854775807").await;

    for number in 0..count {
        browser.run(&format!("{rows}[{number}].querySelector('button.link').click();")).await;
        let open = "document.querySelector('#letter-dialog').open && document.querySelector('#letter .facts dd')";
        browser.sees(&format!("letter {number} is shown"), open).await;
        browser.click("Close").await;
        browser.sees("it is closed", "!document.querySelector('#letter-dialog').open").await;
    }
    let groups = "document.querySelectorAll('#letters-groups button')";
    browser.run(&format!("[...{groups}].find((group) => group.textContent.includes('<img')).click();")).await;
    browser.sees("one is of that group", &format!("{rows}.length === 1")).await;
    browser.reads("#letter-rows", MARKUP).await;

    let made = browser.run("return document.querySelectorAll('img[src=x]').length;").await;
    assert_eq!(made, 0, "markup is text");
    assert_ne!(browser.run("return document.title;").await, "broken", "nothing was run");
    browser.expect_no_refusal().await;
    browser.expect_no_trouble().await;
}

pub(crate) async fn long_lists_are_folded_and_continue(broker: &Broker) {
    const LETTERS: u32 = 1_300;
    let Some(browser) = Browser::start().await else { return };
    let deployment = Deployment::new(broker).await;
    let more = ["more-orders", "yet-more-orders"];
    for name in more {
        // The embedded broker creates a topic with its first record.
        deployment.topic(name).produce([NewRecord::json(name, &events::created(name))]).await;
    }
    let topics = json!([deployment.events().name(), more[0], more[1]]);
    let deployment = deployment.with("KAFKA_TOPIC", &topics.to_string());
    let service = deployment.start_ready().await;
    let letters = (0..LETTERS).map(|number| letter(&deployment, number));
    deployment.dead_letters().produce_paced(letters, 20_000).await;
    browser.open(&format!("{}/", service.address())).await;

    browser.sees("partitions are folded", "document.querySelectorAll('#partition-rows tr').length === 10").await;
    browser.click("Show all 12 partitions").await;
    browser.sees("all are there", "document.querySelectorAll('#partition-rows tr').length === 12").await;
    let sections = browser.run("return [...document.querySelectorAll('main section')].map(({ id }) => id);").await;
    assert_eq!(sections, json!(["overview", "dead-letters", "waiting", "partitions", "processors"]));

    let rows = "document.querySelectorAll('#letter-rows tr')";
    let listed = |count: u32| format!("{rows}.length === {count}");
    browser.sees("the latest are listed", &listed(20)).await;
    browser.reads("#letters-found", "20 shown of 1,300").await;
    let mut shown = 20;
    while shown < LETTERS {
        browser.click("Show older").await;
        let more = format!("{rows}.length > {shown}");
        browser.sees(&format!("more than {shown} are listed"), &more).await;
        let count = browser.run(&format!("return {rows}.length;")).await;
        shown = count.as_u64().and_then(|count| u32::try_from(count).ok()).expect("a number");
    }
    browser.sees("each is there once", &listed(LETTERS)).await;
    browser.sees("there are no older ones", "document.querySelector('#letters-older').hidden").await;
    browser.reads("#letters-found", "1,300 shown of 1,300").await;

    let until = "document.querySelector('#letters-filter [name=until]').value = '2000-01-01T00:00';";
    browser.run(until).await;
    browser.click("Search").await;
    browser.reads("#letters-empty", "No dead letter matches. Clear a filter").await;
    browser.click("Clear").await;
    browser.sees("the latest are listed again", &listed(20)).await;
    browser.expect_no_refusal().await;
    browser.expect_no_trouble().await;
}
