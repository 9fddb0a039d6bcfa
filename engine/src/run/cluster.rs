//! Jobs of several processes: how timely connects their workers, and the error when one of them is lost.
//!
//! Timely reports a lost peer by panics: in the thread that reads or writes its socket, in every worker
//! that sends to it next, and once more when all of that is dropped. They become one error here.

use std::any::Any;
use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use timely::CommunicationConfig;
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

use super::mesh::Identity;
use super::settings::JobSettings;
use crate::error::{JobError, panic_text};

/// The beginnings of the panic messages of a lost connection in timely 0.32.
const LOST: [&str; 4] = ["timely communication error", "MergeQueue poisoned", "Send thread panic", "Recv thread panic"];

/// Number of steps that a failed worker still takes, each up to `STEP` long, so that its report reaches the other
/// processes.
pub(crate) const STEPS_TO_TELL: usize = 10;
pub(crate) const STEP: Duration = Duration::from_millis(20);

/// The builders of this process's workers, and a value that keeps its connections open.
type Communication = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

/// Has timely connect the workers: within one process, or over the connections to the others.
pub(crate) fn communication(
    settings: &JobSettings,
    sockets: Vec<Option<TcpStream>>,
) -> Result<Communication, JobError> {
    let (threads, process) = (settings.workers, settings.process);
    match (sockets.len(), threads) {
        (0 | 1, 1) => CommunicationConfig::Thread.try_build().map_err(JobError::cluster),
        (0 | 1, threads) => CommunicationConfig::Process(threads).try_build().map_err(JobError::cluster),
        _ => {
            silence_lost_connections();
            let hooks = Hooks::default();
            let inner = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), hooks.spill.clone());
            let (builders, connections) =
                initialize_networking_from_sockets(inner, sockets, process, threads, hooks)
                    .map_err(|source| JobError::Io { what: "start the threads of the mesh".to_owned(), source })?;
            Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(connections)))
        }
    }
}

/// Returns everything that has to be the same in all processes of the job.
pub(crate) fn identity(job: &str, settings: &JobSettings) -> Identity {
    let list = |items: &mut dyn Iterator<Item = String>| {
        let items: Vec<String> = items.collect();
        if items.is_empty() { "none".to_owned() } else { items.join(" ") }
    };
    let setting = |name: &str, value: String| (name.to_owned(), value);
    Identity {
        job: job.to_owned(),
        processes: settings.hosts.len(),
        restore: settings.restore.to_string(),
        program: program(),
        settings: vec![
            setting("Tidemill", env!("CARGO_PKG_VERSION").to_owned()),
            setting("workers", settings.workers.to_string()),
            setting("key_groups", settings.key_groups.to_string()),
            setting("checkpoint_dir", if settings.checkpoint_dir.is_some() { "given" } else { "none" }.to_owned()),
            setting("renamed", list(&mut settings.renamed.iter().map(ToString::to_string))),
            setting("drop_state", list(&mut settings.drop_state.iter().cloned())),
        ],
    }
}

/// Returns length and checksum of the program's file. Two builds may have different graphs, which timely would not
/// notice.
fn program() -> String {
    let read = || -> std::io::Result<String> {
        // The file that is running, even if another one has been put in its place.
        let mut file = File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?))?;
        let (mut hash, mut buffer, mut len) = (crc32fast::Hasher::new(), vec![0; 1 << 20], 0);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(format!("{len} bytes, CRC-32 {:08x}", hash.finalize())),
                read => {
                    len += read;
                    hash.update(buffer.get(..read).unwrap_or_default());
                }
            }
        }
    };
    read().unwrap_or_default()
}

/// Runs `f` and turns a panic in it into an error: of the connection if its message says so, otherwise of worker
/// `index`.
pub(crate) fn caught<T>(index: usize, f: impl FnOnce() -> Result<T, JobError>) -> Result<T, JobError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| Err(of_panic(index, panic_text(&*panic))))
}

/// Returns the error for a panic of worker `index`.
pub(crate) fn of_panic(index: usize, message: String) -> JobError {
    if is_lost(&message) { lost(&message) } else { JobError::Panicked { worker: index, message } }
}

/// Leaks connections (or a worker, which owns ends of them). Dropping them would signal to the other
/// processes that all is well, and wait until they are done too; when instead the process ends, they
/// notice the failure.
pub(crate) fn abandon<T>(connections: T) {
    std::mem::forget(connections);
}

/// Returns the error for a failure that another process has reported.
pub(crate) fn failed_there(process: usize, reason: &str) -> JobError {
    JobError::cluster(format!("process {process} of the job failed: {reason}"))
}

fn lost(what: &str) -> JobError {
    JobError::cluster(format!(
        "the connection to another process of the job was lost ({what}); start all processes again: they go on from the last checkpoint"
    ))
}

fn is_lost(message: &str) -> bool {
    LOST.iter().any(|known| message.starts_with(known))
}

/// Silences the panic messages of lost connections: the error reports the loss once, and the messages would bury it.
fn silence_lost_connections() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let message = panic_text(info.payload());
            if is_lost(&message) { tracing::debug!(message, "lost connection") } else { others(info) }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_error_it_means() {
        let caught = |message: &'static str| caught::<()>(3, || panic::resume_unwind(Box::new(message))).unwrap_err();
        let lost = caught("timely communication error: reading data: socket closed");
        assert!(matches!(&lost, JobError::Cluster { reason, .. } if reason.contains("socket closed")), "{lost}");
        let own = caught("index out of bounds");
        assert!(matches!(&own, JobError::Panicked { worker: 3, message } if message == "index out of bounds"), "{own}");
    }
}
