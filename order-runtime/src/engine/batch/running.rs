//! The attempts of a partition that have not finished. The partition owner drives them, also while it waits for the store.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};

use super::attempt::Finished;
use crate::engine::observe::progress::{Activity, Progress};

/// Unfinished attempts of the current batch and of earlier ones.
#[derive(Default)]
pub(crate) struct Running {
    attempts: FuturesUnordered<BoxFuture<'static, Finished>>,
    /// Attempts that finished while the owner waited for the store.
    ended: VecDeque<Finished>,
}

impl Running {
    /// Whether `next` has no attempt left to return.
    pub(crate) fn is_empty(&self) -> bool {
        self.attempts.is_empty() && self.ended.is_empty()
    }

    /// Adds an attempt.
    pub(crate) fn push(&mut self, attempt: BoxFuture<'static, Finished>) {
        self.attempts.push(attempt);
    }

    /// Waits for the next attempt that finishes; `None` when there are none.
    pub(crate) async fn next(&mut self) -> Option<Finished> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// An attempt that has already finished, if any; does not wait.
    pub(crate) fn next_ended(&mut self) -> Option<Finished> {
        self.next().now_or_never().flatten()
    }

    /// Like `next`, for an idle owner: a processor that blocks the thread here is reported as stuck.
    pub(crate) async fn next_at_rest(&mut self, progress: &Progress) -> Option<Finished> {
        poll_fn(|context| {
            progress.goes_on();
            let ended = self.poll_next(context);
            progress.is_at(Activity::Resting);
            ended
        })
        .await
    }

    /// Waits for the store's answer and drives the attempts in the meantime, so that a slow store does not use up their timeouts.
    pub(crate) async fn awaiting_store<T>(&mut self, progress: &Progress, answer: impl Future<Output = T>) -> T {
        let waits = progress.awaits_store();
        let mut answer = pin!(answer);
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            while let Poll::Ready(Some(finished)) = waits.interrupted(|| self.attempts.poll_next_unpin(context)) {
                self.ended.push_back(finished);
            }
            Poll::Pending
        })
        .await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Finished>> {
        match self.ended.pop_front() {
            Some(finished) => Poll::Ready(Some(finished)),
            None => self.attempts.poll_next_unpin(context),
        }
    }
}
