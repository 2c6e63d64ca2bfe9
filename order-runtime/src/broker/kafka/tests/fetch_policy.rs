//! The fetch policy by tables: the views of all partitions in, the decision out.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::broker::kafka::fetch_policy::{
    FetchAction::{self, Hold, Pause, Refetch, Release, Resume},
    FetchPolicy, FetchView, Withheld,
};

/// The share of each of eight inboxes.
const SHARE: usize = 512 * 1024;
/// The interval between checks of fairness.
const TURN: Duration = Duration::from_secs(3);

/// Actions, each with the place of its partition.
type Actions = Vec<(usize, FetchAction)>;

/// A policy with its partitions, whose views follow its actions as the poll thread would make them.
struct Scene {
    policy: FetchPolicy,
    views: Vec<FetchView>,
    now: Instant,
}

impl Scene {
    fn new(partitions: usize) -> Self {
        let now = Instant::now();
        let mut policy = FetchPolicy::new(now);
        policy.reassign(&vec![None; partitions], now);
        let view = FetchView { is_empty: true, ..FetchView::default() };
        Self { policy, views: vec![view; partitions], now }
    }

    /// Fills inboxes with so many bytes; the others stay as they are.
    fn filled(&mut self, bytes: &[usize]) {
        for (view, bytes) in self.views.iter_mut().zip(bytes) {
            (view.bytes, view.is_empty) = (*bytes, *bytes == 0);
        }
    }

    fn arrives(&mut self, places: impl IntoIterator<Item = usize>) {
        for place in places {
            self.views[place].arrived = Some(self.now);
        }
    }

    /// Lets time pass, decides, and carries out the actions. Returns whether records are taken, and the actions.
    fn after(&mut self, time: Duration) -> (bool, Actions) {
        self.now += time;
        let decision = self.policy.decide(&self.views, self.now);
        for (place, action) in &decision.actions {
            let view = &mut self.views[*place];
            match action {
                Hold => view.withheld = Some(Withheld::Full),
                Pause => view.withheld = Some(Withheld::Paused),
                Release | Resume => view.withheld = None,
                Refetch => self.policy.refetched(*place, self.now),
            }
        }
        (decision.take, decision.actions.into_iter().collect())
    }

    fn after_ms(&mut self, ms: u64) -> (bool, Actions) {
        self.after(Duration::from_millis(ms))
    }
}

#[test]
fn a_full_inbox_holds_up_the_others_for_a_while() {
    const FULL: usize = SHARE + 1;
    const HALF: usize = SHARE / 2 + 1;
    // The bytes in eight inboxes, how many of these partitions are busy, and for how many milliseconds nothing is taken.
    let table = [
        ("none is full", [SHARE; 8], 8, None),
        ("one of several busy partitions", [FULL, 0, 0, 0, 0, 0, 0, 0], 8, Some(20)),
        ("no other is busy", [FULL, 0, 0, 0, 0, 0, 0, 0], 1, Some(100)),
        ("half of them are half full", [FULL, HALF, HALF, HALF, 0, 0, 0, 0], 8, Some(20)),
        ("most are half full", [FULL, HALF, HALF, HALF, HALF, 0, 0, 0], 8, Some(250)),
    ];
    for (case, bytes, busy, expected) in table {
        let mut scene = Scene::new(8);
        scene.filled(&bytes);
        let mut held_after = None;
        for ms in 0..300 {
            scene.arrives(0..busy);
            match scene.after_ms(1) {
                (true, actions) if actions.is_empty() => assert!(expected.is_none() || held_after.is_some(), "{case}"),
                (true, actions) => {
                    assert_eq!(actions, [(0, Hold)], "{case}");
                    held_after = Some(ms);
                }
                (false, actions) => assert_eq!((actions, held_after), (vec![], None), "{case}"),
            }
        }
        assert_eq!(held_after, expected, "{case}");
    }
}

#[test]
fn a_held_partition_is_released_when_half_of_its_inbox_is_free() {
    let mut scene = Scene::new(8);
    scene.filled(&[SHARE + 1]);
    scene.after_ms(1);
    assert_eq!(scene.after_ms(100), (true, vec![(0, Hold)]));
    // The bytes in the inbox, and the decision.
    let table = [(SHARE + 1, vec![]), (SHARE / 2 + 1, vec![]), (SHARE / 2, vec![(0, Release)]), (SHARE, vec![])];
    for (bytes, expected) in table {
        scene.filled(&[bytes]);
        assert_eq!(scene.after_ms(1), (true, expected), "{bytes} bytes");
    }
    scene.filled(&[SHARE + 1]);
    assert_eq!(scene.after_ms(1), (false, vec![]), "it is full anew");
    assert_eq!(scene.after_ms(100), (true, vec![(0, Hold)]));
}

