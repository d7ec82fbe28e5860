//! The end that listens: a supervised worker of the application.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::Duration;

use chronicler_runtime::{RestartPolicy, WorkerContext, WorkerError, WorkerSpec};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::perform::perform;
use super::socket::{path_in, short_path_in};
use super::verb::{OperatorError, OperatorRequest};
use crate::app::{App, Parts};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// The longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens in a data directory until the application stops. Without a socket the application runs all the same.
pub(crate) fn listen(app: &App, folder: PathBuf) {
    let spec = WorkerSpec {
        name: "operator socket".to_owned(),
        restart: RestartPolicy::default(),
    };
    let parts = app.weak();
    app.runtime().workers().spawn(spec, move |context| {
        serve(parts.clone(), folder.clone(), context).boxed()
    });
}

async fn serve(
    parts: Weak<Parts>,
    folder: PathBuf,
    context: WorkerContext,
) -> Result<(), WorkerError> {
    let (listener, owner) = match bind(&folder) {
        Ok(bound) => bound,
        // A file system may have no sockets.
        Err(error) => {
            let path = path_in(&folder);
            tracing::warn!(path = %path.display(), %error, "no operator socket: verbs reach this application through its code only");
            return Ok(());
        }
    };
    let stopping = context.stopping();
    let mut talking = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            Some(()) = talking.next() => {}
            accepted = listener.accept(), if talking.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => talking.push(talk(stream, owner, parts.clone())),
                Err(error) => return Err(WorkerError(format!("accepting a connection failed: {error}"))),
            },
        }
    }
    // Whoever was answered with nothing asks again: verbs bear a repetition.
    drop(fs::remove_file(path_in(&folder)));
    Ok(())
}

/// The socket, for nobody but the owner of the directory, whose number is the second value.
fn bind(folder: &Path) -> io::Result<(UnixListener, u32)> {
    // Left behind by a process that was killed: the directory is ours alone.
    match fs::remove_file(path_in(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (path, _folder) = short_path_in(folder)?;
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    let owner = fs::metadata(&path)?.uid();
    Ok((listener, owner))
}

/// One question and its answer.
async fn talk(mut stream: UnixStream, owner: u32, parts: Weak<Parts>) {
    // The permissions of the socket say the same, from a moment after it was made.
    let is_owner = stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == owner || peer.uid() == 0);
    let answer = if is_owner {
        match timeout(PATIENCE, read(&mut stream)).await {
            Ok(Ok(request)) => answer(&request, &parts).await,
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
    drop(stream.write_all(&line).await);
}

async fn read(stream: &mut UnixStream) -> io::Result<OperatorRequest> {
    let mut line = Vec::new();
    let mut limited = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    limited.read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

async fn answer(request: &OperatorRequest, parts: &Weak<Parts>) -> Result<Value, OperatorError> {
    let app = App::upgrade(parts);
    let app = app.ok_or_else(|| OperatorError::Refused("the application has ended".to_owned()))?;
    perform(&app, request).await
}
