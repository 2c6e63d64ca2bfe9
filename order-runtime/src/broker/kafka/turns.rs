//! Fairness between partitions, when more of them have a backlog than one fetch response can hold.
//!
//! Each time after its queue was full, librdkafka requests all partitions in the same order, and the broker fills its response
//! from the first ones. The later ones would get nothing until the first have no more records. So when a partition starves while
//! others are served, the served ones are paused until all have had their turn.

use std::time::Duration;

use tokio::time::Instant;

use super::poller::Polled;

/// The length of a turn. A pause drops the records that are fetched already, so it must not be short.
const TURN: Duration = Duration::from_secs(3);

/// The state of a partition in the turns so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turn {
    /// Whether its records have arrived since the last check.
    pub(super) served: bool,
    /// Whether it had more records at the last check, and none had arrived.
    hungry: bool,
    /// Whether pausing the others has not helped it. The cause is another one then, and no partition is paused for it.
    helpless: bool,
}

/// The current state of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// It waits for records that the log has.
    Hungry,
    Resting,
    /// Neither.
    Well,
}

/// An action on a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Rest,
    GoOn,
}

/// Checks the turns of all partitions, and returns the actions on them.
fn look(turns: &mut [Turn], now: &[Now]) -> Vec<(usize, Step)> {
    let someone_rests = now.contains(&Now::Resting);
    let someone_is_served = turns.iter().zip(now).any(|(turn, now)| turn.served && *now != Now::Resting);
    let mut starves = false;
    for (turn, now) in turns.iter_mut().zip(now) {
        if turn.served {
            turn.helpless = false;
        }
        let hungry = *now == Now::Hungry && !turn.served;
        // A partition that is hungry for the first time may have received its record just now.
        starves |= hungry && turn.hungry && !turn.helpless;
        turn.helpless |= hungry && someone_rests && !someone_is_served;
        turn.hungry = hungry;
    }
    let make_way = starves && someone_is_served;
    let mut steps = Vec::new();
    for (place, (turn, now)) in turns.iter_mut().zip(now).enumerate() {
        let served = std::mem::take(&mut turn.served);
        match now {
            Now::Resting if !make_way => steps.push((place, Step::GoOn)),
            Now::Hungry | Now::Well if make_way && served => steps.push((place, Step::Rest)),
            Now::Hungry | Now::Resting | Now::Well => {}
        }
    }
    steps
}

impl Polled {
    /// Pauses served partitions while others starve, and resumes partitions that have rested.
    pub(super) fn take_turns(&mut self) {
        if self.turned.elapsed() < TURN {
            return;
        }
        self.turned = Instant::now();
        let feeds = &mut self.known.feeds;
        let mut turns: Vec<Turn> = feeds.iter().map(|feed| feed.turn).collect();
        let now: Vec<Now> = feeds
            .iter()
            .map(|feed| match &feed.inbox {
                inbox if inbox.rests() => Now::Resting,
                inbox if inbox.is_hungry() => Now::Hungry,
                _ => Now::Well,
            })
            .collect();
        let steps = look(&mut turns, &now);
        for (feed, turn) in feeds.iter_mut().zip(turns) {
            feed.turn = turn;
        }
        for (place, step) in steps {
            let inbox = &self.known.feeds[place].inbox;
            match step {
                Step::Rest if inbox.rest() => self.pause(&inbox.id),
                Step::GoOn if inbox.end_rest() => self.resume(&inbox.id),
                Step::Rest | Step::GoOn => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates partitions that all have a backlog, and a broker whose responses hold the first `most` of those that are neither
    /// paused nor `broken`. Returns how often each was served in 60 turns, and their states at the end.
    fn rounds(partitions: usize, most: usize, broken: &[usize]) -> (Vec<u32>, Vec<Now>) {
        let mut turns = vec![Turn::default(); partitions];
        let mut now = vec![Now::Hungry; partitions];
        let mut served = vec![0; partitions];
        for _ in 0..60 {
            let fetched = (0..partitions).filter(|place| now[*place] != Now::Resting && !broken.contains(place));
            for place in fetched.take(most) {
                turns[place].served = true;
                served[place] += 1;
            }
            for (place, step) in look(&mut turns, &now) {
                now[place] = if step == Step::Rest { Now::Resting } else { Now::Hungry };
            }
        }
        (served, now)
    }

    #[test]
    fn every_partition_is_served_again_and_again() {
        let (served, _) = rounds(8, 3, &[]);
        assert!(served.iter().all(|turns| *turns >= 10), "{served:?}");
    }

    #[test]
    fn no_partition_rests_for_one_that_cannot_be_helped() {
        let (served, now) = rounds(3, 3, &[1]);
        assert!(served[0] >= 57, "{served:?}");
        assert_eq!(now, [Now::Hungry; 3]);
    }

    #[test]
    fn no_partition_rests_for_one_whose_record_may_be_new() {
        let mut turns = [Turn::default(); 2];
        for hungry in [Now::Well, Now::Hungry, Now::Well, Now::Hungry] {
            turns[0].served = true;
            assert_eq!(look(&mut turns, &[Now::Well, hungry]), []);
        }
    }
}
