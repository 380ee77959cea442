//! Owns a server that takes connections and never says anything.

use std::net::TcpListener;

/// It takes connections for as long as the listener is there.
pub fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}
