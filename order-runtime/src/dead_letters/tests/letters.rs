//! Listing, showing and setting aside letters.

use super::*;
use crate::dead_letters::{
    Disposition, Filter, ListRequest, Listing, SetAside,
    state::{Defect, State},
    trial::Trial,
};

async fn listed(service: &DeadLetterService, parked: bool, all: bool, max: usize) -> Listing {
    let filter = Filter { parked, ..Filter::default() };
    service.list(ListRequest { filter, all, max, before: None }, |_, _| {}).await.expect("a list")
}

fn ids(listing: &Listing) -> Vec<u32> {
    let number = |id: &str| u32::from_str_radix(id, 16).expect("a number");
    listing.letters.iter().map(|classified| number(&classified.letter.id)).collect()
}

async fn aside(service: &DeadLetterService, numbers: &[u32], how: Disposition) -> u64 {
    let request = SetAside { selection: named(numbers), note: "a note".to_owned(), dry_run: false };
    let stop = CancellationToken::new();
    service.set_aside("somebody", how, &request, &stop, |_, _, _| {}).await.expect("an answer").letters
}

#[tokio::test]
async fn a_list_has_the_latest_and_counts_all() {
    let mut letters: Vec<_> = (0..600).map(|number| letter(number, "rejected", 0)).collect();
    letters.push(letter(600, "invalid", 0));
    letters.push(letter(600, "invalid", 0));
    let listing = listed(&service(letters), false, false, 3).await;
    assert_eq!((listing.matching, ids(&listing)), (601, vec![598, 599, 600]));
    let counts: Vec<_> = listing.counts.rows().collect();
    assert_eq!(counts, [("invalid", "Added", "told_to", 1), ("rejected", "Added", "told_to", 600)]);
    assert!(
        listing.letters.iter().all(|classified| classified.letter.record.payload.is_none()),
        "payloads are not kept"
    );
}

#[tokio::test]
async fn a_letter_with_an_invalid_id_is_found_by_the_id_of_its_place() {
    let odd = ["..", ".", "", "audit", "jobs", "replay", "a/b", "<b>", "\u{202e}"];
    let letters = odd.map(|id| {
        let mut letter = letter(1, "rejected", 0);
        letter.headers.retain(|name| name != b"dlq-id");
        letter.headers.push("dlq-id", Some(id.as_bytes()));
        letter
    });
    let service = service(letters.to_vec());
    let listing = listed(&service, false, true, 10).await;
    assert_eq!(listing.letters.len(), odd.len(), "each is a letter of its own");
    for classified in &listing.letters {
        let id = &classified.letter.id;
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id} is safe in a URL path");
        let shown = service.show(id, None).await.expect("it is found");
        assert_eq!(
            (shown.classified.letter.at.offset, shown.defect),
            (classified.letter.at.offset, Some(Defect::Damaged))
        );
        // The page and programs read this name.
        assert_eq!(serde_json::to_value(&shown).expect("JSON")["flaw"], "damaged");
    }
}

#[tokio::test]
async fn a_list_shows_the_states_of_letters() {
    let (service, topic) = (service((1..=4).map(|number| letter(number, "rejected", 0)).collect()), Topic::default());
    assert_eq!(aside(&service, &[2], Disposition::Park).await, 1);
    assert_eq!(aside(&service, &[3], Disposition::Purge).await, 1);
    replay(&service, &topic, named(&[1]), LetterReplay::default()).await.expect("a replay");

    let open = listed(&service, false, false, 10).await;
    assert_eq!(ids(&open), [4]);
    let others: Vec<_> = open.others.into_iter().collect();
    assert_eq!(others, [(State::Replayed, 1), (State::Parked, 1), (State::Purged, 1)]);
    let parked = listed(&service, true, false, 10).await;
    let note = parked.letters[0].mark.as_ref().map(|mark| (&*mark.by, &*mark.note));
    assert_eq!((ids(&parked), note), (vec![2], Some(("somebody", "a note"))));
    let all = listed(&service, false, true, 10).await;
    let states: Vec<_> = all.letters.iter().map(|classified| classified.state).collect();
    assert_eq!(states, [State::Replayed, State::Parked, State::Purged, State::Open]);
}

