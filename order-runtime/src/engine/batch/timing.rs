//! How long attempts take, and how they end: measured around the decision of what becomes of their events.

use super::{
    Batch, Flow,
    attempt::{End, EndedAttempt, Item},
};
use crate::{
    dispatch::{Class, FailedAttempt, Outcome},
    store::StoreError,
};

impl End {
    /// Whether the attempt failed; what a processor wants skipped has not.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Returned(
                Outcome::Done | Outcome::Unread | Outcome::Failed(FailedAttempt { class: Class::Skip, .. }),
            ) => false,
            Self::Returned(Outcome::Invalid(_) | Outcome::Failed(_))
            | Self::Panicked(_)
            | Self::TimedOut(_)
            | Self::LookupFailed(_) => true,
        }
    }
}

impl Batch<'_> {
    /// Settles an ended attempt; `Err` gives the event back when it has to run again without a failure of its own.
    pub(crate) async fn settle(&mut self, queue: &[u8], ended: EndedAttempt) -> Result<Result<Flow, Item>, StoreError> {
        self.effects.timing.ended(ended.processor, ended.end.is_failure(), ended.elapsed);
        let span = self.open_span(&ended);
        let settled = self.decide(queue, ended).await?;
        if let (Some(span), Ok(flow)) = (span, &settled) {
            self.close_span(&span, *flow);
        }
        Ok(settled)
    }
}
