//! The outbox relay: publishes the rows that transactions have written to the outbox, in their order for each topic and key. It
//! deletes a row only after the broker has acknowledged its record.
//!
//! - A row that fails temporarily holds back the later rows of its topic and key until it is published.
//! - A topic that refuses all records holds back its own rows, in their order, and no others.
//! - A record that its topic refuses permanently (too large, invalid) is set aside, unchanged, and holds back no row. See
//!   [`refusals`].
//!
//! A crash between acknowledgement and deletion publishes a record again, under the same `dlq-id`; no record is lost.

mod refusals;
mod state;

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
pub(crate) use state::OutboxState;
use tokio::time::Instant;
use tracing::{info, warn};

use self::{
    refusals::{ALONE, Refusals, SET_ASIDE_AGAIN, Turn, size},
    state::{Awaited, EndIsNoted, Trouble},
};
use super::batch::dead_letter;
use crate::{
    broker::{PublishError, Publisher},
    model::OutgoingRecord,
    store::{Outbox, OutboxRow, OutboxSize, Store, StoreError},
};

/// The maximum number of rows that are published at once. Each time costs the producer's linger and a round trip to the
/// broker; a run of bad events is twice as fast as with 500 rows.
const ROWS: usize = 4_000;
/// The limit of bytes that are published at once; the last read step may exceed it.
const BYTES: usize = 8 * 1024 * 1024;
/// The number of rows that are read at once. Small, because 500 maximum-size rows would take 500 MB.
const STEP: usize = 16;
/// The interval at which a relay looks for rows that other instances have written.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The same interval without other instances: the replay of a range may have written rows, and it does not notify the relay.
const BESIDE_AGAIN: Duration = SET_ASIDE_AGAIN;

/// Runs the relay until it is dropped.
pub(crate) async fn relay(store: Arc<dyn Store>, publisher: Arc<dyn Publisher>, outbox: Arc<OutboxState>) {
    let _ended = EndIsNoted(Arc::clone(&outbox));
    let mut relay = Relay { store, publisher, outbox, refusals: Refusals::default() };
    let mut pace = RelayPace::default();
    let mut fails = false;
    loop {
        let passed = relay.publish_all().await;
        relay.show(passed.as_ref().err());
        match passed {
            Ok(()) => {
                if std::mem::take(&mut fails) {
                    info!("the outbox is published again");
                }
                pace = RelayPace::default();
                relay.wait().await;
            }
            Err(problem) => {
                if !std::mem::replace(&mut fails, true) {
                    warn!(%problem, "the outbox is not published; its records stay in the store and are tried again");
                }
                tokio::time::sleep(pace.next()).await;
            }
        }
    }
}

/// Why the relay cannot publish.
#[derive(Debug, thiserror::Error)]
enum RelayProblem {
    #[error("the outbox relay cannot use the store ({0}); dead letters and emitted events wait in the store")]
    Store(#[from] StoreError),
    #[error("the broker does not take dead letters and emitted events ({0}); they wait in the store")]
    Publish(PublishError),
}

struct Relay {
    store: Arc<dyn Store>,
    publisher: Arc<dyn Publisher>,
    outbox: Arc<OutboxState>,
    refusals: Refusals,
}

/// One pass over the outbox, from its first row to its last.
#[derive(Default)]
struct Pass {
    /// The topics and keys of rows that are not published: later rows of these do not overtake them.
    held: HashSet<(Arc<str>, Bytes)>,
    /// The size of all rows that stay in the store.
    stays: OutboxSize,
    /// The ids of rows that the broker has acknowledged and the store has not deleted yet.
    acknowledged: Vec<i64>,
    bytes: u64,
    problem: Option<PublishError>,
}

impl Pass {
    fn leaves(&mut self, row: &OutboxRow) {
        self.acknowledged.push(row.id);
        self.bytes += row.record.size() as u64;
    }

    fn stays(&mut self, row: &OutboxRow) {
        self.stays.add(size(row));
    }

    fn holds(&mut self, row: &OutboxRow) {
        if let Some(key) = &row.record.key {
            self.held.insert((Arc::clone(&row.record.topic), key.clone()));
        }
    }

