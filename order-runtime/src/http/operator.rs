//! Who acts, and the record of it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{App, accept::Peer};
use crate::store::AuditRow;

/// The header in which a program names the person that it acts for. Only administrators are believed, and where they come from
/// is recorded beside it.
pub(crate) const OPERATOR: &str = "x-operator";
/// The longest name that is recorded.
const LONGEST: usize = 64;
/// How long an answer waits for the record of what has been done.
const RECORDED: Duration = Duration::from_secs(5);

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
