//! Owns the HTTP/1.1 client. It sends requests that a browser would send and some that no browser should, keeps its
//! connection open, and reports at which point an answer was lost.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::kernel;

/// How long a client waits for the next byte.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

/// The body of a request, and how it is sent.
#[derive(Clone)]
enum Body {
    None,
    Sized(Vec<u8>),
    /// `Transfer-Encoding: chunked`, in chunks of this many bytes.
    Chunked(Vec<u8>, usize),
}

impl Request {
    /// Whether the answer has no body, whatever its Content-Length.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Request {
        Request {
            method: method.to_owned(),
            target: target.as_ref().to_vec(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    pub fn get(target: impl AsRef<[u8]>) -> Request {
        Request::new("GET", target)
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Body::Sized(body.into());
        self
    }

    pub fn chunked(mut self, body: impl Into<Vec<u8>>, chunk: usize) -> Request {
        self.body = Body::Chunked(body.into(), chunk);
        self
    }

    /// The request line and the headers.
    pub fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        head.extend_from_slice(self.method.as_bytes());
        head.push(b' ');
        head.extend_from_slice(&self.target);
        head.extend_from_slice(b" HTTP/1.1\r\n");
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Host")) {
            head.extend_from_slice(b"Host: site.test\r\n");
        }
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        match &self.body {
            Body::None => {}
            Body::Sized(body) => {
                head.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
            }
            Body::Chunked(..) => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The body as it is sent.
    pub fn payload(&self) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Sized(body) => body.clone(),
            Body::Chunked(body, size) => {
                let mut wire = Vec::new();
                for chunk in body.chunks(*size) {
                    wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    wire.extend_from_slice(chunk);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\n\r\n");
                wire
            }
        }
    }
}

/// A complete answer.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// The trailers after the last chunk.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Response {
    /// The value of a header as text, if the answer has it.
    pub fn header(&self, name: &str) -> Option<String> {
        self.header_bytes(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_slice());
        assert!(found.next().is_none(), "{name} stands twice: {self:?}");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a `name=value` line of the application's echo view.
    #[track_caller]
    pub fn echoed(&self, name: &str) -> String {
        self.text()
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
            .unwrap_or_else(|| panic!("no echo of {name}: {self:?}"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "status {}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "  {name}: {}", value.escape_ascii())?;
        }
        let shown = self.body.get(..300).unwrap_or(&self.body);
        write!(f, "  {} bytes: \"{}\"", self.body.len(), shown.escape_ascii())
    }
}

/// The point at which an answer was lost.
#[derive(Debug)]
pub enum Lost {
    /// The server closed before the first byte: a browser repeats the request on a new connection, if this one had
    /// served a request before.
    BeforeFirstByte,
    /// A part of an answer was received. The request must not be repeated.
    Midway(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::BeforeFirstByte => write!(f, "closed before the first byte"),
            Lost::Midway(what) => write!(f, "broken off: {what}"),
        }
    }
}

/// One connection to nginx.
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The bytes received since `takes` found a difference.
    record: Option<Vec<u8>>,
    /// The number of answers received on this connection.
    pub answers: usize,
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap_or_else(|| panic!("nobody listens on {address}"))
    }

    /// `None`: the address does not accept connections.
    pub fn try_connect(address: SocketAddr) -> Option<Client> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        Some(Client { stream, unread: Vec::new(), record: None, answers: 0 })
    }

    /// Sends a request and waits for the complete answer.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Response {
        self.try_ask(request).unwrap_or_else(|lost| panic!("no answer: {lost}"))
    }

    #[track_caller]
    pub fn get(&mut self, target: impl AsRef<[u8]>) -> Response {
        self.ask(&Request::get(target))
    }

    pub fn try_ask(&mut self, request: &Request) -> Result<Response, Lost> {
        // If the server closes, or answers before it has read the body, the write fails; its answer can still be
        // read.
        let _ = self.stream.write_all(&[request.head(), request.payload()].concat());
        self.receive(request.is_head())
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends the head with `Expect: 100-continue`, and the body once the server asks for it.
    #[track_caller]
    pub fn ask_expecting_continue(&mut self, request: &Request) -> Response {
        let announced = request.clone().header("Expect", "100-continue");
        self.send(&announced.head());
        let answer = self.receive_head().unwrap_or_else(|lost| panic!("no 100: {lost}"));
        assert_eq!(answer.status, 100, "asked for the body first: {answer:?}");
        self.send(&announced.payload());
        self.receive(false).unwrap_or_else(|lost| panic!("no answer after 100: {lost}"))
    }

    /// Receives the next complete answer; `head_only` if the request was HEAD.
    pub fn receive(&mut self, head_only: bool) -> Result<Response, Lost> {
        let mut response = self.receive_head()?;
        if !head_only && !matches!(response.status, 204 | 304) {
            if let Some(length) = response.header("Content-Length") {
                let length = length.parse().map_err(|_| Lost::Midway(format!("{response:?}")))?;
                response.body = self.take(length)?;
            } else if response.header("Transfer-Encoding").as_deref() == Some("chunked") {
                self.take_chunks(&mut response)?;
            } else {
                while self.fill()? > 0 {}
                response.body = std::mem::take(&mut self.unread);
            }
        }
        self.answers += 1;
        Ok(response)
    }

    /// Whether the server closes the connection within a short time, in which it would have answered.
    pub fn is_closed_soon(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let closed = matches!(self.fill(), Ok(0));
        self.stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        closed
    }

    /// Closes the connection with a FIN.
    pub fn leave(self) {
        drop(self.stream);
    }

    /// Closes the connection with a RST.
    pub fn reset(self) {
        kernel::reset(&self.stream);
    }

    /// Receives the status and the headers of the next answer, and no more of its body than arrived with them.
    pub fn receive_head(&mut self) -> Result<Response, Lost> {
        let mut parser = httparse::ParserConfig::default();
        // $pagecache_key may contain the byte 0x7f, which a header must not; tests read it from the log instead.
        parser.ignore_invalid_headers_in_responses(true);
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 128];
            let mut parsed = httparse::Response::new(&mut headers);
            match parser.parse_response(&mut parsed, &self.unread) {
                Ok(httparse::Status::Complete(length)) => {
                    let response = Response {
                        status: parsed.code.unwrap(),
                        headers: owned(parsed.headers),
                        body: Vec::new(),
                        trailers: Vec::new(),
                    };
                    self.unread.drain(..length);
                    return Ok(response);
                }
                Ok(httparse::Status::Partial) => {
                    if self.fill()? == 0 {
                        return Err(match self.unread.as_slice() {
                            [] => Lost::BeforeFirstByte,
                            part => Lost::Midway(part.escape_ascii().to_string()),
                        });
                    }
                }
                Err(error) => {
                    let bytes = self.unread.escape_ascii();
                    return Err(Lost::Midway(format!("{error}: {bytes}")));
                }
            }
        }
    }

    /// Receives `length` bytes of any content.
    pub fn take(&mut self, length: usize) -> Result<Vec<u8>, Lost> {
        while self.unread.len() < length {
            if self.fill()? == 0 {
                let have = self.unread.len();
                return Err(Lost::Midway(format!("{have} of {length} bytes of the body")));
            }
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Whether the next bytes equal `known`; if so, they are consumed. If not, they remain to be received, and are
    /// recorded from here on.
    pub fn takes(&mut self, known: &[u8]) -> Result<bool, Lost> {
        while self.unread.len() < known.len() && known.starts_with(&self.unread) {
            if self.fill()? == 0 {
                return Err(Lost::Midway(format!("{} known bytes", self.unread.len())));
            }
        }
        let are_known = !known.is_empty() && self.unread.starts_with(known);
        match are_known {
            true => drop(self.unread.drain(..known.len())),
            false => self.record = Some(self.unread.clone()),
        }
        Ok(are_known)
    }

    /// The bytes received since the recording began.
    pub fn recorded(&mut self) -> Vec<u8> {
        let mut record = self.record.take().unwrap_or_default();
        record.truncate(record.len() - self.unread.len());
        record
    }

    fn take_chunks(&mut self, response: &mut Response) -> Result<(), Lost> {
        loop {
            let (digits, size) = loop {
                match httparse::parse_chunk_size(&self.unread) {
                    Ok(httparse::Status::Complete((digits, size))) => break (digits, size),
                    Ok(httparse::Status::Partial) if self.fill()? > 0 => {}
                    _ => return Err(Lost::Midway(self.unread.escape_ascii().to_string())),
                }
            };
            self.take(digits)?;
            if size == 0 {
                response.trailers = self.take_trailers()?;
                return Ok(());
            }
            let mut chunk = self.take(usize::try_from(size).unwrap() + 2)?;
            if chunk.split_off(chunk.len() - 2) != b"\r\n" {
                return Err(Lost::Midway("a chunk without its end".to_owned()));
            }
            response.body.append(&mut chunk);
        }
    }

    /// Reads the trailers up to the empty line.
    fn take_trailers(&mut self) -> Result<Vec<(String, Vec<u8>)>, Lost> {
        loop {
            let mut trailers = [httparse::EMPTY_HEADER; 16];
            let parsed = httparse::parse_headers(&self.unread, &mut trailers);
            let parsed = parsed.map_err(|error| Lost::Midway(format!("trailers: {error}")))?;
            if let httparse::Status::Complete((length, trailers)) = parsed {
                let trailers = owned(trailers);
                self.unread.drain(..length);
                return Ok(trailers);
            }
            if self.fill()? == 0 {
                return Err(Lost::Midway("trailers without an end".to_owned()));
            }
        }
    }

    /// Reads once. 0: the server has closed the connection.
    fn fill(&mut self) -> Result<usize, Lost> {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(length) => {
                self.unread.extend_from_slice(&buffer[..length]);
                if let Some(record) = &mut self.record {
                    record.extend_from_slice(&buffer[..length]);
                }
                Ok(length)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(Lost::Midway(format!("{error} after {} bytes", self.unread.len()))),
        }
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect()
}
