//! The HTTP client of the exporters. It says once when the collector is away, and once when it is back.

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

/// The longest answer that is read.
const ANSWER: usize = 64 * 1024;

/// Sends on the runtime that it was made on, whoever asks: the exporter of spans has a thread of its own.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
    config: OtlpConfig,
    /// The whole URL that is sent to; there is nothing secret in it.
    url: String,
    timeout: Duration,
    away: AtomicBool,
}

impl Client {
    /// Sends what one signal has to send, to `url`.
    pub(super) fn new(config: &OtlpConfig, url: String) -> Self {
        Self(Arc::new(Inner {
            http: legacy::Client::builder(TokioExecutor::new()).build_http(),
            runtime: Handle::current(),
            config: config.clone(),
            url,
            timeout: config.timeout,
            away: AtomicBool::new(false),
        }))
    }

    /// Posts a message of OTLP.
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

    /// Tells of a change.
    fn note(&self, result: &Result<Response<Bytes>, HttpError>) {
        let problem = match result {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        let endpoint = &self.url;
        match problem {
            Some(problem) => {
                if !self.away.swap(true, Ordering::Relaxed) {
                    warn!(endpoint, problem, "the collector does not take traces and metrics; they are dropped");
                }
            }
            None => {
                if self.away.swap(false, Ordering::Relaxed) {
                    info!(endpoint, "the collector takes traces and metrics again");
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
