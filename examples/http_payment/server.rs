//! The stand-in payment server: HTTP/1.1 on the loopback, which can go down and come up again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::book::{Answer, Book};
use crate::client::IDEMPOTENCY_KEY;

/// How many may wait to be let in.
const BACKLOG: u32 = 1_024;
/// No request is longer.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks")]
struct Broken;

/// The server while it is up.
pub(crate) struct PaymentServer {
    book: Arc<Mutex<Book>>,
    address: SocketAddr,
    tasks: TaskTracker,
    is_down: CancellationToken,
}

/// The server while it is down: nobody listens at its port, and nobody else gets it.
pub(crate) struct PaymentServerDown {
    book: Arc<Mutex<Book>>,
    socket: TcpSocket,
}

impl PaymentServer {
    /// Comes up, at a port that was free.
    pub(crate) async fn up(book: Arc<Mutex<Book>>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Self::listen(listener, book)
    }

    fn listen(listener: TcpListener, book: Arc<Mutex<Book>>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (tasks, is_down) = (TaskTracker::new(), CancellationToken::new());
        let accepting = accept(listener, Arc::clone(&book), tasks.clone(), is_down.clone());
        tasks.spawn(accepting);
        Ok(Self {
            book,
            address,
            tasks,
            is_down,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes down, in the middle of whatever it does.
    pub(crate) async fn down(self) -> io::Result<PaymentServerDown> {
        self.is_down.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let socket = TcpSocket::new_v4()?;
        // What is left of its connections is no reason not to get the port.
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        Ok(PaymentServerDown {
            book: self.book,
            socket,
        })
    }
}

impl PaymentServerDown {
    /// Comes up again, where it was.
    pub(crate) fn up(self) -> io::Result<PaymentServer> {
        PaymentServer::listen(self.socket.listen(BACKLOG)?, self.book)
    }
}

async fn accept(
    listener: TcpListener,
    book: Arc<Mutex<Book>>,
    tasks: TaskTracker,
    is_down: CancellationToken,
) {
    while let Some(accepted) = is_down.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let (book, is_down) = (Arc::clone(&book), is_down.clone());
                tasks.spawn(async move {
                    is_down.run_until_cancelled(serve(stream, &book)).await;
                });
            }
            Err(error) => tracing::warn!(%error, "a connection was not accepted"),
        }
    }
}

async fn serve(stream: TcpStream, book: &Mutex<Book>) {
    let service = service_fn(|request| answer(request, book));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection broke");
    }
}

async fn answer(
    request: Request<Incoming>,
    book: &Mutex<Book>,
) -> Result<Response<Full<Bytes>>, Broken> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let key = request.headers().get(IDEMPOTENCY_KEY);
    let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect();
    let body = body.await.map_err(|_| Broken)?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let order = body.get("order").and_then(Value::as_str);
    let mut book = book.lock();
    if book.warming_up > 0 {
        book.warming_up -= 1;
        return Ok(said(StatusCode::SERVICE_UNAVAILABLE, &json!({})));
    }
    let answer = match (method, path.as_str(), key, order) {
        (Method::POST, "/charges", Some(key), Some(order)) => book.charge(&key, order),
        (Method::POST, "/refunds", Some(key), Some(order)) => book.refund(&key, order),
        (Method::GET, path, ..) if path.starts_with("/charges/") => {
            book.look(path.trim_start_matches("/charges/"))
        }
        _ => Answer::Says(StatusCode::BAD_REQUEST, json!({ "why": "what is that?" })),
    };
    match answer {
        Answer::Says(status, value) => Ok(said(status, &value)),
        Answer::HangsUp => Err(Broken),
    }
}

fn said(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(value.to_string()));
    *response.status_mut() = status;
    response
}
