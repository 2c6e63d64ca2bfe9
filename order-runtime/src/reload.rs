//! `APP_RELOAD`: watches the sources, builds after a change, and restarts the service with the new build.
//!
//! The process that `cargo run` started is the supervisor. It holds the embedded broker, so that events survive a restart, and
//! runs the service as its child. After a change it builds while the child keeps running. Only a successful build replaces the
//! child, which drains first. The child's standard input is a pipe: when the supervisor dies, the pipe closes and the child
//! stops.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use notify::{EventKind, RecursiveMode, Watcher};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
};
use tracing::{error, info, warn};

use crate::{
    broker::embedded,
    config::Config,
    dispatcher::Dispatcher,
    service::{
        Stop,
        supervised::{AGAIN, EMBEDDED, SUPERVISED},
    },
};

/// A build starts when no file has changed for this long, because editors write several files, and each several times.
const QUIET: Duration = Duration::from_millis(150);
/// A child that does not drain within this time is killed.
const DRAIN: Duration = Duration::from_secs(40);

/// Whether this process is the supervisor's child.
pub(crate) fn is_supervised() -> bool {
    std::env::var_os(SUPERVISED).is_some()
}

/// Why the supervisor failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    /// The embedded broker failed to start.
    #[error("{0}")]
    Broker(String),
    /// The sources cannot be watched.
    #[error("sources cannot be watched: {0}; set APP_RELOAD=False to run without reloading")]
    Watch(#[from] notify::Error),
    /// An operation on a process or a signal failed.
    #[error("the service cannot be started under supervision: {0}; set APP_RELOAD=False to run without a supervisor")]
    Process(#[from] std::io::Error),
}

/// Runs the service as a child and replaces it after each change, until a signal stops both.
pub(crate) async fn supervise(dispatcher: &Dispatcher, mut config: Config) -> Result<ExitCode, ReloadError> {
    let mut stop = Stop::listen()?;
    let broker = embedded::start_where_wanted(&mut config.kafka).await.map_err(ReloadError::Broker)?;
    let sources = Sources::of(Path::new(dispatcher.manifest_dir));
    let (changes, mut changed) = mpsc::unbounded_channel();
    let _watcher = sources.watch(changes)?;
    info!(root = %sources.root.display(), "reload: a change of a source file or of .env rebuilds and restarts the service");

    let start = |again: bool| {
        let mut command = Command::new(executable()?);
        command
            .args(std::env::args_os().skip(1))
            .env(SUPERVISED, if again { AGAIN } else { "first" })
            .stdin(Stdio::piped());
        // Ctrl-C reaches only the supervisor, which then asks the child to stop once.
        command.process_group(0);
        if broker.is_some() {
            command.env(EMBEDDED, "1").env("KAFKA_EMBEDDED", "never");
        }
        let mut child = command.spawn()?;
        // `Child::wait` closes the child's input, which would stop the child. So the supervisor keeps the input open.
        let input = child.stdin.take();
        Ok::<_, std::io::Error>((child, input))
    };
    let (mut child, mut _input) = start(false)?;
    let mut alive = true;
    loop {
        tokio::select! {
            reason = stop.asked() => {
                info!(reason, "reload: stopping");
                tokio::spawn(stop.abort_on_next());
                return Ok(code_of(drain(&mut child).await?));
            }
            status = child.wait(), if alive => {
                alive = false;
                let status = status?;
                if status.success() {
                    return Ok(ExitCode::SUCCESS);
                }
                warn!(%status, "reload: the service has ended; it restarts after the next change");
            }
            Some(path) = changed.recv() => {
                settle(&mut changed).await;
                info!(changed = %path.display(), "reload: building");
                if !build(dispatcher.package, &sources.root).await? {
                    error!("reload: the build has failed; the running service continues");
                    continue;
                }
                if alive {
                    drain(&mut child).await?;
                }
                (child, _input) = start(true)?;
                alive = true;
            }
        }
    }
}

/// The program to start. A build replaces its file, and Linux then reports the path with the suffix ` (deleted)`.
fn executable() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// Waits until no file has changed for [`QUIET`].
async fn settle(changed: &mut mpsc::UnboundedReceiver<PathBuf>) {
    while let Ok(Some(_)) = tokio::time::timeout(QUIET, changed.recv()).await {}
}

/// Builds with the profile of the running program; returns whether that succeeded. Compiler errors go to the terminal.
async fn build(package: &str, root: &Path) -> std::io::Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", package]).current_dir(root).stdin(Stdio::null());
    // Removes the variables that `cargo run` sets for the package of this process. Build scripts that read them would run again,
    // and every crate that depends on theirs would be compiled again, although only one file has changed.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_package(name)) {
        command.env_remove(name);
    }
    let release = executable()?.parent().and_then(Path::file_name) == Some(OsStr::new("release"));
    if release {
        command.arg("--release");
    }
    Ok(command.status().await?.success())
}

