//! A delivery: one event on its way through a processor.

use std::{
    any::{Any, TypeId},
    borrow::Cow,
    fmt,
    sync::Arc,
};

use parking_lot::Mutex;
use uuid::Uuid;

use super::{Event, Outcome, Schema};
use crate::{
    decode::{DecodedRecord, Envelope},
    model::{HeaderBlock, PartitionId, RecordBatch, RecordRef},
    trace::{self, AttemptSpan, Traced},
    unit_of_work::{EventChanges, Unit},
};

/// A handle to one event's delivery: its record, its unit of work and the wiring of the program.
///
/// Cloning increments one reference count. Each injected argument keeps a clone, so nothing in the domain carries a lifetime.
#[derive(Clone)]
pub struct Delivery(Arc<DeliveryParts>);

/// The contracts that implement interfaces.
pub(crate) trait Contracts: Send + Sync {
    /// A `fn(&Delivery) -> Box<dyn Interface>` for the interface of that trait object; `None` if no contract implements it.
    fn build(&self, interface: TypeId) -> Option<&'static (dyn Any + Send + Sync)>;
}

/// The parts that all deliveries of a partition share, so that each delivery counts one reference instead of three.
pub(crate) struct DeliveryShared {
    /// The contract of each interface.
    pub(crate) contracts: Arc<dyn Contracts>,
    pub(crate) partition: Arc<PartitionId>,
    pub(crate) unit: Arc<Unit>,
    /// The consumer group, by which the service recognizes events that it emitted itself.
    pub(crate) group: Arc<str>,
    /// Collects the types and names of injected entities; set only for a delivery that is made to find them.
    pub(crate) needs: Option<Mutex<Vec<(TypeId, &'static str)>>>,
}

/// The parts of a delivery.
pub(crate) struct DeliveryParts {
    pub(crate) shared: Arc<DeliveryShared>,
    pub(crate) decoded: DecodedRecord,
    /// The id that the service gives to an event without one.
    pub(crate) given_id: Option<Box<str>>,
    pub(crate) attempt: u32,
    pub(crate) changes: EventChanges,
    /// Set only if traces are exported.
    pub(crate) traced: Option<Traced>,
}

impl Delivery {
    pub(crate) fn new(inner: DeliveryParts) -> Self {
        Self(Arc::new(inner))
    }

    /// The entities that `build` injects, each with its type's name. They are found by building for a made-up event.
    pub(crate) fn needs_of(contracts: &Arc<dyn Contracts>, build: fn(&Self)) -> Vec<(TypeId, &'static str)> {
        let mut records = RecordBatch::default();
        records.push(0, None, None, Some(br#"{"eventName":"None","data":{}}"#), []);
        let Ok(decoded) = DecodedRecord::decode(Arc::new(records), 0) else { return Vec::new() };
        let id = PartitionId { cluster: "".into(), topic_id: Uuid::nil(), topic: "".into(), partition: 0 };
        let shared = Arc::new(DeliveryShared {
            contracts: Arc::clone(contracts),
            partition: Arc::new(id),
            unit: Arc::new(Unit::new(&[])),
            group: "".into(),
            needs: Some(Mutex::default()),
        });
        let delivery = Self::new(DeliveryParts {
            shared: Arc::clone(&shared),
            decoded,
            given_id: None,
            attempt: 1,
            changes: EventChanges::default(),
            traced: None,
        });
        // A hand-written `Injectable` may need more than the made-up event has, and panic.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| build(&delivery)));
        shared.needs.as_ref().map(|needs| needs.lock().clone()).unwrap_or_default()
    }

    /// Notes that an entity of this type is injected.
    pub(crate) fn needs<T: 'static>(&self) {
        if let Some(needs) = &self.0.shared.needs {
            needs.lock().push((TypeId::of::<T>(), std::any::type_name::<T>()));
        }
    }

    pub(crate) fn record(&self) -> RecordRef<'_> {
        self.0.decoded.record()
    }

    pub(crate) fn partition(&self) -> &PartitionId {
        &self.0.shared.partition
    }

    pub(crate) fn group(&self) -> &str {
        &self.0.shared.group
    }

    pub(crate) fn envelope(&self) -> &Envelope<'_> {
        self.0.decoded.envelope()
    }

    pub(crate) fn event_id(&self) -> &str {
        self.0.given_id.as_deref().or(self.envelope().id.as_deref()).unwrap_or_default()
    }

    /// The unique identity of the event: its id, together with its source if it is a `CloudEvent`.
    pub(crate) fn identity(&self) -> Cow<'_, str> {
        match &self.envelope().source {
            Some(source) => format!("{source}\0{}", self.event_id()).into(),
            None => self.event_id().into(),
        }
    }

    pub(crate) fn event_name(&self) -> &str {
        &self.envelope().name
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.0.attempt
    }

    pub(crate) fn unit(&self) -> &Arc<Unit> {
        &self.0.shared.unit
    }

    pub(crate) fn changes(&self) -> &EventChanges {
        &self.0.changes
    }

    pub(crate) fn traced(&self) -> Option<&Traced> {
        self.0.traced.as_ref()
    }

    /// The span of this attempt; `None` if no traces are exported.
    pub(crate) fn in_trace(&self) -> Option<AttemptSpan> {
        Some(self.0.traced.as_ref()?.attempt(self.partition(), &self.record()))
    }

    /// The trace headers for records and requests that this event causes: the context of the attempt or, if no traces are
    /// exported, the context that the event came with. So a trace continues past a service that exports none.
    pub(crate) fn trace_headers(&self) -> HeaderBlock {
        let context = match self.in_trace() {
            Some(attempt) => Some(attempt.own),
            None => trace::of_record(&self.record()),
        };
        let mut headers = HeaderBlock::default();
        if let Some(context) = context {
            trace::add_context(&context, &mut headers);
        }
        headers
    }

    /// Decodes and validates the event's data.
    ///
    /// # Errors
    /// The outcome of the attempt. [`Outcome::Invalid`] names each violation by its JSON path in the event.
    pub fn event<T: Schema>(&self) -> Result<Event<T>, Outcome> {
        let data = T::decode(&self.envelope().data).map_err(|invalid| Outcome::Invalid(invalid.in_event()))?;
        Ok(Event::new(data, self.clone()))
    }

    /// Builds the contract that configuration chose for an interface.
    ///
    /// # Panics
    /// If no contract implements the interface. The start-up checks refuse a use case whose interface has no contract, so this
    /// happens only if a use case was built without the registry. The engine treats it like any panic of a processor.
    pub fn contract<I: ?Sized + 'static>(&self) -> Box<I> {
        let build = self.0.shared.contracts.build(TypeId::of::<I>());
        match build.and_then(|build| build.downcast_ref::<fn(&Delivery) -> Box<I>>()) {
            Some(build) => build(self),
            None => panic!("no contract is registered for the interface {}", std::any::type_name::<I>()),
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("partition", &self.0.shared.partition)
            .field("offset", &self.record().offset)
            .field("event", &self.event_name())
            .field("attempt", &self.0.attempt)
            .finish_non_exhaustive()
    }
}
