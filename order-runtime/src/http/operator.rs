//! The operator of a request, and the audit of operators' actions.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{extract::FromRequestParts, http::request::Parts};
use jiff::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{App, accept::Peer};
use crate::store::AuditRow;

/// The header in which a program names the person for whom it acts. It is trusted only from administrators, and the audit records
/// their address beside it.
pub(crate) const OPERATOR: &str = "x-operator";
/// Maximum length of a recorded name.
const LONGEST: usize = 64;
/// How long an answer waits for the audit record.
const RECORDED: Duration = Duration::from_secs(5);

/// Interval in which the events of one operator are recorded together.
const TOGETHER: Duration = Duration::from_mins(1);

/// The operator for the audit: `token@192.0.2.7`, or `cli:somebody via token@127.0.0.1`.
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

/// Records an action that was done. If the store does not accept the record, the action stays valid and is logged, because an
/// operator must be able to act while the store is unavailable.
pub(super) async fn record(app: &App, entry: AuditRow) {
    let store = Arc::clone(&app.store);
    let writing = tokio::spawn(async move {
        if let Err(error) = store.mark(entry.clone(), Vec::new()).await {
            let AuditRow { by, action, selection, letters, .. } = entry;
            tracing::warn!(%error, by, action, selection, letters, "an operator's action could not be recorded in the audit");
        }
    });
    // Writing continues after the answer.
    let _ = tokio::time::timeout(RECORDED, writing).await;
}

/// Number of events ingested over HTTP that are not in the audit yet, by operator. One record per request would cost as much as
/// its events.
#[derive(Default)]
pub(super) struct Ingested(Mutex<HashMap<String, u64>>);

/// Records that an operator has sent events: the first ones at once, later ones within a minute together at its end.
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
            // The same id: the store adds the numbers up.
            record(&app, AuditRow { letters: later, ..entry }).await;
        }
    });
}
