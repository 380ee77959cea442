//! Blocking sockets: where a server listens, and a connection to it with timeouts.

use crate::cluster::Server;
use pagecache_core::distribution::{Address, Node};
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Path(PathBuf),
    Port(SocketAddr),
}

/// A connection.
#[derive(Debug)]
pub enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// The places that a server's name stands for, as nginx: a host may have several addresses.
///
/// # Errors
/// The name has no address.
pub fn places(server: &Server) -> io::Result<Vec<Place>> {
    let node = Node { name: &server.name, weight: server.weight };
    let places: Vec<Place> = match node.address() {
        Address::Socket(path) => vec![Place::Path(PathBuf::from(path))],
        Address::Host(host, port) => (host, port).to_socket_addrs()?.map(Place::Port).collect(),
    };
    if places.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(places)
}

impl Socket {
    /// # Errors
    /// The place does not take the connection within `timeout`.
    pub fn connect(place: &Place, timeout: Duration) -> io::Result<Socket> {
        match place {
            Place::Path(path) => UnixStream::connect(path).map(Socket::Unix),
            Place::Port(address) => {
                let stream = TcpStream::connect_timeout(address, timeout)?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
        }
    }

    /// A second handle of the same connection.
    ///
    /// # Errors
    /// The system refuses.
    pub fn try_clone(&self) -> io::Result<Socket> {
        match self {
            Socket::Unix(stream) => stream.try_clone().map(Socket::Unix),
            Socket::Tcp(stream) => stream.try_clone().map(Socket::Tcp),
        }
    }

    /// Sets the longest time of a read and of a write, more than zero.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.read(buffer),
            Socket::Tcp(stream) => stream.read(buffer),
        }
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.read_vectored(buffers),
            Socket::Tcp(stream) => stream.read_vectored(buffers),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(stream) => stream.write(bytes),
            Socket::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a read or a write took too long.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Error message: why a server could not be reached or did not answer.
pub fn reason(error: &io::Error, timeout: Duration) -> String {
    if is_timeout(error) { no_answer(timeout) } else { error.to_string() }
}

/// Error message of a server that is silent.
pub fn no_answer(timeout: Duration) -> String {
    format!("no answer within {} s", timeout.as_secs_f64())
}
