//! The engine on the in-memory broker and store: what the delivery guarantees say, without a thread or a socket.

mod deaths;
mod delivery;
mod emitted;
mod failures;
mod outages;
mod releases;
mod rig;
