//! Tests of the delivery guarantees: the engine runs on the in-memory broker and store, without a thread or a socket.

mod alone;
mod away;
mod bad_input;
mod deaths;
mod delivery;
mod emitted;
pub(crate) mod event_log;
mod failures;
mod lookups;
mod measured;
mod orphaned;
mod outages;
mod outbox;
mod rebalances;
mod refusals;
mod releases;
mod replays;
pub(crate) mod rig;
mod standstill;
mod stops;
mod traced;
mod truncations;
mod windows;
