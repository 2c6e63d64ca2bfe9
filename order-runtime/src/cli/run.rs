//! `run`.

use std::process::ExitCode;

use super::{Context, Failure};
use crate::{reload, service};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Arguments {
    /// Number of threads that run processors; overrides `APP_WORKERS`.
    #[arg(long, value_name = "COUNT")]
    pub(super) workers: Option<String>,
}

pub(super) fn run(context: Context) -> Result<ExitCode, Failure> {
    // Contradicting declarations are reported before anything starts, also before the supervisor builds again.
    let registry = context.registry()?;
    let Context { dispatcher, config, .. } = context;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.app.workers)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    if config.app.reload && !reload::is_supervised() {
        return runtime.block_on(reload::supervise(&dispatcher, config)).map_err(Failure::failed);
    }
    let served = runtime.block_on(service::serve(dispatcher, config, registry));
    // A processor in an endless computation must not keep the process alive.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    served.map(|()| ExitCode::SUCCESS).map_err(Failure::failed)
}
