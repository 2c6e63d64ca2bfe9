//! The operator's page, in a real browser.

use std::collections::BTreeSet;

use order_tests::{Broker, Browser, Deployment, NewRecord, PATIENCE, Service, events, eventually, until};
use serde_json::json;

const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

/// The address of the page.
fn address(service: &Service) -> String {
    format!("{}/", service.address())
}

pub(crate) async fn an_operator_observes_and_controls_the_service(broker: &Broker) {
    let Some(browser) = Browser::start().await else { return };
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    browser.open(&address(&service)).await;
    browser.reads("#health", "Live and ready").await;
    browser.sees("partitions are there", "document.querySelectorAll('#partition-rows tr').length === 4").await;
    browser.reads("#waiting", "No key waits.").await;
    browser.reads("#letters-empty", "An event that cannot be handled comes here").await;
    browser.expect_no_refusal().await;

    curves_and_counters_move(&browser, &deployment).await;
    keys_that_wait_are_found_and_released(&browser, &deployment, &service).await;
    consumption_is_paused_and_resumed(&browser, &service).await;
    light_dark_and_narrow(&browser).await;
    a_screen_reader_finds_its_way(&browser).await;

    let last = service.log();
    service.terminate().await;
    browser.reads("#connection", "The service cannot be reached; reconnecting.").await;
    browser.reads("#health", "Not connected").await;
    browser.expect_no_trouble().await;
    assert!(!last.contains("panicked"), "{last}");
}

async fn curves_and_counters_move(browser: &Browser, deployment: &Deployment) {
    let drawn = "document.querySelector('.plot canvas').toDataURL()";
    let before = browser.run(&format!("return {drawn};")).await;
    deployment.publish_sample(50, &["--seed", "7"]).await;
    let handled = "[...document.querySelectorAll('#processor-rows tr')].find((row) => \
        row.innerText.includes('OrderCreated'))?.cells[1].innerText === '50'";
    browser.sees("all fifty are counted", handled).await;
    browser.sees("the curve has moved", &format!("{drawn} !== {before}")).await;
    let row =
        "[...document.querySelectorAll('#processor-rows tr')].find((row) => row.innerText.includes('OrderCreated'))";
    browser.sees("it has a rate", &format!("/^[0-9.]+$/.test({row}.cells[2].innerText)")).await;
    browser.sees("and a duration", &format!("/^[< 0-9.]+ (ms|s)$/.test({row}.cells[3].innerText)")).await;
    browser.sees("and a curve", &format!("{row}.querySelector('polyline').points.length > 1")).await;
    let labels = "return [...window.labels].filter(([drawing]) => drawing.isConnected).map(([, labels]) => labels);";
    let labels = browser.run(labels).await;
    let labels: Vec<Vec<String>> = serde_json::from_value(labels).expect("texts");
    assert_eq!(labels.len(), 3, "three charts have axes: {labels:?}");
    for labels in labels {
        let different: BTreeSet<_> = labels.iter().collect();
        assert_eq!(different.len(), labels.len(), "no label repeats: {labels:?}");
    }
    browser.sees("the tile shows an age", "/[0-9]/.test(document.querySelector('#tile-p99').innerText)").await;
}

