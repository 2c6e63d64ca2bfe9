//! Contents and layouts of deduplication windows.

use super::*;

fn entry(id: &str, outcome: EventOutcome) -> DedupEntry<'_> {
    DedupEntry {
        id: id.into(),
        print: Fingerprint::Content { source: 0, content: 7 },
        outcome,
        name: "ThingHappened",
        at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn an_event_is_found_by_its_id_after_a_round_trip() {
    let mut window = DedupWindow::default();
    window.push(&entry("a", EventOutcome::Handled));
    window.push(&entry("b", EventOutcome::DeadLettered));
    let window = DedupWindow::from_bytes(window.as_bytes().to_vec()).expect("a window");
    assert_eq!(window.find("b", 0), Some(entry("b", EventOutcome::DeadLettered)));
    assert_eq!(window.find("c", 0), None);
    assert_eq!(window.iter().map(|entry| entry.id).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn each_id_is_read_as_it_was_written() {
    let uuid = "0192b1f0-5d5a-7c3e-8f43-0a1b2c3d4e5f";
    let ids = [
        uuid.to_owned(),
        uuid.replace('-', ""),
        uuid.to_uppercase(),
        uuid.replace('-', "").to_uppercase(),
        uuid.replace('-', "_"),
        "é".repeat(18),
        "x".repeat(256),
        String::new(),
    ];
    let numbered = |number: usize| Fingerprint::Content { source: 0, content: number as u64 };
    let mut window = DedupWindow::default();
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(window.find(id, 0), None, "{id}");
        window.push(&DedupEntry { print: numbered(number), ..entry(id, EventOutcome::Skipped) });
    }
    let window = DedupWindow::from_bytes(window.into_bytes()).expect("a window");
    assert!(window.iter().map(|entry| entry.id).eq(ids.iter().map(String::as_str)));
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(window.find(id, 0).map(|entry| entry.print), Some(numbered(number)), "{id}");
    }
}

#[test]
fn events_of_one_id_are_distinguished_by_their_source() {
    let of = |source, outcome| DedupEntry { print: Fingerprint::Content { source, content: 7 }, ..entry("1", outcome) };
    let mut window = DedupWindow::default();
    window.push(&of(u64::MAX, EventOutcome::Handled));
    window.push(&of(5, EventOutcome::DeadLettered));
    let mut window = DedupWindow::from_bytes(window.into_bytes()).expect("a window");
    assert_eq!(window.find("1", u64::MAX), Some(of(u64::MAX, EventOutcome::Handled)));
    assert_eq!(window.find("1", 5), Some(of(5, EventOutcome::DeadLettered)));
    assert_eq!(window.find("1", 0), None);
    window.replace(&of(5, EventOutcome::Handled));
    assert_eq!(window.iter().map(|entry| entry.source()).collect::<Vec<_>>(), [u64::MAX, 5]);
}

/// The bytes of a window of the second layout.
fn version_2(ids: &[&str]) -> Vec<u8> {
    let mut bytes = vec![2];
    for id in ids {
        bytes.extend_from_slice(&[EventOutcome::DeadLettered.code(), 13]);
        bytes.extend_from_slice(&7_u128.to_le_bytes());
        bytes.extend_from_slice(&0_i64.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(id.len()).expect("short").to_le_bytes());
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(b"ThingHappened");
    }
    bytes
}

#[test]
fn the_second_layout_is_still_read() {
    let mut window = DedupWindow::from_bytes(version_2(&["a", "b"])).expect("a window");
    let earlier = |id| DedupEntry { print: Fingerprint::Payload(7), ..entry(id, EventOutcome::DeadLettered) };
    assert!(window.iter().eq([earlier("a"), earlier("b")]));
    assert_eq!(window.find("b", 5), Some(earlier("b")), "its unknown source matches any");
    window.push(&entry("c", EventOutcome::Handled));
    let window = DedupWindow::from_bytes(window.into_bytes()).expect("a window");
    assert!(window.iter().eq([earlier("a"), earlier("b"), entry("c", EventOutcome::Handled)]));
}

#[test]
fn the_first_layout_is_still_read() {
    let mut bytes = vec![1];
    for (id, outcome) in [("a", 2), ("0192b1f0-5d5a-7c3e-8f43-0a1b2c3d4e5f", 3)] {
        bytes.extend_from_slice(&[9; 16]);
        bytes.extend_from_slice(&7_u128.to_le_bytes());
        bytes.push(outcome);
        bytes.extend_from_slice(&0_i64.to_le_bytes());
        bytes.push(13);
        bytes.extend_from_slice(&u16::try_from(id.len()).expect("short").to_le_bytes());
        bytes.extend_from_slice(b"ThingHappened");
        bytes.extend_from_slice(id.as_bytes());
    }
    let damaged = DedupWindow::from_bytes(bytes[..bytes.len() - 1].to_vec());
    assert_eq!(damaged, Err(UnreadableWindow::Damaged));
    let window = DedupWindow::from_bytes(bytes).expect("a window");
    let earlier = |id, outcome| DedupEntry { print: Fingerprint::Payload(7), ..entry(id, outcome) };
    let dead = earlier("0192b1f0-5d5a-7c3e-8f43-0a1b2c3d4e5f", EventOutcome::DeadLettered);
    assert!(window.iter().eq([earlier("a", EventOutcome::Skipped), dead]));
    assert_eq!(DedupWindow::from_bytes(window.as_bytes().to_vec()), Ok(window));
}

#[test]
fn a_full_window_forgets_the_oldest() {
    let mut window = DedupWindow::default();
    for number in 0..=DedupWindow::CAPACITY {
        window.push(&entry(&number.to_string(), EventOutcome::Handled));
    }
    assert_eq!(window.find("0", 0), None);
    assert!(window.find("1", 0).is_some());
    assert_eq!(window.iter().count(), DedupWindow::CAPACITY);
    assert_eq!(DedupWindow::from_bytes(window.as_bytes().to_vec()), Ok(window));
}

#[test]
fn a_replay_replaces_its_entry() {
    let mut window = DedupWindow::default();
    window.push(&entry("a", EventOutcome::DeadLettered));
    window.push(&entry("b", EventOutcome::Handled));
    window.replace(&entry("a", EventOutcome::Handled));
    assert_eq!(window.find("a", 0).map(|entry| entry.outcome), Some(EventOutcome::Handled));
    assert_eq!(window.iter().count(), 2);
}

#[test]
fn an_incomplete_window_is_an_error_instead_of_a_shorter_window() {
    let mut window = DedupWindow::default();
    window.push(&entry("a", EventOutcome::Handled));
    let one = window.as_bytes().len();
    window.push(&entry("b", EventOutcome::Handled));
    let bytes = window.as_bytes();
    for length in 1..bytes.len() {
        let read = DedupWindow::from_bytes(bytes[..length].to_vec());
        // A cut between two entries cannot be detected.
        let is_whole = length == 1 || length == one;
        assert_eq!(read.is_ok(), is_whole, "{length} bytes: {read:?}");
    }
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.to_vec();
        changed[at] = byte;
        DedupWindow::from_bytes(changed)
    };
    assert_eq!(with(0, 4), Err(UnreadableWindow::Newer(4)));
    assert_eq!(with(0, 0), Err(UnreadableWindow::Damaged));
    assert_eq!(with(1, 0x04), Err(UnreadableWindow::Damaged), "an unknown outcome");
    assert_eq!(with(1, 0x81), Err(UnreadableWindow::Damaged), "an unknown bit");
    assert_eq!(with(1, 0x31), Err(UnreadableWindow::Damaged), "an unknown form of ids");
    assert_eq!(
        DedupWindow::from_bytes(Vec::new()),
        Ok(DedupWindow::default()),
        "a window without entries has no bytes"
    );
}