/// Whether cargo sets this variable for the package whose program it runs
/// (<https://doc.rust-lang.org/cargo/reference/environment-variables.html>).
fn is_of_package(name: &OsStr) -> bool {
    const NAMES: [&str; 5] =
        ["OUT_DIR", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "CARGO_RUSTC_CURRENT_DIR"];
    const PREFIXES: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CFG_", "CARGO_FEATURE_"];
    let name = name.to_string_lossy();
    NAMES.contains(&name.as_ref()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Asks the child to stop and waits for it; kills it after [`DRAIN`].
async fn drain(child: &mut Child) -> std::io::Result<ExitStatus> {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // This fails if the child has already ended.
        let _ = kill_process(pid, Signal::TERM);
    }
    match tokio::time::timeout(DRAIN, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            warn!("reload: the service did not stop in time and is killed");
            child.kill().await?;
            child.wait().await
        }
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The folders that are watched.
#[derive(Debug)]
struct Sources {
    /// The workspace: the nearest folder upwards with a lock file.
    root: PathBuf,
    /// The folders of its packages.
    packages: Vec<PathBuf>,
}

impl Sources {
    fn of(package: &Path) -> Self {
        let root = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(package).to_owned();
        let mut packages = vec![package.to_owned()];
        for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
            let folder = entry.path();
            if folder != package && folder.join("Cargo.toml").is_file() {
                packages.push(folder);
            }
        }
        Self { root, packages }
    }

    fn watch(&self, changes: mpsc::UnboundedSender<PathBuf>) -> notify::Result<impl Watcher + use<>> {
        let root = self.root.clone();
        let here = std::env::current_dir().unwrap_or_else(|_| root.clone());
        let env_file = here.join(".env");
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            // Skips read accesses, because a build reads all files.
            if !matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)) {
                return;
            }
            if let Some(path) = event.paths.into_iter().find(|path| is_source(path) || *path == env_file) {
                // This fails only after the supervisor has ended.
                let _ = changes.send(path);
            }
        })?;
        for package in &self.packages {
            watcher.watch(package, RecursiveMode::NonRecursive)?;
            let source = package.join("src");
            if source.is_dir() {
                watcher.watch(&source, RecursiveMode::Recursive)?;
            }
        }
        watcher.watch(&root, RecursiveMode::NonRecursive)?;
        if here != root {
            watcher.watch(&here, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }
}

/// Whether a change of this file changes the program: true for sources and manifests, false for temporary files of editors.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let rust = path.extension() == Some(OsStr::new("rs")) && !name.starts_with('.');
    rust || name == "Cargo.toml"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_and_manifests_trigger_a_build() {
        for path in ["src/events/thing.rs", "Cargo.toml", "build.rs"] {
            assert!(is_source(Path::new(path)), "{path}");
        }
        for path in ["src/events/.#thing.rs", "src/thing.rs~", "Cargo.lock", "notes.txt"] {
            assert!(!is_source(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_build_does_not_see_the_variables_that_cargo_set_for_this_package() {
        // Build scripts of our dependencies read variables of each of these kinds; rustix reads OUT_DIR.
        for name in ["OUT_DIR", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_BIN_NAME", "CARGO_CFG_TARGET_OS"] {
            assert!(is_of_package(OsStr::new(name)), "{name}");
        }
        // Variables that the developer sets for builds stay.
        for name in
            ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_PROFILE_DEV_DEBUG", "RUSTFLAGS"]
        {
            assert!(!is_of_package(OsStr::new(name)), "{name}");
        }
    }

    #[tokio::test]
    async fn a_new_file_is_noticed() {
        let root = tempfile::tempdir().expect("a folder");
        let package = root.path().join("thing");
        std::fs::create_dir_all(package.join("src/events")).expect("folders");
        std::fs::write(package.join("Cargo.toml"), "").expect("a file");
        std::fs::write(root.path().join("Cargo.lock"), "").expect("a file");
        let sources = Sources::of(&package);
        assert_eq!(sources.root, root.path());
        let (changes, mut changed) = mpsc::unbounded_channel();
        let _watcher = sources.watch(changes).expect("a watcher");
        let file = package.join("src/events/happened.rs");
        std::fs::write(&file, "// new").expect("a file");
        let noticed = tokio::time::timeout(Duration::from_secs(10), changed.recv()).await.expect("a notification");
        assert_eq!(noticed, Some(file));
    }
}
