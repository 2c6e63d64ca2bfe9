//! Logs: as fields, for people or for machines. A line that is written while a processor runs says which event it is about.
//!
//! The event is looked up when a line is written: an event that is not told of costs two writes to a thread's own variable.

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

/// Lets a processor do a step of its work; lines that it writes meanwhile say which event they are about.
pub(crate) fn during<T>(delivery: &Delivery, step: impl FnOnce() -> T) -> T {
    CURRENT.set(delivery, step)
}

/// The way to standard error, once logs are set up.
static SINK: OnceLock<LogSink> = OnceLock::new();

/// How long a panic may take to be written before its thread goes on.
const PANIC: Duration = Duration::from_millis(100);

/// Sends logs to standard error, by a thread of their own. The first call counts; a process has one log.
pub(crate) fn init(config: &LogConfig) {
    // The configuration has checked the filter already.
    let filter = EnvFilter::builder().parse_lossy(&config.filter);
    if let Ok(sink) = to_standard_error() {
        let _ = SINK.set(sink);
        std::panic::set_hook(Box::new(report_panic));
    }
    let lines = layer(config.json, colours(&io::stderr()), || Stderr);
    // Whoever has set a subscriber before us, a test say, keeps it.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

fn to_standard_error() -> io::Result<LogSink> {
    // A handle of its own: that of the standard library has a lock, which a write that blocks would hold.
    let stream = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    LogSink::start(stream, |lines| {
        tracing::warn!(lines, "log lines were dropped, because the reader of the log did not read");
    })
}

/// Writes text to standard error, in turn with the lines of the log and without waiting for its reader.
pub(crate) fn write(text: &str) {
    match SINK.get() {
        Some(sink) => sink.write(text.as_bytes()),
        // Nobody reads standard error any more: nothing to do about it.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Waits until the log is written, but not for a reader that does not read. Call it before the process ends.
pub(crate) fn flush(within: Duration) {
    if let Some(sink) = SINK.get() {
        sink.flush(within);
    }
}

/// How many lines were dropped since the start, because the reader of the log did not read or has gone.
pub(crate) fn dropped() -> u64 {
    SINK.get().map_or(0, LogSink::dropped)
}

/// For how long the reader of the log has not read, where that is so.
pub(crate) fn stalled() -> Option<Duration> {
    SINK.get().and_then(LogSink::stalled)
}

/// Writes what Rust's own hook writes. That one waits for the reader, and with it the thread of a processor would.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let current = thread::current();
    let name = current.name().unwrap_or("<unnamed>");
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let message = panic.payload_as_str().unwrap_or("Box<dyn Any>");
    let trace = Backtrace::capture();
    let trace = if trace.status() == BacktraceStatus::Captured { format!("{trace}") } else { String::new() };
    write(&format!("\nthread '{name}' panicked at {place}:\n{message}\n{trace}"));
    // It may be the last that the process writes.
    flush(PANIC);
}

/// Hands lines to the thread that writes them.
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

/// Writes lines to what `sink` gives.
pub(crate) fn layer<S, W>(json: bool, ansi: bool, sink: fn() -> W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: Write + 'static,
{
    let lines = fmt::layer().with_writer(Lines { json, sink });
    if json { lines.json().flatten_event(true).boxed() } else { lines.with_ansi(ansi).with_target(false).boxed() }
}

/// Whether a stream is to be coloured: a terminal is, unless `NO_COLOR` says otherwise (<https://no-color.org>).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Makes a writer for each line.
struct Lines<W> {
    json: bool,
    sink: fn() -> W,
}

/// Takes one whole line and passes it on, with the event that it is about.
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

/// A line with more in it: before its last bracket, or at its end.
fn completed(line: &[u8], more: &str, json: bool) -> Vec<u8> {
    let end: &[u8] = if json { b"}\n" } else { b"\n" };
    let Some(body) = line.strip_suffix(end) else { return line.to_vec() };
    [body, more.as_bytes(), end].concat()
}

/// Which event a line is about. Names and ids come from outside, so they are escaped; the key may be personal and is not told.
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
        // A field of its own, because the processor's fields may have any name.
        return format!(r#","delivery":{about}"#);
    }
    let mut about =
        format!(" partition={partition} offset={offset} event={event:?} event_id={event_id:?} attempt={attempt}");
    if let Some(context) = context {
        // Writing to a text does not fail.
        let _ = write!(about, " trace_id={} span_id={}", context.trace_id(), context.span_id());
    }
    about
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_is_about_stands_at_its_end() {
        assert_eq!(completed(b" INFO refunded\n", " offset=1", false), b" INFO refunded offset=1\n");
        assert_eq!(completed(br#"{"level":"INFO"}"#, ",x", true), br#"{"level":"INFO"}"#, "no whole line");
        assert_eq!(completed(b"{\"a\":1}\n", ",\"b\":2", true), b"{\"a\":1,\"b\":2}\n");
    }
}
