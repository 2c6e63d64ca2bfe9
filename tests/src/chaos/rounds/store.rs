//! The store crashes, hangs, and has no disk space.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{Shape, fault, shows_it};
use crate::{
    broker::Broker,
    chaos::{Report, Run},
    postgres::Postgres,
};

const OUTAGE: Duration = Duration::from_secs(8);

/// PostgreSQL is killed and restarted, and hangs.
pub async fn postgres_dies(broker: &Broker, server: &'static Postgres, shape: Shape) -> Report {
    let _alone = server.alone().await;
    let mut run = Run::new(&broker.clone().with_postgres(server), shape.recipe, shape.rate).await;
    let service = run.start(0).await;
    let share = run.plan.order.len() / 4;
    for _ in 0..2 {
        fault(&mut run, &service, "PostgreSQL is killed", share, async || {
            server.control("kill").await;
            shows_it(&service, "an unavailable store").await;
            server.control("start").await;
        })
        .await;
        fault(&mut run, &service, "PostgreSQL hangs", share, async || {
            server.control("pause").await;
            tokio::time::sleep(OUTAGE).await;
            let live = service.ask("/health/live").await.status;
            server.control("cont").await;
            assert!(live.is_success(), "a store that hangs is no reason to restart the process: {live}");
        })
        .await;
    }
    run.finish("PostgreSQL is killed twice and hangs twice", vec![service]).await
}

/// The disk of the SQLite file is full, and has space again.
///
/// # Errors
/// The reason why this machine cannot play the round.
pub async fn disk_full(broker: &Broker, shape: Shape) -> Result<Report, String> {
    let disk = Disk::mount()?;
    let run = Run::new(broker, shape.recipe, shape.rate).await;
    let mut run = run.with_sqlite_at(disk.folder.path().join("ledgers.db"));
    let service = run.start(0).await;
    let share = run.plan.order.len() / 3;
    for _ in 0..2 {
        fault(&mut run, &service, "the disk is full", share, async || {
            let ballast = disk.fill();
            shows_it(&service, "a full disk").await;
            fs::remove_file(ballast).expect("the ballast can be removed");
        })
        .await;
    }
    let report = run.finish("the disk is full twice", vec![service]).await;
    Ok(report)
}

/// A small file system in memory, unmounted at the end. It has space for the write-ahead log, which grows to 64 MiB before it is
/// overwritten.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=192m", "tmpfs"])
            .arg(folder.path())
            .output()
            .map_err(|error| format!("a small disk needs mount: {error}"))?;
        if output.status.success() {
            return Ok(Self { folder });
        }
        Err(format!("a small disk cannot be mounted: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Fills the free space with a file; returns the file.
    fn fill(&self) -> PathBuf {
        let ballast = self.folder.path().join("ballast");
        grow(&ballast);
        ballast
    }
}

fn grow(path: &Path) {
    use std::io::Write as _;

    let mut file = fs::File::create(path).expect("a file can be made");
    for piece in [1024 * 1024, 4096, 1] {
        // Until no piece of that size fits.
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The service may still be stopping, with open files.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}
