//! Owns gzip, the program, which compresses bodies as an application would and decompresses those that clients
//! receive.

use std::process::Command;

use crate::parts;
use crate::process::output_of;

pub fn pack(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    // Equal bytes give an equal body: no time, no name.
    piped(&["-9", "--no-name"], bytes.as_ref()).expect("gzip packs anything")
}

/// `None`: the bytes are not a whole gzip stream.
pub fn unpack(bytes: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    piped(&["--decompress"], bytes.as_ref())
}

fn piped(options: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let output = output_of(Command::new(parts::installed("gzip")).args(options), input);
    output.status.success().then_some(output.stdout)
}
