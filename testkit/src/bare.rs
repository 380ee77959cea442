//! Owns an nginx with an `http {}` that the test writes, in a prefix of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::http::{Client, Request, Response};
use crate::nginx::Nginx;
use crate::{directives, ports, prefix};

/// nginx ends before its folder is removed.
pub struct Bare {
    pub nginx: Nginx,
    prefix: TempDir,
}

impl Bare {
    /// `main` is written outside of all blocks, `http` into `http {}`; `@LISTEN@` is the address to listen on, and
    /// `@PREFIX@` the folder. `files` are written beside the configuration.
    #[track_caller]
    pub fn start(main: &str, http: &str, files: &[(&str, &str)]) -> Bare {
        let prefix = prefix();
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let place = |text: &str| {
            let text = text.replace("@LISTEN@", &address.to_string());
            text.replace("@PREFIX@", &prefix.path().display().to_string())
        };
        for (name, text) in files {
            fs::write(prefix.path().join(name), place(text)).unwrap();
        }
        let configuration = format!(
            "{main}
             {foreground}
             error_log @PREFIX@/error.log info;
             events {{ }}
             http {{
                 access_log off;
                 {temp_paths}
                 {http}
             }}\n",
            foreground = directives::foreground("@PREFIX@"),
            temp_paths = directives::temp_paths("@PREFIX@"),
        );
        let nginx = Nginx::start(prefix.path(), &place(&configuration), address);
        Bare { nginx, prefix }
    }

    pub fn address(&self) -> SocketAddr {
        self.nginx.address()
    }

    /// The path of the configuration.
    pub fn file(&self) -> PathBuf {
        self.prefix.path().join("nginx.conf")
    }

    /// Sends one request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Response {
        Client::connect(self.address()).ask(request)
    }
}
