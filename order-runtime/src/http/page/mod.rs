//! The operator's page, and what keeps it up to date.
//!
//! | module | the question it answers |
//! |---|---|
//! | `assets` | which files is the page made of, and how are they sent? |
//! | `hub` | who is told of a new second, and when is there nothing to do? |
//! | `live` | how does one page listen? |
//! | `history` | what do the curves show? |
//! | `snapshot` | what does a page know, and what has changed since? |
//!
//! The page itself is for whoever may reach the service. What it listens to is for viewers: numbers, names of topics and
//! processors, reasons. Keys and payloads are behind the routes for administrators. The page asks all of them with a token.

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
