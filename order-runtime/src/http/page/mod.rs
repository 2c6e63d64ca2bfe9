//! The operator's page and its live updates.
//!
//! | module | the question it answers |
//! |---|---|
//! | `assets` | which files does the page consist of, and how are they sent? |
//! | `hub` | how are updates made once a second for all pages? |
//! | `live` | how does one page get its events? |
//! | `history` | what do the curves show? |
//! | `snapshot` | what is the state of the service, and what has changed? |
//!
//! The page itself is open to every client. Its event stream is for viewers: numbers, names of topics and processors, reasons.
//! Keys and payloads are behind the routes for administrators. The page sends its token with all requests.

mod assets;
mod history;
mod hub;
mod live;
mod snapshot;

pub(super) use self::{
    assets::{asset, index},
    hub::Hub,
    live::live,
};
