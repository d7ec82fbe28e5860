//! The end that asks: blocking, for command lines.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::socket::short_path_in;
use super::verb::{OperatorError, OperatorRequest};

/// How long an application may take to say how it is.
const STATUS_PATIENCE: Duration = Duration::from_secs(30);

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
    let (path, _folder) = short_path_in(data).map_err(AskError::NobodyListens)?;
    let mut stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NobodyListens(error)
        }
        _ => AskError::NotReached(error),
    })?;
    if !request.verb.changes() {
        let patience = Some(STATUS_PATIENCE);
        let limited = stream.set_read_timeout(patience);
        limited.map_err(AskError::NotReached)?;
    }
    let mut exchange = || {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = String::new();
        if BufReader::new(&stream).read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str::<Result<Value, OperatorError>>(
            &answer,
        )?)
    };
    exchange()
        .map_err(AskError::Broken)?
        .map_err(AskError::Refused)
}
