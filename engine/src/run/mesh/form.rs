//! Forming the mesh: from no connection to connections between all processes.

use std::net::TcpStream;

use super::dial::Troubles;
use super::forming::{Forming, Mesh};
use crate::checkpoint::restore::Agreement;
use crate::error::JobError;
use crate::threads;

/// Connects the processes and has them agree on the starting point. `decide` is called once: in process 0 with
/// `None`, to determine the agreement; in the others with the agreement of process 0.
///
/// Returns the connections by process, with none to this one, and the value that `decide` returned with the
/// agreement.
///
/// # Errors
/// When processes do not come in time, do not fit together, or `decide` fails in one of them: then all of them fail.
pub(crate) fn form<T>(
    mesh: &Mesh,
    decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
) -> Result<(Vec<Option<TcpStream>>, T), JobError> {
    let forming = Forming { mesh, since: threads::now(), troubles: Troubles::default() };
    let door = forming.open_door()?;
    let formed = if mesh.me == 0 { forming.lead(door, decide) } else { forming.join(door, decide) };
    let (peers, decided) = formed?;
    let sockets = peers.into_iter().map(|peer| peer.map(|peer| peer.into_socket()).transpose());
    let sockets = sockets.collect::<std::io::Result<Vec<_>>>();
    let sockets =
        sockets.map_err(|source| JobError::Io { what: "set up the mesh's connections".to_owned(), source })?;
    tracing::info!(processes = mesh.hosts.len(), "all processes of the job are connected");
    Ok((sockets, decided))
}