    fn is_held(&self, row: &OutboxRow) -> bool {
        // Most passes hold nothing.
        !self.held.is_empty()
            && row.record.key.as_ref().is_some_and(|key| {
                // Cloning both counts two references.
                self.held.contains(&(Arc::clone(&row.record.topic), key.clone()))
            })
    }
}

impl Relay {
    /// Publishes the rows of the outbox in one pass, until no further row can be published.
    async fn publish_all(&mut self) -> Result<(), RelayProblem> {
        let mut pass = Pass::default();
        for row in self.refusals.begin_pass().await {
            pass.leaves(&row);
        }
        self.delete(&mut pass).await?;
        let mut after = 0;
        loop {
            let written = self.outbox.written();
            let rows = match self.outbox.waiting_for(Awaited::Store, next_rows(&*self.store, after)).await? {
                Outbox::Rows(rows) => rows,
                Outbox::Elsewhere(size) => {
                    self.outbox.counted(size, written);
                    self.refusals.forget();
                    return Ok(());
                }
            };
            let Some(last) = rows.last() else {
                self.outbox.counted(pass.stays, written);
                self.refusals.end_pass();
                return pass.problem.map_or(Ok(()), |problem| Err(RelayProblem::Publish(problem)));
            };
            after = last.id;
            self.publish(rows, &mut pass).await;
            let nothing_left = pass.acknowledged.is_empty();
            self.delete(&mut pass).await?;
            if nothing_left && let Some(problem) = pass.problem.take() {
                // The broker is most likely unavailable, and later rows would only wait for it, too.
                return Err(RelayProblem::Publish(problem));
            }
        }
    }

    /// Publishes the rows whose turn has come.
    async fn publish(&mut self, rows: Vec<OutboxRow>, pass: &mut Pass) {
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        for row in rows {
            let turn = self.refusals.turn(&row);
            match turn {
                Turn::Later => pass.stays(&row),
                Turn::Together | Turn::Alone { holds_its_key: true } | Turn::OnTrial if pass.is_held(&row) => {
                    pass.stays(&row);
                }
                Turn::Together => together.push(row),
                Turn::Alone { holds_its_key } => {
                    if holds_its_key {
                        pass.holds(&row);
                    }
                    if alone.len() < ALONE {
                        alone.push(row);
                    } else {
                        pass.stays(&row);
                    }
                }
                Turn::OnTrial => {
                    pass.stays(&row);
                    self.send_on_trial(row);
                }
            }
        }
        let is_alone = together.len() == 1;
        for (row, result) in self.send(together).await {
            match result {
                Err(error @ (PublishError::TooLarge { .. } | PublishError::Invalid { .. })) if is_alone => {
                    self.refused_alone(row, error, pass).await;
                }
                Err(PublishError::TooLarge { .. } | PublishError::Invalid { .. }) => {
                    self.refusals.refused_together(row.id);
                    pass.holds(&row);
                    pass.stays(&row);
                }
                result => self.settle(&row, result, pass),
            }
        }
        for row in alone {
            for (row, result) in self.send(vec![row]).await {
                match result {
                    Err(error @ (PublishError::TooLarge { .. } | PublishError::Invalid { .. })) => {
                        self.refused_alone(row, error, pass).await;
                    }
                    result => self.settle(&row, result, pass),
                }
            }
        }
    }

    /// Sends rows and returns the result of each.
    async fn send(&self, rows: Vec<OutboxRow>) -> Vec<(OutboxRow, Result<(), PublishError>)> {
        if rows.is_empty() {
            return Vec::new();
        }
        let records: Arc<[_]> = rows.iter().map(|row| Arc::clone(&row.record)).collect();
        let results = self.outbox.waiting_for(Awaited::Broker, self.publisher.publish(records)).await;
        rows.into_iter().zip(results.into_iter().map(|result| result.map(drop))).collect()
    }

    /// Sends a row without waiting for the answer, because the producer takes seconds to answer if the topic still does not
    /// exist.
    fn send_on_trial(&mut self, row: OutboxRow) {
        let (publisher, outbox, record) =
            (Arc::clone(&self.publisher), Arc::clone(&self.outbox), Arc::clone(&row.record));
        let trial = tokio::spawn(async move {
            let answers = publisher.publish([record].into()).await;
            outbox.wake.notify_one();
            answers
        });
        self.refusals.on_trial(row, trial);
    }

