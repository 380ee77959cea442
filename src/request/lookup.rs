//! Has a request wait for an item of memcached.

use super::state::Waiting;
use crate::sys::request::Request;
use pagecache_core::flow::Lookup;
use pagecache_core::memcached::OperationError;

/// Starts a lookup, which resumes the request.
///
/// # Errors
/// Nothing was sent, and nothing resumes the request.
pub fn start(
    request: &Request<'_>,
    state: &Waiting,
    mut lookup: Lookup,
) -> Result<(), OperationError> {
    let peer = state.peer(lookup.server).ok_or(OperationError::Down)?;
    lookup.get.watch = state.purge_log(lookup.server).and_then(|log| log.watch());
    let visitor = request.visitor();
    let operation = state.decide(|flow| Some(lookup.operation(flow.place()?.1, visitor)));
    let ticket = peer.submit(state.clone(), operation.ok_or(OperationError::Overload)?)?;
    state.set_lookup(peer, ticket);
    Ok(())
}
