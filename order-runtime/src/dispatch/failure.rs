//! Classified errors: each says what the engine does with the event.

use std::{borrow::Cow, fmt};

/// The treatment of an event whose processor failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The event is tried again by the processor's retry policy; later events of the key wait behind it.
    Retry,
    /// A dependency of many events is unavailable: the event is tried again like [`Retry`](Self::Retry). While most events of
    /// the processor fail like this, its circuit breaker is open: a few events are tried, the others wait, and no attempt
    /// counts. Use `Retry` for a failure that depends on the event itself, such as a reference to an entity that does not exist
    /// yet: such events never hold up others.
    Unavailable,
    /// Trying again cannot help: the event becomes a dead letter.
    DeadLetter,
    /// The event needs no work: it counts as done and its changes are dropped.
    Skip,
    /// The event and its key wait until an operator releases them.
    ParkKey,
    /// The event is held and its partition pauses until an operator resumes it.
    Stop,
}

/// A classified error: implemented by `#[derive(Failure)]` from the class of each variant.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what to do with an event that fails with it",
    label = "not a classified error",
    note = "add `#[derive(Debug, thiserror::Error, Failure)]` to it and give each variant its class: `#[failure(retry)]`, `unavailable`, `dead_letter`, `skip`, `park_key` or `stop`; for a small processor, return `Result<(), Failed>`"
)]
pub trait Failure: std::error::Error + Send + Sync + 'static {
    /// The treatment of the event.
    fn class(&self) -> Class;

    /// A short, stable name of the error, for `dlq-error-code`, metrics and filters; the variant in `snake_case`.
    fn code(&self) -> Cow<'static, str>;
}

/// A classified error for processors that are too small for an error type of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    class: Class,
    code: Cow<'static, str>,
    message: String,
}

impl Failed {
    /// Try again by the processor's retry policy.
    pub fn retry(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Retry, code, message)
    }

    /// A dependency is unavailable: try again, and count the failure for the circuit breaker.
    pub fn unavailable(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Unavailable, code, message)
    }

    /// Trying again cannot help: dead-letter the event.
    pub fn dead_letter(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::DeadLetter, code, message)
    }

    /// Nothing to do: count the event as done and drop its changes.
    pub fn skip(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Skip, code, message)
    }

    /// Hold the event and its key until an operator releases them.
    pub fn park_key(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::ParkKey, code, message)
    }

    /// Hold the event and pause its partition until an operator resumes it.
    pub fn stop(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Stop, code, message)
    }

    fn new(class: Class, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

impl Failure for Failed {
    fn class(&self) -> Class {
        self.class
    }

    fn code(&self) -> Cow<'static, str> {
        self.code.clone()
    }
}