async fn keys_that_wait_are_found_and_released(browser: &Browser, deployment: &Deployment, service: &Service) {
    let markup = "<img src=x onerror=document.title='broken'>";
    let orphans = [("order-late", events::paid("order-late")), (markup, events::paid(markup))];
    let records = orphans.iter().map(|(key, event)| NewRecord::json(key, event).to_partition(0));
    deployment.events().produce(records).await;
    browser.reads("#waiting-rows", "order-late").await;
    browser.reads("#waiting-rows", "not_yet").await;
    browser
        .sees(
            "the due time is shown",
            "/in [0-9.]+ (ms|s)|now|under way/.test(document.querySelector('#waiting-rows').innerText)",
        )
        .await;
    browser.reads("#waiting-rows", markup).await;
    browser.reads("#waiting-count", "2").await;
    browser.reads("#partition-rows", "the next attempt of a key").await;

    browser.fill("#waiting-filter input", "order-late").await;
    browser.sees("one key is found", "document.querySelectorAll('#waiting-rows tr').length === 1").await;
    // On another partition, because on the same one the order would wait behind its payment.
    let order = NewRecord::json("order-late", &events::created("order-late")).to_partition(1);
    deployment.events().produce([order]).await;
    until("the order is there", PATIENCE, async || {
        let answer = service.ask("/orders/order-late").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    // The payment may have been applied meanwhile; then there is nothing to release.
    browser.run("document.querySelector('[aria-label=\"Retry order-late now\"]')?.click();").await;
    until("the payment is applied", PATIENCE, async || {
        let order = service.get("/orders/order-late").await;
        if order["version"] == 2 { Ok(()) } else { Err(order.to_string()) }
    })
    .await;

    browser.fill("#waiting-filter input", "onerror").await;
    browser.click(&format!("Dead-letter the first event of {markup}")).await;
    browser.reads("#confirm-dialog", markup).await;
    browser.click("Dead-letter").await;
    eventually("it is a dead letter", PATIENCE, async || deployment.dead_letters().read().len() == 1).await;
    browser.sees("nothing waits any more", "document.querySelector('#waiting-count').hidden").await;
    assert_ne!(browser.run("return document.title;").await, "broken", "a key is text");
}

async fn consumption_is_paused_and_resumed(browser: &Browser, service: &Service) {
    browser.click("Pause consumption").await;
    browser.reads("#confirm-dialog", "Pause consumption?").await;
    browser.click("Cancel").await;
    browser.reads("#health", "Live and ready").await;
    browser.click("Pause consumption").await;
    browser.click("Pause").await;
    browser.reads("#health", "Paused by an operator").await;
    browser.reads("#announcer", "Paused by an operator").await;
    browser.reads("#partition-rows", "Paused").await;
    assert_eq!(service.ask("/health/ready").await.status, 503);
    browser.click("Resume consumption").await;
    browser.reads("#health", "Live and ready").await;
    browser.click("Freeze page").await;
    browser.sees("it is frozen", "document.querySelector('#freeze').ariaPressed === 'true'").await;
    browser.click("Freeze page").await;
}

async fn light_dark_and_narrow(browser: &Browser) {
    let ground = "getComputedStyle(document.body).backgroundColor";
    browser.prefer("dark").await;
    browser.sees("it follows the system", &format!("{ground} === 'rgb(14, 17, 22)'")).await;
    browser.choose("#theme", "light").await;
    browser.sees("the choice counts", &format!("{ground} === 'rgb(244, 246, 249)'")).await;
    browser.choose("#theme", "auto").await;
    browser.prefer("light").await;
    for width in [390, 768] {
        browser.resize(width, 844).await;
        let fits = format!("document.documentElement.scrollWidth <= {width}");
        browser.sees(&format!("it fits in {width} pixels"), &fits).await;
    }
    browser.resize(1440, 900).await;
}

async fn a_screen_reader_finds_its_way(browser: &Browser) {
    let tree = browser.accessibility_tree().await;
    let named = |role: &str| -> Vec<&str> {
        tree.iter().filter(|(found, _)| found == role).map(|(_, name)| name.as_str()).collect()
    };
    for landmark in ["banner", "navigation", "main", "contentinfo"] {
        assert_eq!(named(landmark).len(), 1, "one {landmark}: {tree:?}");
    }
    let headings = named("heading");
    for heading in ["Overview", "Partitions", "Waiting keys", "Dead letters", "Processors"] {
        assert!(headings.contains(&heading), "{heading} is a heading: {headings:?}");
    }
    for role in
        ["button", "link", "textbox", "searchbox", "combobox", "checkbox", "table", "region", "search", "dialog"]
    {
        assert!(named(role).iter().all(|name| !name.is_empty()), "each {role} has a name: {tree:?}");
    }
    let tables = named("table");
    assert!(tables.iter().any(|name| name.starts_with("Assigned partitions")), "captions name tables: {tables:?}");
    let roles: BTreeSet<&str> = tree.iter().map(|(role, _)| role.as_str()).collect();
    assert!(roles.contains("columnheader") && roles.contains("rowheader"), "{roles:?}");
    let skip = browser.run("return document.querySelector('a').hash;").await;
    assert_eq!(skip, json!("#main"), "the first link skips to the content");
}

/// The token of the service in this test.
const TOKEN: &str = "a-token-of-the-tests";

pub(crate) async fn an_operator_deals_with_dead_letters(broker: &Broker) {
    let Some(browser) = Browser::start().await else { return };
    let deployment = Deployment::new(broker).await.with("APP_ADMIN_TOKEN", TOKEN);
    let service = deployment.start_ready().await;
    let mut invalid = events::created("order-1");
    invalid["data"]["items"][0]["quantity"] = json!(0);
    // One whose correction is handled, one that fails again, and one to park.
    let failing = [("order-1", invalid), ("order-2", events::event("OrderInvented", json!({"orderId": "order-2"})))];
    let history = [events::created("order-3"), events::cancelled("order-3"), events::paid("order-3")];
    let records = failing.iter().map(|(key, event)| NewRecord::json(key, event));
    deployment.events().produce(records.chain(history.iter().map(|event| NewRecord::json("order-3", event)))).await;
    eventually("there are three dead letters", PATIENCE, async || deployment.dead_letters().read().len() == 3).await;
    browser.open(&address(&service)).await;
    browser.reads("#letters-empty", "Sign in to see dead letters.").await;
    browser.expect_no_refusal().await;

    an_administrator_signs_in_by_keyboard(&browser).await;
    browser.sees("all three are listed", "document.querySelectorAll('#letter-rows tr').length === 3").await;
    browser.reads("#letters-groups", "OrderCreated · invalid").await;
    only_what_is_new_is_called_new(&browser, &deployment).await;

    a_letter_is_corrected(&browser, &service).await;
    a_letter_is_parked_and_taken_back(&browser).await;
    a_letter_is_replayed_and_fails_again(&browser, &deployment).await;

    browser.click("Sign out").await;
    browser.reads("#letters-empty", "Sign in to see dead letters.").await;
    browser.expect_no_trouble().await;
    assert!(!service.log().contains(TOKEN), "the token is not logged");
}

async fn only_what_is_new_is_called_new(browser: &Browser, deployment: &Deployment) {
    let button = "document.querySelector('#letters-refresh')";
    browser.sees("it is known from when on is counted", &format!("{button}.title !== ''")).await;
    assert_eq!(browser.run(&format!("return {button}.textContent;")).await, "Refresh", "three are there, none is new");
    deployment.events().produce([NewRecord::bytes("order-4", "no JSON")]).await;
    browser.reads("#letters-refresh", "Refresh (1 new)").await;
    browser.click("Refresh (1 new)").await;
    browser.sees("all four are listed", "document.querySelectorAll('#letter-rows tr').length === 4").await;
    browser.sees("it is counted anew", &format!("{button}.title !== '' && {button}.textContent === 'Refresh'")).await;
}

async fn an_administrator_signs_in_by_keyboard(browser: &Browser) {
    browser.tab_to("Sign in").await;
    browser.press(ENTER).await;
    browser.press("not-the-token").await;
    browser.press(ENTER).await;
    browser.reads("#token-error", "The token is wrong.").await;
    browser.fill("#token", TOKEN).await;
    browser.press(ENTER).await;
    browser.sees("the dialog is closed", "!document.querySelector('#token-dialog').open").await;
    browser.reads("#access", "Sign out").await;
    let focus = browser.run("return document.activeElement.id;").await;
    assert_eq!(focus, "access", "the focus is back where it came from");
}

async fn a_letter_is_corrected(browser: &Browser, service: &Service) {
    browser.choose("#letters-filter [name=reason]", "invalid").await;
    browser.click("Search").await;
    browser.sees("one is found", "document.querySelectorAll('#letter-rows tr').length === 1").await;
    browser.tab_to("OrderCreated").await;
    browser.press(ENTER).await;
    browser.reads(".verdict", "$.data.items[0].quantity").await;
    let main = browser.run("return document.querySelector('.drawer .controls .primary').textContent;").await;
    assert_eq!(main, "Edit", "replaying an event that is still invalid does not help");
    browser.click("Edit").await;
    browser.click("Check and send").await;
    browser.reads("#edit-errors", "$.data.items[0].quantity").await;
    let correct = "const field = document.querySelector('#confirm-fields textarea');
        field.value = field.value.replace('\"quantity\": 0', '\"quantity\": 2');
        field.dispatchEvent(new Event('input'));";
    browser.run(correct).await;
    browser.click("Check and send").await;
    browser.reads("#confirm-fields pre", "+        \"quantity\": 2").await;
    browser.click("Check and send").await;
    browser.reads(".verdict", "It was replayed.").await;
    browser.press(ESCAPE).await;
    browser.sees("the letter is closed", "!document.querySelector('#letter-dialog').open").await;
    until("the corrected order is there", PATIENCE, async || {
        let answer = service.ask("/orders/order-1").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
}

async fn a_letter_is_parked_and_taken_back(browser: &Browser) {
    browser.choose("#letters-filter [name=reason]", "unknown_event").await;
    browser.click("Search").await;
    browser.click("OrderInvented").await;
    browser.click("Park").await;
    browser.fill("#confirm-fields input", "ask the producer").await;
    browser.click("Park").await;
    browser.reads(".verdict", "It is parked: “ask the producer”.").await;
    browser.click("Close").await;
    browser.reads("#letters-empty", "No dead letter matches.").await;
    browser.choose("#letters-filter [name=state]", "parked").await;
    browser.click("Search").await;
    browser.click("OrderInvented").await;
    browser.click("Unpark").await;
    browser
        .sees("it can be parked again", "document.querySelector('.drawer .controls').innerText.includes('Park')")
        .await;
    browser.click("Purge").await;
    let focus = browser.run("return document.activeElement.textContent;").await;
    assert_eq!(focus, "Cancel", "an irreversible action does not have the focus");
    browser.click("Purge").await;
    browser.reads(".verdict", "It is purged.").await;
    browser.click("Close").await;
    browser.choose("#letters-filter [name=state]", "open").await;
}

async fn a_letter_is_replayed_and_fails_again(browser: &Browser, deployment: &Deployment) {
    browser.choose("#letters-filter [name=reason]", "rejected").await;
    browser.click("Search").await;
    browser.sees("one is found", "document.querySelectorAll('#letter-rows tr').length === 1").await;
    browser.click("Select all that are shown").await;
    browser.reads("#letters-selected", "1 dead letter selected").await;
    browser.click("Replay").await;
    browser.reads("#confirm-dialog", "Replay 1 dead letter?").await;
    browser.reads("#confirm-dialog", "OrderPaid · rejected").await;
    browser.click("Replay").await;
    browser.reads("#announcer", "1 dead letter replayed.").await;
    eventually("it has failed again", PATIENCE, async || {
        let letters = deployment.dead_letters().read();
        letters.iter().filter_map(|letter| letter.header("dlq-replays")).any(|replays| replays == "1")
    })
    .await;
}
