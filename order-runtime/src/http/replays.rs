//! A replay that was asked for over HTTP: it goes on after the answer, one at a time.
//!
//! Nothing of it is kept: what has left is marked in the store, so the same request goes on where a stop, a kill or an error
//! has ended it.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::dead_letters::{Replay, Selection, Summary};

/// The last replay of this instance.
#[derive(Default)]
pub(super) struct Replays(Mutex<Option<Job>>);

struct Job {
    view: View,
    stop: CancellationToken,
}

/// How far a replay is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    state: Progress,
    by: String,
    started_at: Timestamp,
    /// Records of the topic that were read, and how many there are at most.
    read: u64,
    of: u64,
    /// What has ended it, where that was an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    summary: Summary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    Running,
    Stopped,
    Done,
    Failed,
}

/// Begins a replay; `None` while another one is under way.
pub(super) fn begin(app: &App, by: String, selection: Selection, how: Replay) -> Option<View> {
    let replays = app.replays();
    let mut last = replays.0.lock();
    if last.as_ref().is_some_and(|job| job.view.state == Progress::Running) {
        return None;
    }
    let stop = CancellationToken::new();
    let view = View {
        state: Progress::Running,
        by: by.clone(),
        started_at: Timestamp::now(),
        read: 0,
        of: 0,
        error: None,
        summary: Summary::default(),
    };
    *last = Some(Job { view: view.clone(), stop: stop.clone() });
    let (app, replays) = (app.clone(), Arc::clone(replays));
    tokio::spawn(async move {
        let progress = |summary: &Summary, read, of| {
            replays.update(|view| {
                (view.read, view.of) = (read, of);
                view.summary.clone_from(summary);
            });
        };
        let result = app.desk().replay(&*app.publisher, &by, selection, &how, &stop, progress).await;
        replays.update(|view| match result {
            Ok(summary) => {
                view.state = if stop.is_cancelled() { Progress::Stopped } else { Progress::Done };
                view.summary = summary;
            }
            Err(error) => {
                tracing::warn!(%error, "a replay of dead letters has failed");
                view.state = Progress::Failed;
                view.error = Some(error.to_string());
            }
        });
    });
    Some(view)
}

/// How far the last replay is; `None` before the first.
pub(super) fn view(app: &App) -> Option<View> {
    app.replays().0.lock().as_ref().map(|job| job.view.clone())
}

/// Ends the replay that is under way after its batch.
pub(super) fn stop(app: &App) {
    if let Some(job) = &*app.replays().0.lock() {
        job.stop.cancel();
    }
}

impl Replays {
    fn update(&self, change: impl FnOnce(&mut View)) {
        if let Some(job) = &mut *self.0.lock() {
            change(&mut job.view);
        }
    }
}
