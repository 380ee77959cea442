//! Operations for which no request waits itself.

use super::{Party, Peer, Waiter};
use pagecache_core::memcached::{Body, Completion, Key, Operation, OperationError, Watch};

impl<W: Waiter> Peer<W> {
    /// Starts an operation, with an empty body if it has one. `then` is called with what it came to, and may call the peer.
    /// If it cannot begin, that is at once.
    pub fn run(&self, operation: Operation, then: impl FnOnce(Completion<()>) + 'static) {
        let body = operation.stores().then(Body::default);
        let party = Party::Alone(Box::new(move |completion| then(completion.map(|_| ()))));
        if let Err((error, Some(Party::Alone(then)))) = self.start(party, body, operation) {
            then(Completion::Failed(error));
        }
    }

    /// Starts an operation with this body. `then` is called with what it came to, and may call the peer.
    ///
    /// # Errors
    /// It cannot begin, and `then` is not called.
    pub fn ask(
        &self,
        operation: Operation,
        body: Option<Body>,
        then: impl FnOnce(Completion<Vec<u8>>) + 'static,
    ) -> Result<(), OperationError> {
        let party = Party::Alone(Box::new(then));
        self.start(party, body, operation).map(|_| ()).map_err(|(error, _)| error)
    }

    /// Watches the item with this key. None if too many are watched.
    pub fn watch(&self, key: &Key) -> Option<Watch> {
        self.client.borrow_mut().watch(key)
    }
}
