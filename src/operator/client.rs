//! The end that asks: blocking, for command lines.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::socket::short_path_in;
use super::verb::{OperatorError, OperatorRequest};

/// Why there is no answer, or one that is no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No application listens in the directory.
    #[error("no application listens in this directory: {0}")]
    NobodyListens(io::Error),
    /// The connection broke; whether the verb was carried out is unknown. It can be asked again.
    #[error("the application did not answer, and may have done it or not; ask again: {0}")]
    Broken(io::Error),
    /// The application said no.
    #[error(transparent)]
    Refused(OperatorError),
}

/// Asks the application that has a data directory open, and waits for its answer. Blocks.
///
/// # Errors
/// [`AskError`].
pub fn ask(data: &Path, request: &OperatorRequest) -> Result<Value, AskError> {
    let (path, _folder) = short_path_in(data).map_err(AskError::NobodyListens)?;
    let mut stream = UnixStream::connect(path).map_err(AskError::NobodyListens)?;
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
