//! The end that asks: blocking, for command lines.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::socket::short_path_in;
use super::verb::{OperatorError, OperatorRequest, REQUEST_BYTES_MAX};

/// How long an application may take to say how it is.
const STATUS_PATIENCE: Duration = Duration::from_secs(30);
/// How often who waits is told so.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why there is no answer, or one that is no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No application listens in the directory: none runs, or it is still starting.
    #[error("no application listens in this directory: {0}")]
    NobodyListens(io::Error),
    /// There is a socket, and it cannot be used.
    #[error(
        "the application cannot be reached: {0}; the socket is for the user as whom it runs, and for root"
    )]
    NotReached(io::Error),
    /// The connection broke; whether the verb was carried out is unknown. It can be asked again.
    #[error("the application did not answer, and may have done it or not; ask again: {0}")]
    Broken(io::Error),
    /// The application said no.
    #[error(transparent)]
    Refused(OperatorError),
}

/// Asks the application that has a data directory open, and waits for its answer: for a status at most 30 s, for
/// anything else as long as it takes. Blocks.
///
/// # Errors
/// [`AskError`].
pub fn ask(data: &Path, request: &OperatorRequest) -> Result<Value, AskError> {
    ask_telling(data, request, |_| {})
}

/// The same, and says after every ten seconds for how long it has waited: an application that is busy, or was stopped by
/// a signal, takes the request and does not answer.
///
/// # Errors
/// [`AskError`].
pub fn ask_telling(
    data: &Path,
    request: &OperatorRequest,
    waits: impl FnMut(Duration),
) -> Result<Value, AskError> {
    ask_telling_every(TELL_EVERY, data, request, waits)
}

fn ask_telling_every(
    every: Duration,
    data: &Path,
    request: &OperatorRequest,
    mut waits: impl FnMut(Duration),
) -> Result<Value, AskError> {
    let refused = |error| AskError::Refused(OperatorError::Invalid(error));
    let mut line = serde_json::to_vec(request).map_err(|error| refused(error.to_string()))?;
    line.push(b'\n');
    if line.len() as u64 > REQUEST_BYTES_MAX {
        let bytes = line.len();
        return Err(refused(format!(
            "the request has {bytes} bytes, and may have {REQUEST_BYTES_MAX}"
        )));
    }
    let (path, _folder) = short_path_in(data).map_err(AskError::NobodyListens)?;
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NobodyListens(error)
        }
        _ => AskError::NotReached(error),
    })?;
    let limited = stream
        .set_read_timeout(Some(every))
        .and_then(|()| stream.set_write_timeout(Some(every)));
    limited.map_err(AskError::NotReached)?;
    let is_status = !request.verb.changes();
    let mut waited = Duration::ZERO;
    let mut wait = |error: io::Error| {
        let is_late = matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        );
        waited += every;
        if !is_late || (is_status && waited >= STATUS_PATIENCE) {
            return Err(error);
        }
        waits(waited);
        Ok(())
    };
    let mut exchange = || {
        // A long request does not fit what the system keeps for a reader that does not read.
        let mut unsent = line.as_slice();
        while !unsent.is_empty() {
            match stream.write(unsent) {
                Ok(sent) => unsent = unsent.get(sent..).unwrap_or_default(),
                Err(error) => wait(error)?,
            }
        }
        let (mut reader, mut answer) = (BufReader::new(&stream), Vec::new());
        // What has come of the answer stays, however often it is waited for.
        while let Err(error) = reader.read_until(b'\n', &mut answer) {
            wait(error)?;
        }
        if answer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice::<Result<Value, OperatorError>>(
            &answer,
        )?)
    };
    exchange()
        .map_err(AskError::Broken)?
        .map_err(AskError::Refused)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;

    use super::super::OperatorVerb;
    use super::super::socket::path_in;
    use super::*;

    #[test]
    fn who_waits_is_told_so_until_the_answer_comes_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(path_in(folder.path())).unwrap();
        let (told, is_told) = mpsc::sync_channel(8);
        let slow = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
            is_told.recv().unwrap();
            stream.write_all(b"{\"Ok\":").unwrap();
            is_told.recv().unwrap();
            stream.write_all(b"17}\n").unwrap();
        });
        let request = rebuilding("balances");
        let every = Duration::from_millis(5);
        let answer = ask_telling_every(every, folder.path(), &request, |_| {
            told.try_send(()).unwrap_or_default()
        });
        assert_eq!(answer.unwrap(), 17);
        slow.join().unwrap();
    }
    #[test]
    fn who_sends_much_to_one_that_does_not_read_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(path_in(folder.path())).unwrap();
        let (told, is_told) = mpsc::sync_channel(8);
        let busy = std::thread::spawn(move || {
            is_told.recv().unwrap();
            let (stream, _) = listener.accept().unwrap();
            let mut line = Vec::new();
            BufReader::new(&stream)
                .read_until(b'\n', &mut line)
                .unwrap();
            (&stream).write_all(b"{\"Ok\":17}\n").unwrap();
            line.len()
        });
        let request = rebuilding(&"x".repeat(1_000_000));
        let every = Duration::from_millis(5);
        let answer = ask_telling_every(every, folder.path(), &request, |_| {
            told.try_send(()).unwrap_or_default();
        });
        assert_eq!(answer.unwrap(), 17);
        assert!(busy.join().unwrap() > 1_000_000);
    }

    #[test]
    fn a_request_that_is_too_long_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let request = rebuilding(&"x".repeat(1 << 20));
        let refused = ask(folder.path(), &request).unwrap_err().to_string();
        assert!(refused.contains("may have 1048576"), "{refused}");
    }

    fn rebuilding(view: &str) -> OperatorRequest {
        OperatorRequest {
            verb: OperatorVerb::RebuildView {
                projection: view.to_owned(),
            },
            by: "ann".to_owned(),
            why: "a test".to_owned(),
        }
    }
}
