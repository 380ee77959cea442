//! Owns what the tests run: the tool itself, and an nginx with the module. The testkit has all else.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use pagecache_testkit::process::output_of;
use pagecache_testkit::{Bare, SINGLE_PROCESS, parts};
use serde_json::Value;

/// What a run of the tool left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// The objects that were printed.
    pub fn json(&self) -> Vec<Value> {
        self.lines().into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs the tool.
#[track_caller]
pub fn ctl<A: AsRef<OsStr>>(arguments: &[A]) -> Ran {
    ctl_with_input(arguments, b"")
}

/// The same, with something on its standard input.
#[track_caller]
pub fn ctl_with_input<A: AsRef<OsStr>>(arguments: &[A], input: &[u8]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagecachectl"));
    let output = output_of(command.args(arguments), input);
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked"), "{err}");
    Ran { code: output.status.code().unwrap(), out: output.stdout, err }
}

/// Runs the tool on a terminal. Returns what that would have shown.
#[track_caller]
pub fn ctl_on_terminal(arguments: &[&str]) -> Vec<u8> {
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', "'\\''"));
    let program = env!("CARGO_BIN_EXE_pagecachectl");
    let words: Vec<String> = [&[program], arguments].concat().iter().map(quoted).collect();
    let output = Command::new(parts::installed("script"))
        .args(["--quiet", "--command", &words.join(" "), "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A real nginx with the module, and this in its `http {}`. `files` stand beside the configuration.
#[track_caller]
pub fn nginx(http: &str, files: &[(&str, &str)]) -> Bare {
    let main = format!("load_module {};\n{SINGLE_PROCESS}", parts::module().display());
    Bare::start(&main, http, files)
}
