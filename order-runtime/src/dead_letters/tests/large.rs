//! Topics that are too large to read for one answer.

use std::time::Duration;

use super::*;
use crate::dead_letters::{Budget, Cursor, ListRequest, Listing};

const TIME: Duration = Duration::from_secs(8);

/// A dead-letter service with a budget of this many records; it always finishes its last step.
fn limited(letters: Vec<OutgoingRecord>, records: u64) -> DeadLetterService {
    DeadLetterService { budget: Some(Budget { time: TIME, records }), ..service(letters) }
}

fn letters(count: u32) -> Vec<OutgoingRecord> {
    (0..count).map(|number| letter(number, "rejected", 0)).collect()
}

async fn list(service: &DeadLetterService, before: Option<Cursor>) -> Listing {
    service.list(ListRequest { max: usize::MAX, before, ..ListRequest::default() }, |_, _| {}).await.expect("a list")
}

fn numbers(listing: &Listing) -> Vec<i64> {
    listing.letters.iter().map(|classified| classified.letter.at.offset.expect("an offset")).collect()
}

#[tokio::test]
async fn a_list_reads_the_latest_and_continues_at_its_cursor() {
    let service = limited(letters(2_000), 300);
    let first = list(&service, None).await;
    // Two steps: 256 and 512 records.
    assert_eq!((first.partial, first.read, first.of, first.matching), (true, 768, 2_000, 768));
    assert_eq!(numbers(&first), (1_232..2_000).collect::<Vec<_>>());
    assert_eq!(first.counts.rows().map(|(.., count)| count).sum::<u64>(), 768);

    let mut all = numbers(&first);
    let mut next = first.next;
    while let Some(place) = next {
        let text = place.to_string();
        let older = list(&service, Some(text.parse().expect("its own text"))).await;
        assert!(older.partial, "it does not include the latest");
        all.splice(0..0, numbers(&older));
        next = older.next;
    }
    assert_eq!(all, (0..2_000).collect::<Vec<_>>(), "each letter once, none left out");
}

#[tokio::test]
async fn a_complete_list_is_not_partial() {
    let whole = list(&limited(letters(700), 100_000), None).await;
    assert_eq!((whole.partial, whole.read, whole.of, whole.next), (false, 700, 700, None));
    let nothing = list(&limited(Vec::new(), 100), None).await;
    assert_eq!((nothing.partial, nothing.matching), (false, 0));
    // Commands read without a budget.
    let all = list(&service(letters(2_000)), None).await;
    assert_eq!((all.partial, all.matching, all.read, all.of), (false, 2_000, 2_000, 2_000));
}

#[tokio::test]
async fn one_letter_is_searched_within_the_budget() {
    let mut letters = letters(1_000);
    letters.push(letter(999, "timeout", 1));
    let service = limited(letters, 300);
    let shown = service.show(&id(999), None).await.expect("it is among the latest");
    assert_eq!((shown.classified.letter.replays, shown.earlier.len()), (1, 1));
    let error = service.show(&id(100), None).await.expect_err("it is older");
    let text = "among the 768 records read of 1001";
    assert!(matches!(error, DeadLetterError::NotAmong { .. }) && error.to_string().contains(text), "{error}");
    let place = list(&service, None).await.next;
    assert!(place.is_some());
    assert_eq!(
        service.show(&id(100), place).await.expect("it is found before the cursor").classified.letter.at.offset,
        Some(100)
    );
    let error = service.show(&id(5_000), Some("300".parse().expect("a place"))).await.expect_err("there is none");
    assert!(matches!(error, DeadLetterError::Unknown(_)), "{error}");
}

/// Hands out a number of windows, and then stalls for ever.
struct Stalling {
    topic: MemorySource,
    windows: usize,
}

#[async_trait]
impl Source for Stalling {
    fn read(&self, takes: Takes, direction: Direction) -> Windows {
        let mut all = self.topic.read(takes, direction);
        let (out, windows) = tokio::sync::mpsc::channel(1);
        let limit = self.windows;
        tokio::spawn(async move {
            for _ in 0..limit {
                if let Some(window) = all.recv().await {
                    let _ = out.send(window).await;
                }
            }
            // A blocked thread would stop the test's clock.
            drop(all);
            out.closed().await;
        });
        windows
    }

    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        self.topic.topics(names).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_in_time_and_has_complete_steps_only() {
    let stalling = |windows| {
        let topic = MemorySource(Box::new(|| letters(2_000)));
        DeadLetterService { source: Arc::new(Stalling { topic, windows }), ..limited(Vec::new(), u64::MAX) }
    };
    // A window has 256 letters: the first step has one, the second has two, of which the last one is missing.
    let begun = tokio::time::Instant::now();
    let listing = list(&stalling(2), None).await;
    assert!(begun.elapsed() < TIME + Duration::from_secs(1));
    assert_eq!((listing.partial, listing.read, listing.matching), (true, 256, 256));
    assert_eq!(listing.next.map(|place| place.to_string()).as_deref(), Some("1744"));

    let error = stalling(0).list(ListRequest::default(), |_, _| {}).await.expect_err("nothing was read");
    assert!(error.to_string().contains("within 8s"), "an error instead of an empty list: {error}");
}
