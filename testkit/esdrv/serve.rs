//! Lines in, lines out: each request is worked off beside the others, and answered when it is done.

use std::io::{self, BufRead, BufWriter, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::answer::{Answer, Kind, Refused};
use crate::driver::Driver;
use crate::requests::Request;

/// How many requests are worked off at a time.
const REQUESTS_MAX: usize = 4_096;
/// How many lines may wait to be written.
const LINES_MAX: usize = 16_384;

/// What the driver can do.
const CAPABILITIES: [&str; 29] = [
    "hello",
    "open",
    "append",
    "append_multi",
    "read",
    "read_all",
    "track",
    "track_get",
    "snap_save",
    "snap_load",
    "snap_delete",
    "subscribe",
    "ack",
    "unsubscribe",
    "cmd",
    "state",
    "passivate",
    "crash_actor",
    "query",
    "rebuild",
    "digest",
    "progress",
    "saga",
    "saga_list",
    "settled",
    "gateway",
    "tick",
    "verify",
    "health",
];

/// Serves until the input ends or asks to exit.
pub(crate) async fn serve() {
    let (lines, mut requests) = mpsc::channel::<String>(LINES_MAX);
    let (answers, outgoing) = mpsc::channel::<Value>(LINES_MAX);
    let reading = thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || read_lines(&lines));
    let writing = thread::Builder::new()
        .name("stdout".to_owned())
        .spawn(move || write_lines(outgoing));
    let (Ok(_), Ok(writing)) = (reading, writing) else {
        eprintln!("error: no thread could be started");
        return;
    };
    let room = Arc::new(Semaphore::new(REQUESTS_MAX));
    let working = TaskTracker::new();
    let mut driver: Option<Arc<Driver>> = None;
    let mut exit = None;
    while let Some(line) = requests.recv().await {
        if line.trim().is_empty() {
            continue;
        }
        let request = match Request::read(&line) {
            Ok(request) => request,
            Err(refused) => {
                reply(&answers, Value::Null, Err(refused)).await;
                continue;
            }
        };
        match request.op.as_str() {
            "hello" => {
                let hello = json!({ "proto": "esdrv/1", "caps": capabilities() });
                reply(&answers, request.id, Ok(hello)).await;
            }
            "exit" => {
                exit = Some(request.id);
                break;
            }
            "" => {
                let refused = Refused::invalid("field `op` is missing, or is no text");
                reply(&answers, request.id, Err(refused)).await;
            }
            "open" if driver.is_some() => {
                let refused = Refused::new(Kind::Conflict, "a directory is open already");
                reply(&answers, request.id, Err(refused)).await;
            }
            "open" => match Driver::open(&request).await {
                Ok((opened, answer)) => {
                    driver = Some(Arc::new(opened));
                    reply(&answers, request.id, Ok(answer)).await;
                }
                Err(refused) => reply(&answers, request.id, Err(refused)).await,
            },
            _ => {
                let Some(driver) = driver.clone() else {
                    let refused = Refused::invalid("open a directory first");
                    reply(&answers, request.id, Err(refused)).await;
                    continue;
                };
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                    break;
                };
                let answers = answers.clone();
                working.spawn(async move {
                    let answer = driver.answer(&request, &answers).await;
                    reply(&answers, request.id, answer).await;
                    drop(permit);
                });
            }
        }
    }
    // Whatever is under way is answered before the end.
    working.close();
    working.wait().await;
    if let Some(driver) = driver {
        driver.close().await;
    }
    if let Some(id) = exit {
        reply(&answers, id, Ok(json!({}))).await;
    }
    answers.send(Value::Null).await.ok();
    drop(answers);
    drop(writing.join());
}

fn capabilities() -> Vec<&'static str> {
    let mut all = CAPABILITIES.to_vec();
    all.extend(["gateway_log", "exit"]);
    all
}

async fn reply(answers: &mpsc::Sender<Value>, id: Value, answer: Answer) {
    let line = match answer {
        Ok(ok) => json!({ "id": id, "ok": ok }),
        Err(refused) => json!({ "id": id, "err": refused.to_json() }),
    };
    // Nobody reads any more: there is nobody to tell.
    answers.send(line).await.ok();
}

fn read_lines(lines: &mpsc::Sender<String>) {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match input.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let line = String::from_utf8_lossy(&line).into_owned();
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        }
    }
}

/// Writes what is there, and flushes when nothing more is. A null is the end.
fn write_lines(mut outgoing: mpsc::Receiver<Value>) {
    let mut output = BufWriter::new(io::stdout().lock());
    let mut waiting = Vec::new();
    while outgoing.blocking_recv_many(&mut waiting, LINES_MAX) > 0 {
        for line in waiting.drain(..) {
            if line.is_null() {
                output.flush().ok();
                return;
            }
            if writeln!(output, "{line}").is_err() {
                return;
            }
        }
        if output.flush().is_err() {
            return;
        }
    }
}

/// The whole program.
pub(crate) fn run() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(serve());
            // The thread that reads the input may still wait for a line.
            runtime.shutdown_background();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