#[tokio::test]
async fn parked_letters_are_left_out_unless_they_are_requested() {
    let (service, topic) = (service(vec![letter(1, "rejected", 0), letter(2, "rejected", 0)]), Topic::default());
    assert_eq!(aside(&service, &[1], Disposition::Park).await, 1);
    assert_eq!(aside(&service, &[1], Disposition::Park).await, 0, "it is parked already");
    assert_eq!(replay_all(&service, &topic).await.replayed, 1);
    let parked = LetterSelection { filter: Filter { parked: true, ..Filter::default() }, ..LetterSelection::default() };
    assert_eq!(count(&service, parked.clone(), &LetterReplay::default()).await.replayed, 1);
    assert_eq!(aside(&service, &[1], Disposition::Unpark).await, 1);
    assert_eq!(count(&service, parked, &LetterReplay::default()).await.replayed, 0);
    assert_eq!(replay_all(&service, &topic).await.replayed, 1);

    let request = SetAside { selection: named(&[1]), dry_run: true, ..SetAside::default() };
    let stop = CancellationToken::new();
    let dry = service.set_aside("somebody", Disposition::Purge, &request, &stop, |_, _, _| {}).await;
    assert_eq!(dry.expect("an answer").letters, 1);
    assert_eq!(aside(&service, &[1], Disposition::Purge).await, 1);
    assert_eq!(aside(&service, &[1], Disposition::Unpark).await, 0, "a purged letter stays purged");
    let actions: Vec<_> =
        service.audit(10).await.expect("an answer").into_iter().map(|row| (row.action, row.letters)).collect();
    let expected = [("unpark", 0), ("purge", 1), ("replay", 1), ("unpark", 1), ("replay", 1), ("park", 0), ("park", 1)];
    assert_eq!(actions, expected.map(|(action, letters)| (action.to_owned(), letters)));
}

