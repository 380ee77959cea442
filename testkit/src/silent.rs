//! Owns a server that accepts connections and never sends anything.

use std::net::TcpListener;

/// It accepts connections as long as the listener exists.
pub fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}
