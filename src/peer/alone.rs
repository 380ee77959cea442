//! Operations for which no request waits itself.

use super::{Party, Peer, Waiter};
use pagecache_core::memcached::{Body, Completion, Key, Operation, OperationError, Watch};

impl<W: Waiter> Peer<W> {
    /// As [`Peer::send`], with an empty body if the operation has one.
    pub fn run(&self, operation: Operation, then: impl FnOnce(Completion<()>) + 'static) {
        let body = operation.stores().then(Body::default);
        self.send(operation, body, |completion| then(completion.map(|_| ())));
    }

    /// Starts an operation with this body. `then` is called with what it came to, and may call the peer. If it cannot begin,
    /// that is at once.
    pub fn send(
        &self,
        operation: Operation,
        body: Option<Body>,
        then: impl FnOnce(Completion<Vec<u8>>) + 'static,
    ) {
        let begun = self.start(Party::Alone(Box::new(then)), body, operation);
        if let Err((error, Some(Party::Alone(then)))) = begun {
            then(Completion::Failed(error));
        }
    }

    /// The same, but `then` is called from the event loop alone.
    ///
    /// # Errors
    /// The operation cannot begin, and `then` is not called.
    pub fn ask(
        &self,
        operation: Operation,
        body: Option<Body>,
        then: impl FnOnce(Completion<Vec<u8>>) + 'static,
    ) -> Result<(), OperationError> {
        let begun = self.start(Party::Alone(Box::new(then)), body, operation);
        begun.map(|_| ()).map_err(|(error, _)| error)
    }

    /// Watches the item with this key. None if too many are watched.
    pub fn watch(&self, key: &Key) -> Option<Watch> {
        self.client.borrow_mut().watch(key)
    }
}
