//! Background jobs on dead letters: replays, setting aside, and dry runs of both.
//!
//! Each job reads the whole dead-letter topic, which takes longer than an answer may. Only its marks in the store are kept. So
//! the same request continues after a stop, a kill or an error.

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::App;
use crate::dead_letters::{AsideSummary, DeadLetterError, Disposition, LetterReplay, SetAside, Summary};

/// Maximum number of dry runs at the same time: each reads the topic with its own client.
const COUNTING: usize = 4;
/// Maximum number of jobs that are shown, including ended ones.
const SHOWN: usize = 64;

/// The jobs of this instance, oldest first.
#[derive(Default)]
pub(super) struct Jobs(Mutex<VecDeque<Job>>);

struct Job {
    view: JobView,
    stop: CancellationToken,
}

/// The work of a job.
pub(super) enum Work {
    LetterReplay(LetterReplay),
    SetAside(Disposition, SetAside),
}

/// A job's state and progress.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobView {
    pub(super) id: String,
    /// The action as in the audit: `replay`, `park`, `unpark` or `purge`.
    action: &'static str,
    /// Whether it only counts.
    dry_run: bool,
    state: JobState,
    by: String,
    started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// Records of the topic that were read, and the records in total, at most.
    read: u64,
    of: u64,
    /// The error that ended the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The result so far.
    summary: JobSummary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum JobState {
    Running,
    Stopped,
    Done,
    Failed,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum JobSummary {
    LetterReplay(Summary),
    SetAside(AsideSummary),
}

/// The kinds of jobs; their number at the same time is limited per kind.
#[derive(PartialEq, Eq)]
enum JobKind {
    Counting,
    LetterReplay,
    SetAside,
}

impl Work {
    /// The view of a job at its start.
    fn view(&self, by: String) -> JobView {
        let (action, dry_run, summary) = match *self {
            Self::LetterReplay(LetterReplay { dry_run, .. }) => {
                ("replay", dry_run, JobSummary::LetterReplay(Summary { dry_run, ..Summary::default() }))
            }
            Self::SetAside(how, SetAside { dry_run, .. }) => {
                (how.as_str(), dry_run, JobSummary::SetAside(AsideSummary { dry_run, ..AsideSummary::default() }))
            }
        };
        JobView {
            id: Uuid::new_v4().simple().to_string(),
            action,
            dry_run,
            state: JobState::Running,
            by,
            started_at: Timestamp::now(),
            ended_at: None,
            read: 0,
            of: 0,
            error: None,
            summary,
        }
    }

    async fn run(
        self,
        app: &App,
        by: &str,
        stop: &CancellationToken,
        mut progress: impl FnMut(JobSummary, u64, u64),
    ) -> Result<JobSummary, DeadLetterError> {
        let service = app.dead_letters();
        match self {
            Self::LetterReplay(request) => {
                let progress =
                    |summary: &Summary, read, of| progress(JobSummary::LetterReplay(summary.clone()), read, of);
                if request.dry_run {
                    service.count(&request, stop, progress).await.map(JobSummary::LetterReplay)
                } else {
                    service.replay(&*app.publisher, by, &request, stop, progress).await.map(JobSummary::LetterReplay)
                }
            }
            Self::SetAside(how, request) => {
                let progress =
                    |summary: &AsideSummary, read, of| progress(JobSummary::SetAside(summary.clone()), read, of);
                service.set_aside(by, how, &request, stop, progress).await.map(JobSummary::SetAside)
            }
        }
    }
}

impl JobView {
    fn kind(&self) -> JobKind {
        match self.summary {
            _ if self.dry_run => JobKind::Counting,
            JobSummary::LetterReplay(_) => JobKind::LetterReplay,
            JobSummary::SetAside(_) => JobKind::SetAside,
        }
    }
}

/// Starts a job and returns its view; `None` if too many jobs of its kind are running.
pub(super) fn begin(app: &App, by: String, work: Work) -> Option<JobView> {
    let jobs = Arc::clone(app.jobs());
    let view = work.view(by.clone());
    let (id, stop) = (view.id.clone(), CancellationToken::new());
    {
        let mut known = jobs.0.lock();
        let kind = view.kind();
        let most = if kind == JobKind::Counting { COUNTING } else { 1 };
        let running = known.iter().filter(|job| job.view.state == JobState::Running && job.view.kind() == kind);
        if running.count() >= most {
            return None;
        }
        known.push_back(Job { view: view.clone(), stop: stop.clone() });
        forget_oldest(&mut known);
    }
    let app = app.clone();
    tokio::spawn(async move {
        let progress = |summary, read, of| {
            jobs.update(&id, |view| (view.summary, view.read, view.of) = (summary, read, of));
        };
        let result = work.run(&app, &by, &stop, progress).await;
        jobs.update(&id, |view| {
            view.ended_at = Some(Timestamp::now());
            match result {
                Ok(summary) => {
                    view.state = if stop.is_cancelled() { JobState::Stopped } else { JobState::Done };
                    view.summary = summary;
                }
                Err(error) => {
                    tracing::warn!(%error, action = view.action, "a job on dead letters failed");
                    view.state = JobState::Failed;
                    view.error = Some(error.to_string());
                }
            }
        });
    });
    Some(view)
}

/// Removes the oldest ended job if there are too many; the last replay is always kept.
fn forget_oldest(known: &mut VecDeque<Job>) {
    if known.len() <= SHOWN {
        return;
    }
    let last_replay = known.iter().rposition(|job| job.view.kind() == JobKind::LetterReplay);
    let mut ended = known.iter().enumerate().filter(|(_, job)| job.view.state != JobState::Running);
    if let Some((oldest, _)) = ended.find(|(place, _)| Some(*place) != last_replay) {
        known.remove(oldest);
    }
}

/// All known jobs, latest first.
pub(super) fn all(app: &App) -> Vec<JobView> {
    app.jobs().0.lock().iter().rev().map(|job| job.view.clone()).collect()
}

/// The view of a job.
pub(super) fn view(app: &App, id: &str) -> Option<JobView> {
    app.jobs().find(|view| view.id == id, |job| job.view.clone())
}

/// The view of the last replay that was not a dry run.
pub(super) fn last_replay(app: &App) -> Option<JobView> {
    app.jobs().find(|view| view.kind() == JobKind::LetterReplay, |job| job.view.clone())
}

/// Stops a job after its current letters.
pub(super) fn stop(app: &App, id: &str) {
    app.jobs().find(|view| view.id == id, |job| job.stop.cancel());
}

impl Jobs {
    /// Calls `then` with the latest job that fulfils `is`.
    fn find<T>(&self, is: impl Fn(&JobView) -> bool, then: impl FnOnce(&Job) -> T) -> Option<T> {
        self.0.lock().iter().rev().find(|job| is(&job.view)).map(then)
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut JobView)) {
        if let Some(job) = self.0.lock().iter_mut().find(|job| job.view.id == id) {
            change(&mut job.view);
        }
    }
}
