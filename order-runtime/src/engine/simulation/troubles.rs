//! Troubles that are added to a plain scenario: operators, killing events, a refusing store and a changing cluster.
//!
//! The plain scenario keeps its steps, and only some of its events change: the additions use random numbers of their own.

use std::{sync::LazyLock, time::Duration};

use super::{
    faults::Bug,
    scenario::{Act, Dice, Event, Produced, Scenario, Step, Which},
};
use crate::engine::partition::release::Release;

/// Keys of the second topic.
const MORE_KEYS: u64 = 3;

/// How often in a thousand each trouble is added. Half of the scenarios lack a kind, so that the others are also seen alone.
struct Troubles {
    /// Events whose data the store refuses.
    refused: u64,
    /// Events that end the process.
    deadly: u64,
    /// Events that hold their key.
    held: u64,
    /// Events that stop their partition.
    stopping: u64,
    /// Steps after which an operator releases keys.
    releases: u64,
    /// Steps after which the store is unavailable for a while.
    store_away: u64,
    /// Steps after which a partition loses its last records.
    truncations: u64,
    /// Steps after which the second topic changes; 0 if there is no second topic.
    topics: u64,
    /// Killing events that may still be added: each ends several processes.
    killers: u32,
}

/// Whether a kind of trouble is left out, by the name of its field: `SIMULATION_WITHOUT=deadly,topics`.
pub(super) fn is_left_out(name: &str) -> bool {
    static WITHOUT: LazyLock<String> = LazyLock::new(|| std::env::var("SIMULATION_WITHOUT").unwrap_or_default());
    WITHOUT.split(',').any(|without| without == name)
}

impl Troubles {
    fn of(dice: &mut Dice) -> Self {
        let mut at_most = |name: &str, most: u64| {
            let often = if dice.in_thousand(500) { 0 } else { 1 + dice.below(most) };
            if is_left_out(name) { 0 } else { often }
        };
        Self {
            refused: at_most("refused", 80),
            deadly: at_most("deadly", 40),
            held: at_most("held", 80),
            stopping: at_most("stopping", 20),
            releases: at_most("releases", 250),
            store_away: at_most("store_away", 120),
            truncations: at_most("truncations", 150),
            topics: at_most("topics", 200),
            killers: 2,
        }
    }

    /// Adds a trouble to an event, or none.
    fn touch(&mut self, dice: &mut Dice, event: &mut Event) {
        // Only events that succeed, at once or later: the others have an outcome of their own.
        let succeeds = matches!(event.act, Act::Succeed | Act::Slow(_) | Act::Fail(1..=3));
        if succeeds && dice.in_thousand(self.refused) {
            event.refused = true;
        } else if event.act == Act::Succeed && dice.in_thousand(self.held) {
            event.act = Act::Park(1 + u32::try_from(dice.below(2)).unwrap_or_default());
        } else if event.act == Act::Succeed && dice.in_thousand(self.stopping) {
            event.act = Act::Stop;
        } else if event.act == Act::Succeed && self.killers > 0 && dice.in_thousand(self.deadly) {
            self.killers -= 1;
            // At once; while its batch still waits for it; after it was committed as running.
            let delays = [0, 0, 3, 20, 80, 200, 1_200];
            event.act = Act::Kill(delays[usize::try_from(dice.below(7)).unwrap_or_default()]);
        }
    }
}

impl Scenario {
    /// The plain scenario of the seed with troubles added.
    pub(super) fn with_troubles(seed: u64, bug: Option<Bug>) -> Self {
        let mut scenario = Self::of(seed, bug);
        let mut dice = Dice::of(seed ^ 0x7120_b1e5_7120_b1e5);
        let mut troubles = Troubles::of(&mut dice);
        scenario.restarts = true;
        scenario.more_keys = if troubles.topics > 0 { MORE_KEYS } else { 0 };
        let mut more = Produced::new(scenario.keys + scenario.more_keys);
        let mut is_away = false;
        let mut steps = Vec::new();
        for mut step in std::mem::take(&mut scenario.steps) {
            if let Step::Produce(events) = &mut step {
                for event in events.iter_mut() {
                    troubles.touch(&mut dice, event);
                }
            }
            steps.push(step);
            scenario.add(&mut dice, &mut troubles, &mut more, &mut is_away, &mut steps);
        }
        scenario.steps = steps;
        scenario
    }

    /// Adds the steps that follow one of the plain scenario.
    fn add(
        &self,
        dice: &mut Dice,
        troubles: &mut Troubles,
        more: &mut Produced,
        is_away: &mut bool,
        steps: &mut Vec<Step>,
    ) {
        if !*is_away && dice.in_thousand(troubles.store_away) {
            *is_away = true;
            steps.push(Step::StoreAway);
            match dice.below(4) {
                0 => steps.push(release(dice, self.keys + self.more_keys)),
                1 => steps.push(Step::Leave(dice.next())),
                2 => steps.push(Step::Rebalance(dice.next())),
                _ => {}
            }
        }
        if dice.in_thousand(troubles.truncations) {
            steps.push(Step::Truncate(dice.next(), 1 + i64::try_from(dice.below(12)).unwrap_or_default()));
            if dice.in_thousand(500) {
                steps.push(Step::Wait(Duration::from_millis(1 << dice.below(8))));
            }
        }
        if dice.in_thousand(troubles.releases) {
            steps.push(release(dice, self.keys + self.more_keys));
            // A second release directly after the first.
            if dice.in_thousand(400) {
                steps.push(release(dice, self.keys + self.more_keys));
            }
        }
        if troubles.topics > 0 {
            if dice.in_thousand(400) {
                let count = 1 + dice.below(8);
                steps.push(Step::Produce((0..count).map(|_| self.more(dice, troubles, more)).collect()));
            }
            if dice.in_thousand(troubles.topics) {
                steps.push(match dice.below(5) {
                    0 => Step::Vanish,
                    1 | 2 => Step::Remake,
                    _ => Step::JoinNarrow,
                });
            }
        }
        if *is_away && dice.in_thousand(350) {
            *is_away = false;
            steps.push(Step::StoreBack);
        }
    }

    /// An event of the second topic.
    fn more(&self, dice: &mut Dice, troubles: &mut Troubles, more: &mut Produced) -> Event {
        let model = Self::event(dice, &mut Produced::new(self.keys));
        let act = if model.act == Act::Undecodable { Act::Reject } else { model.act };
        let mut event = more.next(self.keys + dice.below(self.more_keys), act, model.also);
        troubles.touch(dice, &mut event);
        event
    }
}

fn release(dice: &mut Dice, keys: u64) -> Step {
    let which = if dice.in_thousand(300) { Which::All } else { Which::Key(dice.below(keys)) };
    let how = if dice.in_thousand(500) { Release::Retry } else { Release::DeadLetter };
    Step::Release(dice.next(), which, how)
}
