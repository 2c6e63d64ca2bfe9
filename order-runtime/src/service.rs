//! The whole service: broker, store, engine and HTTP, started in order and ended in order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::{
    Dispatcher,
    config::Config,
    engine::{self, Ended, EngineHandle, Parts, Settings, SystemClock},
    registry::Registry,
    store::Store,
};
