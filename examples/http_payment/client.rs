//! The payment server as sagas call it: HTTP requests, and what each way they can end means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chronicler::prelude::*;
use chronicler::store::codec::{CodecId, decode};
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

/// The name that the payment server is registered under.
pub(crate) const PAYMENTS: &str = "payments";
/// The header that says which requests are one.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Who does not answer the phone by then is not there.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// No answer is longer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What the server can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PaymentRequest {
    /// `POST /charges`: take money for an order.
    Charge { order: String, cents: u64 },
    /// `GET /charges/<order>`: was money taken?
    Look { order: String },
    /// `POST /refunds`: give it back, if it was taken; and take none any more.
    Refund { order: String },
}

/// What it answers: which charge it is about. For a refund of nothing, of none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PaymentReply {
    pub(crate) charge: String,
}

/// Why it refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("declined: {why}")]
pub(crate) struct Declined {
    pub(crate) why: String,
}

/// The way to the server.
#[derive(Clone)]
pub(crate) struct PaymentClient {
    client: Client<HttpConnector, Full<Bytes>>,
    /// `http://127.0.0.1:4711`
    base: Arc<str>,
    untaken: Arc<watch::Sender<u64>>,
}

impl PaymentClient {
    pub(crate) fn new(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_MAX));
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: base.into(),
            untaken: Arc::new(watch::Sender::new(0)),
        }
    }

    /// How many requests the server did not take, because it was down or said so.
    pub(crate) fn untaken(&self) -> watch::Receiver<u64> {
        self.untaken.subscribe()
    }

    async fn answer(self, key: Uuid, request: PaymentRequest) -> CallResult {
        let http = match self.request(key, &request) {
            Ok(http) => http,
            // It was never sent, and never can be.
            Err(error) => {
                return CallResult::rejected(&Declined {
                    why: error.to_string(),
                });
            }
        };
        let result = self.result(http, &request).await;
        if matches!(result, CallResult::Unavailable(_)) {
            self.untaken.send_modify(|count| *count += 1);
        }
        result
    }

    fn request(
        &self,
        key: Uuid,
        request: &PaymentRequest,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let (method, path, body) = match request {
            PaymentRequest::Charge { order, cents } => (
                Method::POST,
                "/charges".to_owned(),
                json!({ "order": order, "cents": cents }).to_string(),
            ),
            PaymentRequest::Look { order } => {
                (Method::GET, format!("/charges/{order}"), String::new())
            }
            PaymentRequest::Refund { order } => (
                Method::POST,
                "/refunds".to_owned(),
                json!({ "order": order }).to_string(),
            ),
        };
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(IDEMPOTENCY_KEY, key.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
    }

    async fn result(&self, http: Request<Full<Bytes>>, request: &PaymentRequest) -> CallResult {
        let answer = match self.client.request(http).await {
            Ok(answer) => answer,
            // Nothing was sent: it cannot have been done.
            Err(error) if error.is_connect() => {
                return CallResult::Unavailable(in_words(&error));
            }
            // It may have been read before the connection broke.
            Err(error) => return CallResult::Unknown(in_words(&error)),
        };
        let status = answer.status();
        match status {
            // It says itself that it did nothing, and that it can be asked again.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                return CallResult::Unavailable(status.to_string());
            }
            // There is none yet; one that is still on its way is not ruled out.
            StatusCode::NOT_FOUND if matches!(request, PaymentRequest::Look { .. }) => {
                return CallResult::Unknown("there is no such charge".to_owned());
            }
            status if !status.is_success() && !status.is_client_error() => {
                return CallResult::Unknown(status.to_string());
            }
            _ => {}
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let bytes = match body.await {
            Ok(body) => body.to_bytes(),
            Err(error) => return CallResult::Unknown(error.to_string()),
        };
        if status.is_success() {
            match serde_json::from_slice::<PaymentReply>(&bytes) {
                Ok(reply) => CallResult::done(&reply),
                Err(error) => CallResult::Unknown(format!("{status}, and its body: {error}")),
            }
        } else {
            // Whatever it says, it refuses.
            let said = serde_json::from_slice::<Declined>(&bytes);
            let why = status.to_string();
            CallResult::rejected(&said.unwrap_or(Declined { why }))
        }
    }
}

impl ExternalService for PaymentClient {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let client = self.clone();
        async move {
            match decode(CodecId::BINCODE, &request) {
                Ok(request) => client.answer(key, request).await,
                Err(error) => CallResult::Unknown(error.to_string()),
            }
        }
        .boxed()
    }
}

/// An error with what it came from: hyper says the one that matters last.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
