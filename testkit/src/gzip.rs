//! Owns gzip, the program, which compresses bodies as an application would and decompresses those that clients
//! receive.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::parts;

pub fn pack(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    // Equal bytes give an equal body: no time, no name.
    piped(&["-9", "--no-name"], bytes.as_ref()).expect("gzip packs anything")
}

/// `None`: the bytes are not a whole gzip stream.
pub fn unpack(bytes: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    piped(&["--decompress"], bytes.as_ref())
}

fn piped(options: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut gzip = Command::new(parts::installed("gzip"))
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // gzip may stop reading input that it cannot decompress.
        scope.spawn(move || drop(stdin.write_all(input)));
        gzip.wait_with_output().unwrap()
    });
    output.status.success().then_some(output.stdout)
}
