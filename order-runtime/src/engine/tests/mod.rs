//! The engine on the in-memory broker and store: what the delivery guarantees say, without a thread or a socket.

mod away;
mod deaths;
mod delivery;
mod emitted;
mod failures;
mod releases;
mod rig;
