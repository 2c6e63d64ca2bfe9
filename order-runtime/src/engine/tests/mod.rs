//! The engine on the in-memory broker and store: what the delivery guarantees say, without a thread or a socket.

mod deaths;
mod delivery;
mod failures;
mod releases;
mod rig;