#[test]
fn the_next_decision_is_soon_while_an_inbox_is_full() {
    let mut scene = Scene::new(8);
    let next = |scene: &mut Scene| {
        scene.now += Duration::from_millis(1);
        scene.policy.decide(&scene.views, scene.now).next
    };
    let relaxed = next(&mut scene);
    scene.filled(&[SHARE + 1]);
    let soon = next(&mut scene);
    scene.views[0].withheld = Some(Withheld::Full);
    assert!(soon < relaxed && next(&mut scene) == soon, "{soon:?}, {relaxed:?}");
    scene.filled(&[0]);
    assert_eq!(next(&mut scene), relaxed, "it is released");
}

#[test]
fn an_assignment_keeps_what_is_known_of_the_partitions_that_stay() {
    let mut scene = Scene::new(8);
    scene.filled(&[0, SHARE + 1]);
    assert!(!scene.after_ms(99).0, "the second one is full");
    let now = scene.now;
    scene.policy.reassign(&[None, None, Some(1), None, None, None, None, None], now);
    scene.filled(&[SHARE + 1, 0, SHARE + 1]);
    assert_eq!(scene.after_ms(100), (false, vec![(2, Hold)]), "the first one is full only now");
    assert_eq!(scene.after_ms(100), (true, vec![(0, Hold)]));
}

/// Lets 60 turns pass for partitions that all have a backlog, and a broker whose responses hold the first `most` of those that
/// are neither paused nor `broken`. Returns how often each was served, and the partitions that are paused at the end.
fn turns(partitions: usize, most: usize, broken: &[usize]) -> (Vec<u32>, Vec<usize>) {
    let mut scene = Scene::new(partitions);
    let mut served = vec![0; partitions];
    for view in &mut scene.views {
        view.has_more = true;
    }
    let paused = |scene: &Scene| -> Vec<usize> {
        (0..partitions).filter(|place| scene.views[*place].withheld == Some(Withheld::Paused)).collect()
    };
    for _ in 0..60 {
        let resting = paused(&scene);
        let fetched = (0..partitions).filter(|place| !resting.contains(place) && !broken.contains(place));
        for place in fetched.take(most) {
            scene.arrives([place]);
            served[place] += 1;
        }
        let (_, actions) = scene.after(TURN / 2);
        assert!(actions.iter().all(|(_, action)| *action == Refetch), "the turn lasts: {actions:?}");
        let (take, actions) = scene.after(TURN / 2);
        assert!(take && actions.iter().all(|(_, action)| matches!(action, Pause | Resume | Refetch)), "{actions:?}");
    }
    (served, paused(&scene))
}

#[test]
fn each_partition_with_a_backlog_is_served_again_and_again() {
    // Partitions, how many a response serves, those that librdkafka does not fetch at all, and the least turns of the others.
    let table: [(usize, usize, &[usize], u32); 4] =
        [(8, 8, &[], 60), (8, 3, &[], 10), (64, 8, &[], 3), (3, 3, &[1], 57)];
    for (partitions, most, broken, least) in table {
        let (served, paused) = turns(partitions, most, broken);
        let others = || served.iter().enumerate().filter(|(place, _)| !broken.contains(place));
        assert!(others().all(|(_, turns)| *turns >= least), "{partitions} partitions: {served:?}");
        assert!(broken.is_empty() || paused.is_empty(), "nobody is paused for {broken:?}: {paused:?}");
    }
}

