//! HTTP requests to the site. Each has a timeout, and none goes to a site that the command line does not name.

use super::origins::{Origins, stranger};
use crate::request::{Header, Origin, Url};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// Most bytes of a page, which is read to its end and discarded.
const MAX_PAGE: u64 = 256 << 20;
/// Redirects that are followed to a sitemap, at most.
const MAX_REDIRECTS: usize = 5;

/// The site, and the headers that are sent to it.
#[derive(Clone)]
pub struct Site {
    agent: Agent,
    origins: Arc<Origins>,
    headers: Vec<Header>,
    /// Name of the header that says HIT or MISS.
    cache_header: String,
}

/// Response to a request for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    pub status: u16,
    /// Value of the cache header.
    pub cache: Option<String>,
    /// Length of the body.
    pub bytes: u64,
}

impl Site {
    pub fn new(
        origins: Origins,
        headers: Vec<Header>,
        cache_header: &str,
        timeout: Duration,
    ) -> Site {
        // the machine's own store: the site may use a private certificate authority
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // ureq would send the headers to other sites as well
            .max_redirects(0)
            .user_agent(concat!("pagecachectl/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        Site {
            agent: config.into(),
            origins: Arc::new(origins),
            headers,
            cache_header: cache_header.to_owned(),
        }
    }

    /// Whether the command line names this site.
    pub fn may_ask(&self, origin: &Origin) -> bool {
        self.origins.have(origin)
    }

    /// Requests a page and reads it to its end: a page that is not read to its end might not be stored.
    ///
    /// # Errors
    /// There was no response, or it is incomplete.
    pub fn visit(&self, url: &str) -> Result<Visit, String> {
        let mut answer = self.request(url)?;
        let cache = answer.headers().get(&self.cache_header);
        let cache = cache.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let status = answer.status().as_u16();
        let mut body = answer.body_mut().with_config().limit(MAX_PAGE).reader();
        let bytes = io::copy(&mut body, &mut io::sink()).map_err(|error| error.to_string())?;
        Ok(Visit { status, cache, bytes })
    }

    /// The body of a sitemap; redirects are followed.
    ///
    /// # Errors
    /// There was no response with status 200, it is longer than `limit` bytes, or a redirect leads to another site.
    pub fn fetch(&self, url: &str, limit: u64) -> Result<Vec<u8>, String> {
        let mut url = url.to_owned();
        let mut answer = self.request(&url)?;
        for _ in 0..MAX_REDIRECTS {
            let Some(next) = moved(&answer, &url)? else { break };
            answer = self.request(&next)?;
            url = next;
        }
        if answer.status().as_u16() != 200 {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let mut bytes = Vec::new();
        let body = answer.body_mut().with_config().limit(limit + 1).reader();
        body.take(limit + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > limit {
            return Err(format!("more than {limit} bytes"));
        }
        Ok(bytes)
    }

    fn request(&self, url: &str) -> Result<ureq::http::Response<ureq::Body>, String> {
        let origin = Url::parse(url, None)?.origin.ok_or("is no URL")?;
        if !self.may_ask(&origin) {
            return Err(format!("\"{url}\" {}", stranger(&origin)));
        }
        let mut request = self.agent.get(url);
        for header in &self.headers {
            request = request.header(&header.name, &header.value);
        }
        request.call().map_err(|error| error.to_string())
    }
}

/// The target of a redirect. None for any other response.
fn moved<B>(answer: &ureq::http::Response<B>, url: &str) -> Result<Option<String>, String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
    let location = location.ok_or("a redirect without a URL")?;
    Ok(Some(Url::parse(url, None)?.join(location)))
}
