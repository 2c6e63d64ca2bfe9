//! Who acts, and the record of it.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{extract::FromRequestParts, http::request::Parts};
use jiff::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{App, accept::Peer};
use crate::store::AuditRow;

/// The header in which a program names the person that it acts for. Only administrators are believed, and where they come from
/// is recorded beside it.
pub(crate) const OPERATOR: &str = "x-operator";
/// The longest name that is recorded.
const LONGEST: usize = 64;
/// How long an answer waits for the record of what has been done.
const RECORDED: Duration = Duration::from_secs(5);

/// Events of one operator that the audit has in one record.
const TOGETHER: Duration = Duration::from_mins(1);

/// Who asks, for the audit: `token@192.0.2.7`, or `cli:somebody via token@127.0.0.1`.
pub(super) struct Operator(pub(super) String);

impl FromRequestParts<App> for Operator {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let how = if app.config.app.admin_token.is_some() { "token" } else { "http" };
        let peer = match parts.extensions.get::<Peer>() {
            Some(Peer(address)) => format!("{how}@{}", address.ip()),
            None => how.to_owned(),
        };
        let named = parts.headers.get(OPERATOR).and_then(|name| name.to_str().ok());
        let named = named.filter(|name| (1..=LONGEST).contains(&name.len()));
        Ok(Self(named.map_or_else(|| peer.clone(), |name| format!("{name} via {peer}"))))
    }
}

/// Records an action that has been done. It counts also where the store does not take the record, because an operator must be
/// able to act while the store is unavailable; the log then has it.
pub(super) async fn record(app: &App, entry: AuditRow) {
    let store = Arc::clone(&app.store);
    let writing = tokio::spawn(async move {
        if let Err(error) = store.mark(entry.clone(), Vec::new()).await {
            let AuditRow { by, action, selection, letters, .. } = entry;
            tracing::warn!(%error, by, action, selection, letters, "an operator's action is not in the audit");
        }
    });
    // It goes on after the answer.
    let _ = tokio::time::timeout(RECORDED, writing).await;
}

/// Events that came over HTTP and are not in the audit yet, by operator. A record for each request would cost as much as its events.
#[derive(Default)]
pub(super) struct Ingested(Mutex<HashMap<String, u64>>);

/// Records that an operator has sent events: at once, and what follows within a minute together at its end.
pub(super) fn ingested(app: &App, by: String, events: u64) {
    {
        let mut later = app.0.ingested.0.lock();
        if let Some(later) = later.get_mut(&by) {
            *later += events;
            return;
        }
        later.insert(by.clone(), 0);
    }
    let app = app.clone();
    tokio::spawn(async move {
        let entry = AuditRow {
            id: Uuid::new_v4(),
            at: Timestamp::now(),
            by: by.clone(),
            action: "publish".to_owned(),
            letters: 0,
            selection: "{}".to_owned(),
        };
        record(&app, AuditRow { letters: events, ..entry.clone() }).await;
        tokio::time::sleep(TOGETHER).await;
        let later = app.0.ingested.0.lock().remove(&by).unwrap_or_default();
        if later > 0 {
            // Under the same id its number adds up.
            record(&app, AuditRow { letters: later, ..entry }).await;
        }
    });
}
