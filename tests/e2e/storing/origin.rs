//! Owns an origin server that does what no real one does: it cuts its responses, says wrong lengths, and waits in the
//! middle of a body. It is the scripted memcached of the testkit, which answers each line that it receives: here, the
//! request lines.

use crate::harness::*;

pub struct Origin {
    fake: Fake,
}

impl Origin {
    /// Answers each request with the steps that `script` returns for its target.
    pub fn start(script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> Origin {
        Origin {
            fake: Fake::start(move |line| match is_request(line) {
                true => script(&line.key_text()),
                false => Vec::new(),
            }),
        }
    }

    /// The directives of a location that passes requests on to it over HTTP/1.1.
    pub fn pass(&self) -> String {
        format!(
            "proxy_http_version 1.1; proxy_set_header Connection close; proxy_pass http://{};",
            self.fake.address()
        )
    }

    /// The number of requests for a target.
    pub fn count(&self, target: &str) -> usize {
        let lines = self.fake.lookups();
        lines.iter().filter(|line| is_request(line) && line.key_text() == target).count()
    }
}

fn is_request(line: &Lookup) -> bool {
    line.line.ends_with(b" HTTP/1.1")
}

/// A response that may be stored, with these lines in its head and this after it.
pub fn response(lines: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=600\r\n";
    [head.as_bytes(), lines.as_bytes(), b"\r\n", body.as_ref()].concat()
}
