//! The HTTP client of the exporters. It logs once that the collector is unavailable, and once that it is available again.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use prost::Message;
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::config::OtlpConfig;

/// The longest response body, in bytes, that is read.
const ANSWER: usize = 64 * 1024;

/// Sends on the runtime on which it was created, also for the span exporter, which has a thread of its own.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
    config: OtlpConfig,
    /// The full URL of the collector; it contains no secret.
    url: String,
    timeout: Duration,
    unavailable: AtomicBool,
}

impl Client {
    /// A client for one signal, traces or metrics, that sends to `url`.
    pub(super) fn new(config: &OtlpConfig, url: String) -> Self {
        Self(Arc::new(Inner {
            http: legacy::Client::builder(TokioExecutor::new()).build_http(),
            runtime: Handle::current(),
            config: config.clone(),
            url,
            timeout: config.timeout,
            unavailable: AtomicBool::new(false),
        }))
    }

    /// Posts an OTLP message.
    pub(super) async fn post(&self, message: &impl Message) -> Result<(), HttpError> {
        let mut request = Request::post(&self.0.url).header("content-type", "application/x-protobuf");
        for (name, value) in &self.0.config.headers {
            request = request.header(name, value.expose());
        }
        let request = request.body(Bytes::from(message.encode_to_vec()))?;
        self.send_bytes(request).await.map(drop)
    }
}

impl Inner {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.http.request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    /// Logs if the collector becomes unavailable, or available again.
    fn note(&self, result: &Result<Response<Bytes>, HttpError>) {
        let problem = match result {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        let endpoint = &self.url;
        match problem {
            Some(problem) => {
                if !self.unavailable.swap(true, Ordering::Relaxed) {
                    warn!(endpoint, problem, "the collector does not accept traces and metrics; they are dropped");
                }
            }
            None => {
                if self.unavailable.swap(false, Ordering::Relaxed) {
                    info!(endpoint, "the collector accepts traces and metrics again");
                }
            }
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let inner = Arc::clone(&self.0);
        let sending = self.0.runtime.spawn(async move {
            let result = match tokio::time::timeout(inner.timeout, inner.send(request)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {} ms", inner.timeout.as_millis()).into()),
            };
            inner.note(&result);
            result
        });
        sending.await?
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.0.url).finish_non_exhaustive()
    }
}
