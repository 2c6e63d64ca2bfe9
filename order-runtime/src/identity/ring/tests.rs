//! What rings keep, and in which layouts.

use super::*;

fn entry(id: &str, fate: Fate) -> RingEntry<'_> {
    RingEntry {
        id: id.into(),
        print: Fingerprint::Content { source: 0, content: 7 },
        fate,
        name: "ThingHappened",
        at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn an_event_is_found_by_its_id_after_a_round_trip() {
    let mut ring = Ring::default();
    ring.push(&entry("a", Fate::Handled));
    ring.push(&entry("b", Fate::DeadLettered));
    let ring = Ring::from_bytes(ring.as_bytes().to_vec()).expect("a ring");
    assert_eq!(ring.find("b", 0), Some(entry("b", Fate::DeadLettered)));
    assert_eq!(ring.find("c", 0), None);
    assert_eq!(ring.iter().map(|entry| entry.id).collect::<Vec<_>>(), ["a", "b"]);
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
    let mut ring = Ring::default();
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(ring.find(id, 0), None, "{id}");
        ring.push(&RingEntry { print: numbered(number), ..entry(id, Fate::Skipped) });
    }
    let ring = Ring::from_bytes(ring.into_bytes()).expect("a ring");
    assert!(ring.iter().map(|entry| entry.id).eq(ids.iter().map(String::as_str)));
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(ring.find(id, 0).map(|entry| entry.print), Some(numbered(number)), "{id}");
    }
}

#[test]
fn events_of_one_id_are_told_by_their_source() {
    let of = |source, fate| RingEntry { print: Fingerprint::Content { source, content: 7 }, ..entry("1", fate) };
    let mut ring = Ring::default();
    ring.push(&of(u64::MAX, Fate::Handled));
    ring.push(&of(5, Fate::DeadLettered));
    let mut ring = Ring::from_bytes(ring.into_bytes()).expect("a ring");
    assert_eq!(ring.find("1", u64::MAX), Some(of(u64::MAX, Fate::Handled)));
    assert_eq!(ring.find("1", 5), Some(of(5, Fate::DeadLettered)));
    assert_eq!(ring.find("1", 0), None);
    ring.replace(&of(5, Fate::Handled));
    assert_eq!(ring.iter().map(|entry| entry.source()).collect::<Vec<_>>(), [u64::MAX, 5]);
}

/// The bytes of a ring of the second layout.
fn version_2(ids: &[&str]) -> Vec<u8> {
    let mut bytes = vec![2];
    for id in ids {
        bytes.extend_from_slice(&[Fate::DeadLettered.code(), 13]);
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
    let mut ring = Ring::from_bytes(version_2(&["a", "b"])).expect("a ring");
    let earlier = |id| RingEntry { print: Fingerprint::Payload(7), ..entry(id, Fate::DeadLettered) };
    assert!(ring.iter().eq([earlier("a"), earlier("b")]));
    assert_eq!(ring.find("b", 5), Some(earlier("b")), "it may be of any source");
    ring.push(&entry("c", Fate::Handled));
    let ring = Ring::from_bytes(ring.into_bytes()).expect("a ring");
    assert!(ring.iter().eq([earlier("a"), earlier("b"), entry("c", Fate::Handled)]));
}

#[test]
fn the_first_layout_is_still_read() {
    let mut bytes = vec![1];
    for (id, fate) in [("a", 2), ("0192b1f0-5d5a-7c3e-8f43-0a1b2c3d4e5f", 3)] {
        bytes.extend_from_slice(&[9; 16]);
        bytes.extend_from_slice(&7_u128.to_le_bytes());
        bytes.push(fate);
        bytes.extend_from_slice(&0_i64.to_le_bytes());
        bytes.push(13);
        bytes.extend_from_slice(&u16::try_from(id.len()).expect("short").to_le_bytes());
        bytes.extend_from_slice(b"ThingHappened");
        bytes.extend_from_slice(id.as_bytes());
    }
    let damaged = Ring::from_bytes(bytes[..bytes.len() - 1].to_vec());
    assert_eq!(damaged, Err(UnreadableRing::Damaged));
    let ring = Ring::from_bytes(bytes).expect("a ring");
    let earlier = |id, fate| RingEntry { print: Fingerprint::Payload(7), ..entry(id, fate) };
    let dead = earlier("0192b1f0-5d5a-7c3e-8f43-0a1b2c3d4e5f", Fate::DeadLettered);
    assert!(ring.iter().eq([earlier("a", Fate::Skipped), dead]));
    assert_eq!(Ring::from_bytes(ring.as_bytes().to_vec()), Ok(ring));
}

#[test]
fn a_full_ring_forgets_the_oldest() {
    let mut ring = Ring::default();
    for number in 0..=Ring::CAPACITY {
        ring.push(&entry(&number.to_string(), Fate::Handled));
    }
    assert_eq!(ring.find("0", 0), None);
    assert!(ring.find("1", 0).is_some());
    assert_eq!(ring.iter().count(), Ring::CAPACITY);
    assert_eq!(Ring::from_bytes(ring.as_bytes().to_vec()), Ok(ring));
}

#[test]
fn a_replay_replaces_its_entry() {
    let mut ring = Ring::default();
    ring.push(&entry("a", Fate::DeadLettered));
    ring.push(&entry("b", Fate::Handled));
    ring.replace(&entry("a", Fate::Handled));
    assert_eq!(ring.find("a", 0).map(|entry| entry.fate), Some(Fate::Handled));
    assert_eq!(ring.iter().count(), 2);
}

#[test]
fn what_cannot_be_read_whole_is_an_error_and_no_shorter_ring() {
    let mut ring = Ring::default();
    ring.push(&entry("a", Fate::Handled));
    let one = ring.as_bytes().len();
    ring.push(&entry("b", Fate::Handled));
    let bytes = ring.as_bytes();
    for length in 1..bytes.len() {
        let read = Ring::from_bytes(bytes[..length].to_vec());
        // Between two entries nothing shows that there were more.
        let is_whole = length == 1 || length == one;
        assert_eq!(read.is_ok(), is_whole, "{length} bytes: {read:?}");
    }
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.to_vec();
        changed[at] = byte;
        Ring::from_bytes(changed)
    };
    assert_eq!(with(0, 4), Err(UnreadableRing::Newer(4)));
    assert_eq!(with(0, 0), Err(UnreadableRing::Damaged));
    assert_eq!(with(1, 0x04), Err(UnreadableRing::Damaged), "an outcome that is not known here");
    assert_eq!(with(1, 0x81), Err(UnreadableRing::Damaged), "a bit that is not known here");
    assert_eq!(with(1, 0x31), Err(UnreadableRing::Damaged), "a form of ids that is not known here");
    assert_eq!(Ring::from_bytes(Vec::new()), Ok(Ring::default()), "a ring without entries has no bytes");
}
