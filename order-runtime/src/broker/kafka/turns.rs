//! Turns: what happens where more partitions have a backlog than one answer of the broker brings.
//!
//! After each time that its queue was full, librdkafka asks for all partitions anew, in the same order, and the broker fills its
//! answer from the first ones. Those behind them would get nothing until the first have no more. So when a partition starves
//! beside others that are served, these rest until all have had their turn.

use std::time::Duration;

use tokio::time::Instant;

use super::poller::Polled;

/// How long a turn lasts. A partition that begins to rest drops what is fetched of it already, so it must not be short.
const TURN: Duration = Duration::from_secs(3);

/// What a partition has had of the turns so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turn {
    /// Whether records of it have come since the last look.
    pub(super) served: bool,
    /// Whether it had more at the last look, and nothing had come.
    hungry: bool,
    /// Whether the rest of the others has not helped it: something else is wrong, and nobody rests for it.
    helpless: bool,
}

/// How a partition is just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// It waits for records that are there.
    Hungry,
    Resting,
    /// Neither.
    Well,
}

/// What is to be done about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Rest,
    GoOn,
}

/// Looks at the turns that all partitions have had.
fn look(turns: &mut [Turn], now: &[Now]) -> Vec<(usize, Step)> {
    let someone_rests = now.contains(&Now::Resting);
    let someone_is_served = turns.iter().zip(now).any(|(turn, now)| turn.served && *now != Now::Resting);
    let mut starves = false;
    for (turn, now) in turns.iter_mut().zip(now) {
        if turn.served {
            turn.helpless = false;
        }
        let hungry = *now == Now::Hungry && !turn.served;
        // One that is hungry for the first time may have got its record just now.
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
    /// Has those rest that others starve beside, and those go on that have rested.
    pub(super) fn take_turns(&mut self) {
        if self.turned.elapsed() < TURN {
            return;
        }
        self.turned = Instant::now();
        let lanes = &mut self.known.lanes;
        let mut turns: Vec<Turn> = lanes.iter().map(|lane| lane.turn).collect();
        let now: Vec<Now> = lanes
            .iter()
            .map(|lane| match &lane.inbox {
                inbox if inbox.rests() => Now::Resting,
                inbox if inbox.is_hungry() => Now::Hungry,
                _ => Now::Well,
            })
            .collect();
        let steps = look(&mut turns, &now);
        for (lane, turn) in lanes.iter_mut().zip(turns) {
            lane.turn = turn;
        }
        for (place, step) in steps {
            let inbox = &self.known.lanes[place].inbox;
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

    /// Partitions that all have more, and a broker whose answers hold the first `most` of those that do not rest, but for those
    /// that are `broken`. Answers how often each was served in 60 turns, and who rests then.
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
    fn everyone_is_served_again_and_again() {
        let (served, _) = rounds(8, 3, &[]);
        assert!(served.iter().all(|turns| *turns >= 10), "{served:?}");
    }

    #[test]
    fn nobody_rests_for_one_that_cannot_be_helped() {
        let (served, now) = rounds(3, 3, &[1]);
        assert!(served[0] >= 57, "{served:?}");
        assert_eq!(now, [Now::Hungry; 3]);
    }

    #[test]
    fn nobody_rests_where_one_may_have_got_its_record_just_now() {
        let mut turns = [Turn::default(); 2];
        for hungry in [Now::Well, Now::Hungry, Now::Well, Now::Hungry] {
            turns[0].served = true;
            assert_eq!(look(&mut turns, &[Now::Well, hungry]), []);
        }
    }
}
