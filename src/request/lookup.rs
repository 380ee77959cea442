//! Has a request wait for an item of memcached.

use super::state::Waiting;
use crate::sys::request::Request;
use pagecache_core::flow;
use pagecache_core::memcached::{Command, Get, Operation, OperationError};

/// Starts a lookup, which resumes the request.
///
/// # Errors
/// Nothing was sent, and nothing resumes the request.
pub fn start(request: &Request<'_>, state: &Waiting, get: flow::Get) -> Result<(), OperationError> {
    let server = state.settings().upstream.servers().get(get.server);
    let peer = state.worker().peer(server.ok_or(OperationError::Down)?);
    let ticket = peer.submit(state.clone(), |token| Operation {
        token,
        visitor: request.visitor(),
        key: get.key,
        deadline: get.deadline,
        protocol: get.protocol,
        connect_timeout: get.connect_timeout,
        command: Command::Get(Get::value(get.max_size)),
    })?;
    state.set_lookup(peer, ticket);
    Ok(())
}
