//! Logs as text or JSON. A line that is written while a processor runs names its event.
//!
//! The event is formatted only when a line is written: an event without log lines costs two writes to a thread-local variable.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::Write as _,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    panic::PanicHookInfo,
    sync::OnceLock,
    thread,
    time::Duration,
};

use scoped_tls::scoped_thread_local;
use serde_json::json;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::log_sink::LogSink;
use crate::{config::LogConfig, dispatch::Delivery};

scoped_thread_local!(static CURRENT: Delivery);

/// Runs a step of a processor; log lines that it writes meanwhile name the event.
pub(crate) fn during<T>(delivery: &Delivery, step: impl FnOnce() -> T) -> T {
    CURRENT.set(delivery, step)
}

/// The sink for standard error, after logs are set up.
static SINK: OnceLock<LogSink> = OnceLock::new();

/// How long a panicking thread waits for its message to be written.
const PANIC: Duration = Duration::from_millis(100);

/// Sends logs to standard error, through a thread of their own. Only the first call has an effect; a process has one log.
pub(crate) fn init(config: &LogConfig) {
    // The configuration has already validated the filter.
    let filter = EnvFilter::builder().parse_lossy(&config.filter);
    if let Ok(sink) = to_standard_error() {
        let _ = SINK.set(sink);
        std::panic::set_hook(Box::new(report_panic));
    }
    let lines = layer(config.json, colours(&io::stderr()), || Stderr);
    // A subscriber that was set before, such as that of a test, stays.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

fn to_standard_error() -> io::Result<LogSink> {
    // A handle of its own: the standard library's handle has a lock, which a blocked write would hold.
    let stream = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    LogSink::start(stream, |lines| {
        tracing::warn!(lines, "log lines were dropped because the reader of the log was too slow");
    })
}

/// Writes text to standard error, in order with the log lines and without waiting for their reader.
pub(crate) fn write(text: &str) {
    match SINK.get() {
        Some(sink) => sink.write(text.as_bytes()),
        // An error means that standard error has no reader; nothing can be done then.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Waits until the log is written, but not for a stalled reader. Call it before the process ends.
pub(crate) fn flush(within: Duration) {
    if let Some(sink) = SINK.get() {
        sink.flush(within);
    }
}

/// How many lines were dropped since the start, because the reader of the log did not read or was closed.
pub(crate) fn dropped() -> u64 {
    SINK.get().map_or(0, LogSink::dropped)
}

/// How long the reader of the log has not read; `None` if it reads.
pub(crate) fn stalled() -> Option<Duration> {
    SINK.get().and_then(LogSink::stalled)
}

/// Writes the same text as Rust's own panic hook. That hook waits for the reader, and would block the thread of a processor.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let current = thread::current();
    let name = current.name().unwrap_or("<unnamed>");
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let message = panic.payload_as_str().unwrap_or("Box<dyn Any>");
    let trace = Backtrace::capture();
    let trace = if trace.status() == BacktraceStatus::Captured { format!("{trace}") } else { String::new() };
    write(&format!("\nthread '{name}' panicked at {place}:\n{message}\n{trace}"));
    // This may be the last output of the process.
    flush(PANIC);
}

/// Hands lines to the log thread.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match SINK.get() {
            Some(sink) => {
                sink.write(line);
                Ok(line.len())
            }
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes lines to the writers that `sink` makes.
pub(crate) fn layer<S, W>(json: bool, ansi: bool, sink: fn() -> W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: Write + 'static,
{
    let lines = fmt::layer().with_writer(Lines { json, sink });
    if json { lines.json().flatten_event(true).boxed() } else { lines.with_ansi(ansi).with_target(false).boxed() }
}

/// Whether output to a stream is coloured: only on a terminal, and only if `NO_COLOR` is not set (<https://no-color.org>).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Makes a writer for each line.
struct Lines<W> {
    json: bool,
    sink: fn() -> W,
}

/// Takes one whole line and passes it on, with the event of the current processor.
struct Line<W> {
    json: bool,
    sink: W,
}

impl<W: Write + 'static> MakeWriter<'_> for Lines<W> {
    type Writer = Line<W>;

    fn make_writer(&self) -> Line<W> {
        Line { json: self.json, sink: (self.sink)() }
    }
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if CURRENT.is_set() {
            let more = CURRENT.with(|delivery| about(delivery, self.json));
            self.sink.write_all(&completed(line, &more, self.json))?;
        } else {
            self.sink.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// A line with `more` inserted before its closing brace (JSON) or at its end (text).
fn completed(line: &[u8], more: &str, json: bool) -> Vec<u8> {
    let end: &[u8] = if json { b"}\n" } else { b"\n" };
    let Some(body) = line.strip_suffix(end) else { return line.to_vec() };
    [body, more.as_bytes(), end].concat()
}

/// The text that names the event. Names and ids come from outside, so they are escaped; the key may be personal data and is
/// left out.
fn about(delivery: &Delivery, json: bool) -> String {
    let (partition, offset) = (delivery.partition().to_string(), delivery.record().offset);
    let (event, event_id, attempt) = (delivery.event_name(), delivery.event_id(), delivery.attempt());
    let context = delivery.in_trace().map(|attempt| attempt.own);
    if json {
        let mut about = json!({
            "partition": partition, "offset": offset, "event": event, "event_id": event_id, "attempt": attempt,
        });
        if let Some(context) = context {
            about["trace_id"] = context.trace_id().to_string().into();
            about["span_id"] = context.span_id().to_string().into();
        }
        // In a separate object, because the processor's fields may have any name.
        return format!(r#","delivery":{about}"#);
    }
    let mut about =
        format!(" partition={partition} offset={offset} event={event:?} event_id={event_id:?} attempt={attempt}");
    if let Some(context) = context {
        // Writing to a string does not fail.
        let _ = write!(about, " trace_id={} span_id={}", context.trace_id(), context.span_id());
    }
    about
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_its_event() {
        assert_eq!(completed(b" INFO refunded\n", " offset=1", false), b" INFO refunded offset=1\n");
        assert_eq!(completed(br#"{"level":"INFO"}"#, ",x", true), br#"{"level":"INFO"}"#, "not a whole line");
        assert_eq!(completed(b"{\"a\":1}\n", ",\"b\":2", true), b"{\"a\":1,\"b\":2}\n");
    }
}
