//! Asks the running service over HTTP, because only the owner of a partition may change its waiting events.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http1,
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Failure, operator_name};
use crate::{
    config::Config,
    engine::release::{KeySelection, Release, Released},
    http::OPERATOR,
};

/// Time limit for the service's answer; a partition owner answers between two batches.
const ANSWER: Duration = Duration::from_secs(30);

/// Asks the service to release keys.
pub(super) async fn ask(config: &Config, how: Release, selection: &KeySelection) -> Result<Released, Failure> {
    let host = match config.app.host.as_str() {
        "0.0.0.0" | "::" | "[::]" => "127.0.0.1",
        host => host,
    };
    let authority = format!("{host}:{}", config.app.port);
    match tokio::time::timeout(ANSWER, post(config, &authority, how, selection)).await {
        Ok(answered) => answered.map_err(|why| Failure::failed(format!("the service at http://{authority}: {why}"))),
        Err(_) => Err(Failure::failed(format!("the service at http://{authority} does not answer"))),
    }
}

async fn post(config: &Config, authority: &str, how: Release, selection: &KeySelection) -> Result<Released, String> {
    let stream = TcpStream::connect(authority)
        .await
        .map_err(|error| format!("{error}; it must be running at APP_HOST and APP_PORT"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // The connection ends when the sender is dropped.
    tokio::spawn(connection);
    let body = serde_json::to_vec(selection).map_err(|error| error.to_string())?;
    let mut request = Request::post(format!("/waiting/{}", how.route()))
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = &config.app.admin_token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    // The operator who runs the command; left out if the name is not a valid header value.
    if let Ok(operator) = HeaderValue::from_str(&operator_name()) {
        request = request.header(OPERATOR, operator);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    match serde_json::from_slice(&body) {
        Ok(released) if status.is_success() => Ok(released),
        _ => {
            let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            Err(format!("{status}: {}", problem["detail"].as_str().unwrap_or("not a service of this framework")))
        }
    }
}