#[test]
fn nobody_is_paused_without_need() {
    // The view of the second partition at each turn, while the first one is served.
    let starving = FetchView { is_empty: true, has_more: true, ..FetchView::default() };
    let table = [
        ("its record may be new", [FetchView { has_more: false, ..starving }, starving]),
        ("it has records", [FetchView { is_empty: false, bytes: 1, ..starving }; 2]),
        ("the engine has paused it", [FetchView { is_stopped: true, ..starving }; 2]),
        ("its inbox was full", [FetchView { withheld: Some(Withheld::Full), bytes: SHARE * 8, ..starving }; 2]),
    ];
    for (case, views) in table {
        let mut scene = Scene::new(2);
        for view in [views, views].concat() {
            scene.arrives([0]);
            scene.views[1] = view;
            assert_eq!(scene.after(TURN).1, [], "{case}");
        }
    }
    // What cannot be paused: a partition that the engine has stopped, or that is held.
    for view in [
        FetchView { is_stopped: true, ..starving },
        FetchView { withheld: Some(Withheld::Full), bytes: SHARE * 8, ..starving },
    ] {
        let mut scene = Scene::new(2);
        scene.views = vec![view, starving];
        for _ in 0..4 {
            scene.arrives([0]);
            assert_eq!(scene.after(TURN).1, []);
        }
    }
}

#[test]
fn a_partition_that_could_not_be_helped_is_helped_again_after_it_brought_records() {
    let mut scene = Scene::new(2);
    scene.views.iter_mut().for_each(|view| view.has_more = true);
    // The partition that brings records before each check, and the actions.
    let table: [(Option<usize>, Actions); 9] = [
        (Some(0), vec![]),
        (Some(0), vec![(0, Pause)]),
        (None, vec![(0, Resume)]),
        (Some(0), vec![]),
        (Some(0), vec![]),
        (Some(1), vec![]),
        (Some(0), vec![]),
        (Some(0), vec![(0, Pause)]),
        (Some(1), vec![(0, Resume)]),
    ];
    for (turn, (place, expected)) in table.into_iter().enumerate() {
        scene.now += TURN / 2;
        scene.arrives(place);
        assert_eq!(scene.after(TURN / 2).1, expected, "turn {turn}");
    }
}

#[test]
fn a_full_partition_is_held_and_not_paused() {
    let mut scene = Scene::new(2);
    scene.views[1].has_more = true;
    scene.arrives([0]);
    assert_eq!(scene.after(TURN), (true, vec![]), "the second one starves for the first time");
    scene.filled(&[SHARE * 8]);
    assert_eq!(scene.after_ms(1), (false, vec![]));
    scene.arrives([0]);
    assert_eq!(scene.after(TURN).1, [(0, Hold)]);
}

#[test]
fn a_partition_that_brings_nothing_is_refetched() {
    let expecting = FetchView { is_empty: true, has_more: true, ..FetchView::default() };
    // The view, and the seconds after which it is refetched.
    let table: [(&str, FetchView, &[u64]); 4] = [
        ("expected records do not arrive", expecting, &[31, 34, 39, 48, 65, 98]),
        ("there are no more records", FetchView { has_more: false, ..expecting }, &[]),
        ("the engine has paused it", FetchView { is_stopped: true, ..expecting }, &[]),
        ("its records are held", FetchView { withheld: Some(Withheld::Full), bytes: SHARE * 8, ..expecting }, &[]),
    ];
    for (case, view, expected) in table {
        let mut scene = Scene::new(1);
        scene.views[0] = view;
        let begun = scene.now;
        let mut refetched = Vec::new();
        for second in 1..120 {
            if scene.after_ms(1_000).1 == [(0, Refetch)] {
                refetched.push(second);
            }
        }
        assert_eq!(refetched, expected, "{case}");
        let silent = (!expected.is_empty()).then_some(begun);
        assert_eq!(scene.policy.silent_since(0), silent, "{case}: a refetch is no record");
    }
}

#[test]
fn an_arrival_ends_the_doubt() {
    let mut scene = Scene::new(1);
    scene.views[0].has_more = true;
    let actions: BTreeMap<u64, _> = (1..100).map(|second| (second, scene.after_ms(1_000).1)).collect();
    assert!(actions[&31] == [(0, Refetch)] && scene.policy.silent_since(0).is_some());
    scene.arrives([0]);
    let arrived = scene.now;
    for _ in 0..30 {
        assert_eq!(scene.after_ms(1_000).1, [], "the whole patience begins again");
    }
    assert_eq!(scene.policy.silent_since(0), Some(arrived));
    assert_eq!(scene.after_ms(1_000).1, [(0, Refetch)]);
    scene.views[0].has_more = false;
    scene.after_ms(1_000);
    assert_eq!(scene.policy.silent_since(0), None);
}
