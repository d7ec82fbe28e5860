//! The end that listens: a supervised worker of the application.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chronicler_runtime::{RestartPolicy, WorkerContext, WorkerError, WorkerSpec};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::perform::perform;
use super::socket::{path_in, short_path_in};
use super::verb::{OperatorError, OperatorRequest, REQUEST_BYTES_MAX};
use crate::app::{App, Parts};

/// Those that wait for an answer at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// Verbs at a time whose askers have gone: more of them, and nobody is accepted until one has ended or run out of time.
const LEFT_MAX: usize = 64;
/// How long a verb goes on whose asker has gone.
const AFTER_LEAVING: Duration = Duration::from_secs(60);
/// How long to wait after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// How often it is looked whether the place is free.
const PLACE_AGAIN: Duration = Duration::from_secs(1);
/// How long a client may take to say what it wants, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens in a folder until the application stops; returns when it does, or cannot. Without a socket the application
/// runs all the same.
pub(crate) async fn listen(app: &App, folder: PathBuf) {
    let spec = WorkerSpec {
        name: "operator socket".to_owned(),
        restart: RestartPolicy {
            budget: u32::MAX,
            ..RestartPolicy::default()
        },
    };
    let parts = app.weak();
    let (tried, was_tried) = oneshot::channel();
    let tried = Mutex::new(Some(tried));
    app.runtime().workers().spawn(spec, move |context| {
        let bound = bind(&folder);
        if let Some(tried) = tried.lock().take() {
            // Nobody waits any more: the start was cancelled.
            let _ = tried.send(());
        }
        serve(parts.clone(), folder.clone(), bound, context).boxed()
    });
    drop(was_tried.await);
}

async fn serve(
    parts: Weak<Parts>,
    folder: PathBuf,
    bound: io::Result<Bound>,
    context: WorkerContext,
) -> Result<(), WorkerError> {
    let path = path_in(&folder);
    let bound = match wait_for_place(bound, &folder, &context).await {
        Ok(bound) => bound,
        Err(error) if is_for_good(&error) => {
            tracing::warn!(path = %path.display(), %error, "no operator socket: verbs reach this application through its code only");
            return Ok(());
        }
        Err(error) => {
            let reason = format!("binding {} failed: {error}", path.display());
            return Err(WorkerError(reason));
        }
    };
    let stopping = context.stopping();
    let mut talking = FuturesUnordered::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            Some(()) = talking.next() => {}
            (place, accepted) = accept(&bound.listener, &places), if talking.len() < CONNECTIONS_MAX + LEFT_MAX => match accepted {
                Ok((stream, _)) => talking.push(talk(stream, place, bound.owner, parts.clone())),
                Err(error) => {
                    // No descriptors, for instance: whoever waits is taken in when there are some again.
                    tracing::warn!(%error, "accepting an operator's connection failed");
                    drop(timeout(ACCEPT_AGAIN, stopping.cancelled()).await);
                }
            },
        }
    }
    Ok(())
}

/// Takes a connection in, once there is a place for it.
async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> (
    Option<OwnedSemaphorePermit>,
    io::Result<(UnixStream, SocketAddr)>,
) {
    // It is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    (place, listener.accept().await)
}

/// A file system may have no sockets, or the folder may not be ours to write.
fn is_for_good(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(
        error.kind(),
        NotFound | PermissionDenied | ReadOnlyFilesystem | Unsupported
    )
}

/// A socket of ours.
struct Bound {
    listener: UnixListener,
    /// As whom this process runs.
    owner: u32,
    /// Which file it is, and where.
    inode: u64,
    path: PathBuf,
}

impl Drop for Bound {
    /// Takes it away, unless another has taken its place. An application that is dropped does so, too.
    fn drop(&mut self) {
        let path = &self.path;
        let is_ours = fs::symlink_metadata(path).is_ok_and(|found| found.ino() == self.inode);
        if is_ours && let Err(error) = fs::remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "the operator socket is left behind");
        }
    }
}

/// Waits while another listens there: an application that was dropped a moment ago, or one that is to stop.
async fn wait_for_place(
    mut bound: io::Result<Bound>,
    folder: &Path,
    context: &WorkerContext,
) -> io::Result<Bound> {
    let stopping = context.stopping();
    let mut is_told = false;
    while let Err(error) = &bound
        && error.kind() == io::ErrorKind::AddrInUse
        && !stopping.is_cancelled()
    {
        if !std::mem::replace(&mut is_told, true) {
            let path = path_in(folder);
            tracing::warn!(path = %path.display(), "another application listens there: operators reach it, and not this one, until it ends");
        }
        drop(timeout(PLACE_AGAIN, stopping.cancelled()).await);
        bound = bind(folder);
    }
    bound
}