#[tokio::test]
async fn a_letter_is_shown_with_its_trial() {
    let mut wrong = letter(2, "rejected", 0);
    wrong.payload = Some(br#"{"eventId": "e-2", "eventName": "Adde", "data": {}}"#.to_vec().into());
    let mut text = letter(3, "undecodable", 0);
    text.payload = Some(b"\xff{".to_vec().into());
    let service = service(vec![letter(1, "rejected", 0), wrong, text, letter(1, "timeout", 1)]);

    let shown = service.show(&id(1), None).await.expect("it is there");
    assert_eq!(shown.trial, Trial::Handled { processor: "EventProcessor_Rig" });
    assert_eq!(
        (&*shown.classified.letter.reason, shown.classified.letter.replays),
        ("timeout", 1),
        "the latest writing"
    );
    assert_eq!(shown.earlier.len(), 1);
    assert!(shown.payload_text.is_some_and(|text| text.contains("\n    \"n\": 1\n")));
    assert_eq!(shown.headers[0], ("trace".to_owned(), Some("t".to_owned())));

    let shown = service.show(&id(2), None).await.expect("it is there");
    assert!(shown.trial.to_string().contains("did you mean Added?"), "{}", shown.trial);
    let shown = service.show(&id(3), None).await.expect("it is there");
    assert_eq!(shown.payload_text.as_deref(), Some("\u{fffd}{"));
    assert!(shown.trial.to_string().starts_with("still invalid: $: "), "{}", shown.trial);
    let error = service.show(&id(9), None).await.expect_err("there is none");
    assert!(matches!(error, DeadLetterError::Unknown(_)) && error.to_string().contains("`dlq list`"), "{error}");
}

#[tokio::test]
async fn numbers_are_shown_as_they_were_written() {
    let mut odd = letter(1, "rejected", 0);
    let payload = r#"{"eventName":"Added","data":{"n":123456789012345678901234567890,"x":[1.0,1e400]}}"#;
    odd.payload = Some(payload.into());
    let mut without_id = letter(2, "rejected", 0);
    without_id.payload = Some(br#"{"eventName": "Added", "data": {"x": 1.0}}"#.to_vec().into());
    let service = service(vec![odd, without_id]);
    let shown = service.show(&id(1), None).await.expect("it is there");
    let json = serde_json::to_string(&shown).expect("JSON");
    assert!(json.contains(&format!("\"payload\":{payload}")), "{json}");
    let document = service.document(&id(1)).await.expect("it is there");
    assert!(document.contains("1e400") && document.contains("1.0") && document.contains("7890,"), "{document}");
    let document = service.document(&id(2)).await.expect("it is there");
    let edit = async |event: &str| service.edit(&Topic::default(), "somebody", &id(2), None, event, true).await;
    let error = edit(&document).await.expect_err("it is unchanged, although an id is added");
    assert!(error.to_string().contains("nothing has changed"), "{error}");
    let edited = edit(&document.replace("1.0", "1.00")).await.expect("another spelling is a change");
    assert!(edited.diff.contains("-    \"x\": 1.0\n+    \"x\": 1.00\n"), "{}", edited.diff);
}

#[tokio::test]
async fn without_a_store_letters_are_listed_and_actions_refused() {
    let service = DeadLetterService { store: None, ..service(vec![letter(1, "rejected", 0)]) };
    assert_eq!(ids(&listed(&service, false, false, 10).await), [1]);
    assert_eq!(count(&service, LetterSelection::default(), &LetterReplay::default()).await.replayed, 1);
    let topic = Topic::default();
    let error =
        replay(&service, &topic, LetterSelection::default(), LetterReplay::default()).await.expect_err("no store");
    assert!(matches!(error, DeadLetterError::Store(_)) && topic.taken.lock().is_empty(), "{error}");
}

#[tokio::test]
async fn ids_that_no_letter_has_are_in_the_summary() {
    let (service, topic) = (service(vec![letter(1, "rejected", 0), letter(2, "rejected", 0)]), Topic::default());
    let stop = CancellationToken::new();
    for how in [Disposition::Park, Disposition::Unpark, Disposition::Purge] {
        let request = SetAside { selection: named(&[1, 9]), ..SetAside::default() };
        let summary = service.set_aside("somebody", how, &request, &stop, |_, _, _| {}).await.expect("an answer");
        assert_eq!((summary.letters, summary.unknown_ids), (1, vec![id(9)]), "{how:?}");
    }
    assert_eq!(count(&service, named(&[2, 8]), &LetterReplay::default()).await.unknown_ids, [id(8)]);
    let replayed = replay(&service, &topic, named(&[2, 8]), LetterReplay::default()).await.expect("a replay");
    assert_eq!((replayed.replayed, replayed.unknown_ids), (1, vec![id(8)]));
    let capped = LetterReplay { max: Some(0), ..LetterReplay::default() };
    assert!(count(&service, named(&[2, 8]), &capped).await.unknown_ids.is_empty(), "the topic was not read as a whole");
}

#[tokio::test]
async fn setting_aside_reports_progress_and_can_be_stopped() {
    let service = service((0..1_000).map(|number| letter(number, "rejected", 0)).collect());
    let (stop, mut steps) = (CancellationToken::new(), Vec::new());
    let progress = |summary: &crate::dead_letters::AsideSummary, read, of| {
        steps.push((summary.letters, read, of));
        stop.cancel();
    };
    let summary = service
        .set_aside("somebody", Disposition::Park, &SetAside::default(), &stop, progress)
        .await
        .expect("an answer");
    assert_eq!((steps.as_slice(), summary.letters), ([(256, 256, 1_000)].as_slice(), 256), "it ends after a window");
    assert_eq!(service.audit(1).await.expect("an answer")[0].letters, 256);
}
