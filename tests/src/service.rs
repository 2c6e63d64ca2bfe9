//! A running service, seen from outside.

use std::{
    fs,
    process::{Command, ExitStatus},
    time::Duration,
};

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    process::Process,
    wait::{eventually, until},
};

/// The time limit of a clean stop. The documented limit is 10 s under load.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// `order-service run` as a child process. Dropping it kills the process, and prints its log if the test has failed.
pub struct Service {
    process: Process,
    base: String,
    client: reqwest::Client,
}

/// The response of an HTTP route.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The media type without its parameters.
    pub media_type: String,
    /// The body as JSON; null if it is not JSON.
    pub body: Value,
}

impl Service {
    pub(crate) fn new(process: Process, port: u16) -> Self {
        let client = reqwest::Client::builder()
            // The service might close an idle connection just when the next request is sent.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("an HTTP client");
        Self { process, base: format!("http://127.0.0.1:{port}"), client }
    }

    /// Starts any program that serves the same routes on that port.
    pub fn spawn(command: &mut Command, port: u16) -> Self {
        Self::new(Process::spawn("the service", command), port)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Waits until `/health/ready` answers 200; panics if the process ends before that.
    pub async fn wait_ready(&mut self, deadline: Duration) {
        let url = format!("{}/health/ready", self.base);
        let Self { process, client, .. } = self;
        until("the service is ready", deadline, async || {
            if let Some(status) = process.ended() {
                panic!("the service ended before it was ready: {status}");
            }
            let answer = client.get(&url).send().await.map_err(|error| format!("no answer: {error}"))?;
            match answer.status() {
                StatusCode::OK => Ok(()),
                status => Err(format!("{status}: {}", answer.text().await.unwrap_or_default())),
            }
        })
        .await;
    }

    /// The JSON of a route that must answer 200.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask(path).await;
        assert_eq!(answer.status, StatusCode::OK, "GET {path}: {}", answer.body);
        answer.body
    }

    /// The JSON of a route of a service that may be unavailable; `None` unless it answers 200 with JSON.
    pub async fn try_get(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&self.try_text(path).await).ok()
    }

    /// The text of a route; empty unless it answers 200.
    pub async fn try_text(&self, path: &str) -> String {
        let response = self.client.get(format!("{}{path}", self.base)).send().await;
        match response.and_then(reqwest::Response::error_for_status) {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// The response of a route, with any status.
    pub async fn ask(&self, path: &str) -> Answer {
        answer(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Sends JSON to a route.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, body, &[]).await
    }

    /// Sends JSON to a route, byte for byte.
    pub async fn post_text(&self, path: &str, body: String) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        answer(request.body(body)).await
    }

    /// Sends JSON with headers.
    pub async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        answer(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// A number of `/stats`.
    pub async fn stat(&self, name: &str) -> u64 {
        let stats = self.get("/stats").await;
        stats[name].as_u64().unwrap_or_else(|| panic!("/stats has no number {name}: {stats}"))
    }

    /// Sends SIGTERM and waits for the end, for at most 10 s.
    pub async fn terminate(mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(STOP_DEADLINE).await
    }

    /// Sends SIGHUP and waits for the end, for at most 10 s. Also returns the whole log.
    pub async fn hang_up(mut self) -> (ExitStatus, String) {
        self.process.signal(Signal::HUP);
        let status = self.process.wait(STOP_DEADLINE).await;
        (status, self.process.log())
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Sends SIGSTOP and waits until all threads are stopped.
    pub async fn pause(&self) {
        self.process.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.process.id());
        eventually("every thread has stopped", Duration::from_secs(10), async || self::stopped(&tasks)).await;
    }

    /// Sends SIGCONT.
    pub fn go_on(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Sends SIGTERM without waiting.
    pub fn ask_to_stop(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Whether the process has ended, for any reason.
    pub fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Waits until the process ends by itself.
    pub async fn wait_ended(&mut self, deadline: Duration) -> ExitStatus {
        self.process.wait(deadline).await
    }

    /// The process id.
    pub fn process_id(&self) -> i32 {
        i32::try_from(self.process.id()).expect("a process id is a positive number")
    }

    /// The peak memory of the process so far, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process_id());
        let status = std::fs::read_to_string(path).expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux reports the peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The CPU time so far, with a resolution of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process_id())).expect("a running process");
        // "4711 (name) S …": the 12th and 13th fields after the name are user and system time, in ticks.
        let (_, rest) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks: u64 = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).expect("a small number")
    }

    /// The output to standard output and standard error so far.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Whether all threads in this folder of `/proc` are stopped. Each thread stops when it next leaves the kernel.
fn stopped(tasks: &str) -> bool {
    let Ok(mut threads) = fs::read_dir(tasks) else { return true };
    threads.all(|thread| {
        let Ok(thread) = thread else { return true };
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // "4711 (name) T …"; the name may contain any characters, even a closing bracket.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
    })
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("the service answers");
    let status = response.status();
    let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().to_owned();
    let body = response.bytes().await.expect("the service sends its whole answer");
    Answer { status, media_type, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}