/// The socket, for nobody but the one as whom this process runs.
fn bind(folder: &Path) -> io::Result<Bound> {
    let (path, _folder) = short_path_in(folder)?;
    match std::os::unix::net::UnixStream::connect(&path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        // Left behind by a process that was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(&path) => {
            fs::remove_file(&path)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let socket = fs::symlink_metadata(&path)?;
    Ok(Bound {
        listener,
        owner: socket.uid(),
        inode: socket.ino(),
        path: path_in(folder),
    })
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// One question and its answer. Whoever goes before it comes leaves the place to another.
async fn talk(
    mut stream: UnixStream,
    place: Option<OwnedSemaphorePermit>,
    owner: u32,
    parts: Weak<Parts>,
) {
    // The permissions of the socket say the same, from a moment after it was made.
    let is_owner = stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == owner || peer.uid() == 0);
    let answer = if is_owner {
        match timeout(PATIENCE, read(&mut stream)).await {
            Ok(Ok(request)) => {
                let mut answered = pin!(answer(&request, &parts));
                tokio::select! {
                    biased;
                    answer = &mut answered => answer,
                    () = left(&stream) => {
                        drop((stream, place));
                        // What only looks need not be looked at any more; what changes something is not left half done.
                        if request.verb.changes() && timeout(AFTER_LEAVING, answered).await.is_err() {
                            tracing::warn!(verb = ?request.verb, "an operator's verb is given up: who asked has gone, and it takes longer than {AFTER_LEAVING:?}");
                        }
                        return;
                    }
                }
            }
            Ok(Err(error)) => Err(OperatorError::Invalid(format!(
                "the request cannot be read: {error}"
            ))),
            Err(_) => Err(OperatorError::Invalid(format!(
                "no request came within {PATIENCE:?}"
            ))),
        }
    } else {
        let reason = "only the owner of the data directory may ask";
        Err(OperatorError::Refused(reason.to_owned()))
    };
    let Ok(mut line) = serde_json::to_vec(&answer) else {
        return;
    };
    line.push(b'\n');
    // Who does not wait for the answer does without it.
    drop(timeout(PATIENCE, stream.write_all(&line)).await);
}

/// Until whoever asked has closed the connection. One that has only said that it says no more still waits for the answer, so
/// long as a verb goes on whose asker has gone: whether it waits then cannot be seen.
async fn left(stream: &UnixStream) {
    let mut said = [0];
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut said) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
    let ready = stream.ready(Interest::READABLE | Interest::WRITABLE).await;
    if ready.is_ok_and(|ready| !ready.is_write_closed()) {
        tokio::time::sleep(AFTER_LEAVING).await;
    }
}

async fn read(stream: &mut UnixStream) -> io::Result<OperatorRequest> {
    let mut line = Vec::new();
    let mut limited = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    limited.read_until(b'\n', &mut line).await?;
    if line.len() as u64 == REQUEST_BYTES_MAX && !line.ends_with(b"\n") {
        let longer = format!("it is longer than {REQUEST_BYTES_MAX} bytes");
        return Err(io::Error::other(longer));
    }
    let said: Value = serde_json::from_slice(&line)?;
    let request = OperatorRequest::deserialize(&said)?;
    // A selector that is misspelt would leave none, and none means all.
    match not_taken(&said, &serde_json::to_value(&request)?) {
        None => Ok(request),
        Some(field) => Err(io::Error::other(format!(
            "there is no field {field:?} in this request"
        ))),
    }
}

/// The first field that was said and not taken, if there is one.
fn not_taken(said: &Value, taken: &Value) -> Option<String> {
    let (Value::Object(said), Value::Object(taken)) = (said, taken) else {
        return None;
    };
    said.iter()
        .find_map(|(field, value)| match taken.get(field) {
            None => (!value.is_null()).then(|| field.clone()),
            Some(taken) => not_taken(value, taken),
        })
}

async fn answer(request: &OperatorRequest, parts: &Weak<Parts>) -> Result<Value, OperatorError> {
    let app = App::upgrade(parts);
    let app = app.ok_or_else(|| OperatorError::Refused("the application has ended".to_owned()))?;
    perform(&app, request).await
}

#[cfg(test)]
mod tests {
    use chronicler_store::MemoryStore;
    use chronicler_store::memory::ReadFault;
    use serde_json::json;

    use super::*;

    async fn asks(folder: &Path, request: &Value) -> UnixStream {
        let mut stream = UnixStream::connect(path_in(folder)).await.unwrap();
        let line = format!("{request}\n");
        stream.write_all(line.as_bytes()).await.unwrap();
        stream
    }

    async fn answered(stream: UnixStream) -> Result<Value, OperatorError> {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[tokio::test]
    async fn whoever_goes_before_the_answer_leaves_the_place_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new());
        let app = App::over(store.clone()).operator_socket(Some(folder.path().to_owned()));
        let app = app.start().await.unwrap();
        store.faults().fail_reads(Some(ReadFault::Hangs));
        let request = json!({ "verb": "saga", "stream": "saga:order/1" });
        let mut waiting = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            waiting.push(asks(folder.path(), &request).await);
        }
        drop(waiting);
        let status = asks(folder.path(), &json!({ "verb": "status" })).await;
        assert!(answered(status).await.is_ok());
        app.stop().await;
    }

    #[tokio::test]
    async fn whoever_says_no_more_still_gets_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let app = App::over(Arc::new(MemoryStore::new()));
        let app = app.operator_socket(Some(folder.path().to_owned()));
        let app = app.start().await.unwrap();
        let mut stream = asks(folder.path(), &json!({ "verb": "status" })).await;
        stream.shutdown().await.unwrap();
        assert!(answered(stream).await.is_ok());
        app.stop().await;
    }

    #[tokio::test]
    async fn a_request_with_a_field_that_does_not_exist_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let app = App::over(Arc::new(MemoryStore::new()));
        let app = app.operator_socket(Some(folder.path().to_owned()));
        let app = app.start().await.unwrap();
        let misspelt = json!({ "verb": "drop-parked", "consumer": "a", "postion": 5, "by": "ann", "why": "it is known" });
        let answer = answered(asks(folder.path(), &misspelt).await).await;
        assert!(answer.unwrap_err().to_string().contains("postion"));
        app.stop().await;
    }
}
