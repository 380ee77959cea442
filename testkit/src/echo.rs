//! Owns an application that answers with the headers, or the CGI variables, that it received, in their order: one
//! `name: value` a line. It speaks the protocols by which nginx passes requests on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// A protocol between nginx and an application.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Protocol {
    Http,
    Uwsgi,
    FastCgi,
    Scgi,
}

/// Serves until the test process ends.
pub struct Echo {
    address: SocketAddr,
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

impl Echo {
    pub fn start(protocol: Protocol) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || serve(protocol, &mut stream?));
            }
        });
        Echo { address }
    }

    /// The address as an nginx configuration names it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

/// Handles one request on a connection.
fn serve(protocol: Protocol, stream: &mut TcpStream) -> io::Result<()> {
    let pairs = match protocol {
        Protocol::Http => http(stream)?,
        Protocol::Uwsgi => uwsgi(stream)?,
        Protocol::FastCgi => fastcgi(stream)?,
        Protocol::Scgi => scgi(stream)?,
    };
    let lines = pairs.iter().flat_map(|(name, value)| [name, &b": "[..], value, b"\n"].concat());
    let body: Vec<u8> = lines.collect();
    let start = match protocol {
        Protocol::FastCgi | Protocol::Scgi => "Status:",
        Protocol::Http | Protocol::Uwsgi => "HTTP/1.1",
    };
    let length = body.len();
    let head = format!(
        "{start} 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    let answer = [head.as_bytes(), &body].concat();
    match protocol {
        // FCGI_STDOUT, and FCGI_END_REQUEST with FCGI_REQUEST_COMPLETE
        Protocol::FastCgi => {
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            let head = [1, 6, 0, 1, length[0], length[1], 0, 0];
            let end = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            stream.write_all(&[&head[..], &answer, &end].concat())?;
        }
        _ => stream.write_all(&answer)?,
    }
    stream.shutdown(Shutdown::Write)?;
    // closing with unread bytes would send a RST
    io::copy(stream, &mut io::sink()).map(drop)
}

/// Reads the head of an HTTP request, without the request line.
fn http(stream: &mut TcpStream) -> io::Result<Pairs> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(take::<1>(stream)?);
    }
    let lines = head.split(|&byte| byte == b'\n').skip(1).map(<[u8]>::trim_ascii);
    Ok(lines
        .filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()))
        })
        .collect())
}

/// Reads a header of four bytes with the length, then names and values with lengths of two bytes.
fn uwsgi(stream: &mut TcpStream) -> io::Result<Pairs> {
    let [_, low, high, _] = take::<4>(stream)?;
    let packet = take_all(stream, u16::from_le_bytes([low, high]).into())?;
    let mut rest = packet.as_slice();
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (text, after) = after.split_at(u16::from_le_bytes(*length).into());
        rest = after;
        Some(text.to_vec())
    };
    Ok(std::iter::from_fn(|| Some((next()?, next()?))).collect())
}

/// Reads records with a header of eight bytes. Those of type 4, FCGI_PARAMS, contain names and values, after their
/// lengths: one byte, or four of which the first bit is set. A record of type 5 without content is the end.
fn fastcgi(stream: &mut TcpStream) -> io::Result<Pairs> {
    let mut params = Vec::new();
    loop {
        let [_, kind, _, _, high, low, padding, _] = take::<8>(stream)?;
        let content = take_all(stream, u16::from_be_bytes([high, low]).into())?;
        take_all(stream, padding.into())?;
        match (kind, content.is_empty()) {
            (4, _) => params.extend(content),
            (5, true) => break,
            _ => {}
        }
    }
    let mut rest = params.as_slice();
    let mut pairs = Pairs::new();
    while !rest.is_empty() {
        let mut length = || {
            let size = if rest[0] < 0x80 { 1 } else { 4 };
            let (digits, after) = rest.split_at(size);
            rest = after;
            digits.iter().fold(0, |sum, &digit| sum << 8 | usize::from(digit)) & 0x7fff_ffff
        };
        let (name, value) = (length(), length());
        let (name, after) = rest.split_at(name);
        let (value, after) = after.split_at(value);
        pairs.push((name.to_vec(), value.to_vec()));
        rest = after;
    }
    Ok(pairs)
}

/// Reads a netstring, in which a zero byte ends each name and each value.
fn scgi(stream: &mut TcpStream) -> io::Result<Pairs> {
    let mut length = 0;
    loop {
        match take::<1>(stream)? {
            [b':'] => break,
            [digit] => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let text = take_all(stream, length + 1)?;
    let words: Vec<&[u8]> = text.split(|&byte| byte == 0).collect();
    Ok(words.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect())
}

fn take<const SIZE: usize>(stream: &mut TcpStream) -> io::Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take_all(stream: &mut TcpStream, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