    /// Records the result of a row.
    fn settle(&mut self, row: &OutboxRow, result: Result<(), PublishError>, pass: &mut Pass) {
        match result {
            Ok(()) => {
                self.refusals.left(row.id);
                pass.leaves(row);
            }
            Err(PublishError::Refused { reason, .. }) => {
                self.refusals.refused_by_topic(row, &reason);
                pass.stays(row);
            }
            Err(error) => {
                pass.problem.get_or_insert(error);
                pass.holds(row);
                pass.stays(row);
            }
        }
    }

    /// Handles a record that was refused because of its own content. A dead letter that is too large is sent again without its
    /// optional headers; an emitted event is never changed.
    async fn refused_alone(&mut self, row: OutboxRow, mut error: PublishError, pass: &mut Pass) {
        if matches!(error, PublishError::TooLarge { .. }) && dead_letter::is_one(&row.record) {
            let shrunk: OutgoingRecord = dead_letter::shrink(&row.record);
            let shrunk = OutboxRow { id: row.id, record: Arc::new(shrunk) };
            for (_, result) in self.send(vec![shrunk]).await {
                match result {
                    Err(again @ (PublishError::TooLarge { .. } | PublishError::Invalid { .. })) => error = again,
                    result => return self.settle(&row, result, pass),
                }
            }
        }
        self.refusals.refused_alone(&row, &error);
        pass.stays(&row);
    }

    /// Deletes the rows that the broker has acknowledged.
    async fn delete(&self, pass: &mut Pass) -> Result<(), RelayProblem> {
        if pass.acknowledged.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut pass.acknowledged);
        let left = OutboxSize { rows: rows.len() as u64, bytes: std::mem::take(&mut pass.bytes) };
        self.outbox.waiting_for(Awaited::Store, self.store.published(rows)).await?;
        self.outbox.published(left);
        Ok(())
    }

    /// Publishes the reasons why records stay in the outbox, for the health checks.
    fn show(&self, problem: Option<&RelayProblem>) {
        let reasons = problem.map(ToString::to_string).into_iter().chain(self.refusals.explain()).collect();
        self.outbox.set_trouble(Trouble { reasons, refused: self.refusals.rows() });
    }

    /// Waits until there may be something to publish.
    async fn wait(&self) {
        if self.refusals.has_suspects() {
            return tokio::task::yield_now().await;
        }
        // The first pass finds the rows of an earlier run of the process. Later rows notify the relay, except those of other
        // instances.
        let look_again = Instant::now() + if self.store.shared() { LOOK_AGAIN } else { BESIDE_AGAIN };
        let until = self.refusals.next().map_or(look_again, |next| next.min(look_again));
        let _ = tokio::time::timeout_at(until, self.outbox.wake.notified()).await;
    }
}

/// The rows after `after`, as many as are published at once.
async fn next_rows(store: &dyn Store, after: i64) -> Result<Outbox, StoreError> {
    let mut rows: Vec<OutboxRow> = Vec::new();
    let mut bytes = 0;
    while rows.len() < ROWS && bytes < BYTES {
        let after = rows.last().map_or(after, |row| row.id);
        match store.outbox(after, STEP).await? {
            Outbox::Rows(more) => {
                let is_last = more.len() < STEP;
                bytes += more.iter().map(|row| row.record.size()).sum::<usize>();
                rows.extend(more);
                if is_last {
                    break;
                }
            }
            // Another instance publishes now, and it publishes the rows that were read here, too.
            elsewhere @ Outbox::Elsewhere(_) => return Ok(elsewhere),
        }
    }
    Ok(Outbox::Rows(rows))
}

/// Growing delays between attempts, in milliseconds from 100 to 6,400.
#[derive(Debug, Default)]
struct RelayPace {
    failures: u32,
}

impl RelayPace {
    fn next(&mut self) -> Duration {
        let delay = Duration::from_millis(100 << self.failures.min(6));
        self.failures += 1;
        delay
    }
}

#[cfg(test)]
mod tests;
