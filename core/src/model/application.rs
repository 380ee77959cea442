//! The application of the model: what it responds, and what it has rendered.

use super::plan::Kind;
use crate::memcached::{Key, Msec};

/// The languages of visitors.
pub const LANGUAGES: [&str; 3] = ["de", "en", "fr"];

/// What a visitor's requests have.
#[derive(Debug, Clone, Copy)]
pub struct Asks {
    pub language: &'static str,
    pub has_cookie: bool,
}

/// A page that the application makes.
#[derive(Debug, Clone)]
pub struct Page {
    pub kind: Kind,
    pub url: String,
    /// When the application itself has changed it, at last.
    pub changed: Option<Msec>,
}

/// A request to the application.
#[derive(Debug)]
pub struct Render {
    pub page: usize,
    pub language: &'static str,
    pub began: Msec,
    /// The request of nginx.
    pub request: u64,
    /// The lease with which it began: its key, and its number then.
    pub lease: Option<(Key, u64)>,
    pub status: u16,
    pub fields: Vec<(&'static str, &'static str)>,
    /// Its body ends before its end.
    pub is_cut: bool,
}

/// What the application has rendered, as it says in the body of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub page: usize,
    pub language: String,
    pub at: Msec,
    /// The number of the render. None: the application has stored the page itself.
    pub render: Option<usize>,
}

impl Render {
    /// The body of the response. `number`: of the render.
    pub fn body(&self, number: usize) -> String {
        format!("page {} in {} at {} by {number}", self.page, self.language, self.began)
    }
}

impl Text {
    /// Reads the body of a page.
    pub fn read(body: &[u8]) -> Text {
        let text = std::str::from_utf8(body).expect("a body of the application");
        let words: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let index = |at: usize| number(at) as usize;
        assert!(words.len() == 8 && words[0] == "page", "{text}");
        let render = (words[7] != "itself").then(|| index(7));
        Text { page: index(1), language: words[3].to_owned(), at: number(5), render }
    }

    /// What the application stores itself.
    pub fn of_its_own(page: usize, at: Msec) -> String {
        format!("page {page} in all at {at} by itself")
    }
}

/// The response to the request of this number: its status and fields.
pub fn respond(kind: Kind, number: usize) -> (u16, Vec<(&'static str, &'static str)>) {
    let html = ("Content-Type", "text/html");
    let lasting = ("Cache-Control", "max-age=100000");
    let short = ("Cache-Control", "max-age=2, stale-while-revalidate=10, stale-if-error=20");
    let vary = ("Vary", "Accept-Language");
    let is_odd = number % 2 == 1;
    match kind {
        Kind::Lasting => (200, vec![html, lasting]),
        Kind::Short => (200, vec![html, short]),
        Kind::Varying => (200, vec![html, lasting, vary]),
        Kind::Fickle if is_odd => (200, vec![html, short]),
        Kind::Fickle => (200, vec![html, short, vary]),
        Kind::Unsaid => (200, vec![html]),
        Kind::Private => (200, vec![html, ("Cache-Control", "private")]),
        Kind::Flaky if is_odd => (200, vec![html, short]),
        Kind::Failing | Kind::Flaky => (500, vec![html]),
    }
}
