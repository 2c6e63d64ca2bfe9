//! `run`.

use std::process::ExitCode;

use super::{Context, Failure};
use crate::{reload, service};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    /// Threads that run processors; goes over `APP_WORKERS`.
    #[arg(long, value_name = "COUNT")]
    pub(super) workers: Option<String>,
}

pub(super) fn run(context: Context) -> Result<ExitCode, Failure> {
    // Declarations that contradict each other are told before anything starts, also before the supervisor builds again.
    let registry = context.registry()?;
    let Context { dispatcher, config, .. } = context;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.app.workers)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no threads can be started: {error}")))?;
    if config.app.reload && !reload::is_supervised() {
        return runtime.block_on(reload::supervise(&dispatcher, config)).map_err(Failure::failed);
    }
    let served = runtime.block_on(service::serve(dispatcher, config, registry));
    // A processor that computes without end must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    served.map(|()| ExitCode::SUCCESS).map_err(Failure::failed)
}
