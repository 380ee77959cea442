//! Whole requests in virtual time: facts and replies in, actions out.

use super::*;
use crate::args::Ignored;
use crate::distribution::{Distribution, Node, Rule};
use crate::lease::{Asker, NoLease};
use crate::memcached::{Buffers, Item, LongKeys, Protocol};
use crate::outcome::Status;
use crate::page::{Etag, Fields, Format, PageRules, Seconds};
use crate::policy::KeyRules;
use crate::purge::{Mark, Noted, Validity};
use std::cell::RefCell;
use std::rc::Rc;

mod age;
mod any;
mod cookies;
mod filling;
mod purged;
mod refresh;
mod stale;
mod waiting;

const NOW: Msec = 1_000;

/// A request, and which of its facts were asked for.
#[derive(Debug, Clone)]
struct Request {
    method: Method,
    bypass: Vec<Option<&'static str>>,
    args: &'static str,
    path: &'static str,
    has_own_target: bool,
    key: Option<Vec<u8>>,
    accept_encoding: Vec<&'static str>,
    is_main: bool,
    is_abandoned: bool,
    is_for_visitors_alone: bool,
    no_lease: Option<NoLease>,
    no_lease_with_cookie: bool,
    no_wait: bool,
    no_wait_with_cookie: bool,
    is_ending: bool,
    no_refresh: bool,
    fields: Vec<(&'static str, &'static str)>,
    validity: Validity,
    marks: Option<Marks>,
    /// The server and the mark of each page whose validity was asked for.
    noted: RefCell<Vec<(usize, Option<Mark>)>>,
    asked: RefCell<Vec<&'static str>>,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            method: Method::Get,
            bypass: Vec::new(),
            args: "",
            path: "/page",
            has_own_target: true,
            key: Some(b"/page".to_vec()),
            accept_encoding: Vec::new(),
            is_main: true,
            is_abandoned: false,
            is_for_visitors_alone: false,
            no_lease: None,
            no_lease_with_cookie: false,
            no_wait: false,
            no_wait_with_cookie: false,
            is_ending: false,
            no_refresh: false,
            fields: Vec::new(),
            validity: Validity::Valid,
            marks: None,
            noted: RefCell::default(),
            asked: RefCell::default(),
        }
    }
}

impl Request {
    fn asked(&self, what: &'static str) {
        self.asked.borrow_mut().push(what);
    }
}

impl Facts for Request {
    type Text = Vec<u8>;

    fn method(&self) -> Method {
        self.method
    }
    fn bypass(&self) -> impl Iterator<Item = Option<Vec<u8>>> {
        self.bypass.iter().map(|value| {
            self.asked("bypass");
            value.map(|value| value.as_bytes().to_vec())
        })
    }
    fn args(&self) -> Vec<u8> {
        self.asked("args");
        self.args.as_bytes().to_vec()
    }
    fn path(&self) -> Vec<u8> {
        self.asked("path");
        self.path.as_bytes().to_vec()
    }
    fn has_own_target(&self) -> bool {
        self.has_own_target
    }
    fn key(&self) -> Option<Vec<u8>> {
        self.asked("key");
        self.key.clone()
    }
    fn accept_encoding(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.accept_encoding.iter().map(|field| field.as_bytes())
    }
    fn validity(&self, server: usize, _: &Key, noted: &Noted<'_>) -> Validity {
        self.noted.borrow_mut().push((server, noted.mark));
        self.validity
    }
    fn marks(&self) -> Option<Marks> {
        self.marks.clone()
    }
    fn is_main(&self) -> bool {
        self.is_main
    }
    fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }
    fn seconds_since(&self, date: &[u8]) -> Option<u64> {
        std::str::from_utf8(date).ok()?.strip_suffix(" s ago")?.parse().ok()
    }
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let fields = [("Host", "a.example")].into_iter().chain(self.fields.iter().copied());
        fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }
    fn asker(&self) -> Asker<'_> {
        Asker {
            method: self.method,
            has_body: false,
            is_for_nginx: false,
            host: b"a.example",
            sent_path: self.path.as_bytes(),
            written_path: self.path.as_bytes().into(),
            has_ignored_args: false,
        }
    }
    fn refuse_wait(&self, _: usize, _: &Key, has_cookie: bool) -> bool {
        self.no_wait || has_cookie && self.no_wait_with_cookie
    }
    fn is_ending(&self, _: usize, _: &Key, _: Seconds, _: Seconds) -> bool {
        self.asked("is_ending");
        self.is_ending
    }
    fn refuse_refresh(&self, _: usize, _: &Key) -> bool {
        self.no_refresh
    }
    fn is_for_visitors_alone(&self, _: usize, _: &Key) -> bool {
        self.is_for_visitors_alone
    }
    fn refuse_lease(&self, _: usize, _: &Key) -> Option<NoLease> {
        self.no_lease
    }
    fn is_uncacheable_with_cookie(&self, _: usize, _: &Key) -> bool {
        self.no_lease_with_cookie
    }
}

fn policy() -> Policy {
    Policy {
        key: KeyRules::of("$uri"),
        ignored_args: Rc::default(),
        long_keys: LongKeys::Sha256,
        head: true,
        connect_timeout: 100,
        timeout: 250,
        protocol: None,
        max_size: 1_000,
        pages: PageRules::default(),
        unpacks_gzip: false,
        etag: true,
        ignores_client_abort: false,
        leases: None,
        looks_at_purges: false,
        store: None,
    }
}

fn one_server() -> Cluster {
    Cluster { distribution: None, is_down: vec![false], protocol: Protocol::Meta }
}

impl Flow {
    fn reply<'value>(
        &mut self,
        found: Result<Found<'value>, Reason>,
        facts: &Request,
        policy: &Policy,
    ) -> Action<'value> {
        match self.is_asking_lease() {
            false => self.resumed(found, facts, policy, &one_server()),
            true => self.lease_asked(found, None, facts, policy),
        }
    }
}

fn begin(request: &Request, policy: &Policy) -> (Flow, Action<'static>) {
    let mut flow = Flow::default();
    let action = flow.begin(request, policy, &one_server(), NOW);
    (flow, action)
}

/// The reason for which a request is not looked up.
#[track_caller]
fn refusal(request: &Request, policy: &Policy) -> Reason {
    let (flow, action) = begin(request, policy);
    let Action::FallThrough(reason) = action else { panic!("{action:?}") };
    assert_eq!(flow.outcome(), Some(Outcome::Fallthrough(reason)));
    assert_eq!(flow.took(), None);
    reason
}

fn found(item: Item, value: &[u8]) -> Result<Found<'_>, Reason> {
    Ok(Found { item, value, shared: None })
}

/// A flow that looks a page up.
fn looking_up(request: &Request, policy: &Policy) -> Flow {
    let (flow, action) = begin(request, policy);
    assert!(matches!(action, Action::Perform(_)), "{action:?}");
    assert_eq!(flow.outcome(), None);
    flow
}

/// The action that follows a reply.
fn reply<'value>(
    found: Result<Found<'value>, Reason>,
    request: &Request,
    policy: &Policy,
) -> (Flow, Action<'value>) {
    let mut flow = looking_up(request, policy);
    flow.completed(3_000);
    let action = flow.reply(found, request, policy);
    (flow, action)
}

#[track_caller]
fn served<'value>(found: Result<Found<'value>, Reason>, request: &Request) -> Response<'value> {
    match reply(found, request, &policy()) {
        (flow, Action::Serve(response)) => {
            assert_eq!(flow.outcome(), Some(Outcome::Hit));
            response
        }
        (_, action) => panic!("{action:?}"),
    }
}

#[track_caller]
fn fell_through(found: Result<Found<'_>, Reason>, request: &Request, policy: &Policy) -> Reason {
    match reply(found, request, policy) {
        (flow, Action::FallThrough(reason)) => {
            assert_eq!(flow.outcome(), Some(Outcome::Fallthrough(reason)));
            reason
        }
        (_, action) => panic!("{action:?}"),
    }
}

#[test]
fn a_page_is_looked_up_within_its_budgets() {
    let (flow, action) = begin(&Request::default(), &policy());
    let Action::Perform(lookup) = action else { panic!("{action:?}") };
    assert_eq!(flow.key().unwrap().as_bytes(), b"/page");
    assert_eq!((lookup.server, lookup.protocol), (0, Protocol::Meta));
    assert_eq!(
        (lookup.deadline, lookup.connect_timeout, lookup.get.max_size),
        (NOW + 250, 100, 1_000)
    );
    assert_eq!((flow.server(), flow.place()), (Some(0), Some((0, flow.key().unwrap()))));
    let classic = Policy { protocol: Some(Protocol::Classic), ..policy() };
    let (_, action) = begin(&Request::default(), &classic);
    assert!(matches!(action, Action::Perform(lookup) if lookup.protocol == Protocol::Classic));
}

#[test]
fn other_methods_are_not_looked_up() {
    let of = |method| Request { method, ..Request::default() };
    assert_eq!(refusal(&of(Method::Other), &policy()), Reason::Method);
    looking_up(&of(Method::Head), &policy());
    let get_only = Policy { head: false, ..policy() };
    let head = of(Method::Head);
    assert_eq!(refusal(&head, &get_only), Reason::Method);
    assert!(head.asked.borrow().is_empty(), "nothing else was computed");
}

#[test]
fn the_first_condition_that_holds_bypasses() {
    let of =
        |bypass: &[Option<&'static str>]| Request { bypass: bypass.to_vec(), ..Request::default() };
    looking_up(&of(&[Some(""), Some("0")]), &policy());
    for value in ["1", "00", "false", " "] {
        assert_eq!(refusal(&of(&[Some(""), Some(value)]), &policy()), Reason::Bypass);
    }
    assert_eq!(refusal(&of(&[None]), &policy()), Reason::Overload);
    let two = of(&[Some("1"), None]);
    assert_eq!(refusal(&two, &policy()), Reason::Bypass);
    assert_eq!(*two.asked.borrow(), ["bypass"]);
}

#[test]
fn an_argument_that_the_key_lacks_is_not_looked_up() {
    let request = Request { args: "page=2", ..Request::default() };
    assert_eq!(refusal(&request, &policy()), Reason::Args);
    let ignored = Rc::new(Ignored::parse([&b"page"[..]]).unwrap());
    looking_up(&request, &Policy { ignored_args: ignored, ..policy() });
    let whole = Policy { key: KeyRules::of("$uri$pagecache_args"), ..policy() };
    looking_up(&request, &whole);
}

#[test]
fn ambiguous_keys_are_not_looked_up() {
    let foreign = Request { has_own_target: false, ..Request::default() };
    let by_target = Policy { key: KeyRules::of("$request_uri"), ..policy() };
    assert_eq!(refusal(&foreign, &by_target), Reason::NoKey);
    looking_up(&foreign, &policy());
    let question_mark = Request { path: "/a?b", ..Request::default() };
    let ambiguous = Policy { key: KeyRules::of("$uri$pagecache_args"), ..policy() };
    assert_eq!(refusal(&question_mark, &ambiguous), Reason::NoKey);
    looking_up(&question_mark, &policy());
}

#[test]
fn a_key_that_memcached_does_not_accept() {
    let of = |key: Option<Vec<u8>>| Request { key, ..Request::default() };
    assert_eq!(refusal(&of(Some(Vec::new())), &policy()), Reason::NoKey);
    assert_eq!(refusal(&of(None), &policy()), Reason::Overload);
    let long = of(Some(vec![b'k'; 251]));
    looking_up(&long, &policy());
    let bypass = Policy { long_keys: LongKeys::Bypass, ..policy() };
    assert_eq!(refusal(&long, &bypass), Reason::LongKey);
}

#[test]
fn each_key_has_one_server_and_one_that_is_down_has_no_substitute() {
    let nodes = [Node { name: "a:1", weight: 1 }, Node { name: "b:1", weight: 1 }];
    let rule = Rule::parse("modula", Some("crc")).or_else(|_| Rule::parse("rendezvous", None));
    let cluster = Cluster {
        distribution: Some(Distribution::new(rule.unwrap(), &nodes)),
        is_down: vec![false, true],
        protocol: Protocol::Meta,
    };
    let mut asked = [0, 0];
    for number in 0..100 {
        let key = Some(format!("/page/{number}").into_bytes());
        let request = Request { key, ..Request::default() };
        let mut flow = Flow::default();
        let action = flow.begin(&request, &policy(), &cluster, NOW);
        let server = flow.server().unwrap();
        asked[server] += 1;
        match action {
            Action::Perform(lookup) => assert_eq!((lookup.server, server), (0, 0)),
            action => assert_eq!((action, server), (Action::FallThrough(Reason::Down), 1)),
        }
    }
    assert!(asked.iter().all(|&count| count > 10), "{asked:?}");
}

#[test]
fn a_refused_lookup_falls_through_and_took_no_time() {
    for (why, reason) in
        [(OperationError::Down, Reason::Down), (OperationError::Overload, Reason::Overload)]
    {
        let mut flow = looking_up(&Request::default(), &policy());
        assert_eq!(flow.refused(why), Action::FallThrough(reason));
        assert_eq!((flow.outcome(), flow.took()), (Some(Outcome::Fallthrough(reason)), None));
    }
}

#[test]
fn a_bare_body_is_a_page() {
    let item = Item { ttl: Some(60), ..Item::default() };
    let (flow, action) = reply(found(item, b"<p>page</p>"), &Request::default(), &policy());
    let Action::Serve(response) = action else { panic!("{action:?}") };
    assert_eq!((response.page.status, response.body), (200, &b"<p>page</p>"[..]));
    assert_eq!(response.etag, Some(Etag::of(b"<p>page</p>")));
    assert_eq!(flow.took(), Some(3_000));
    assert_eq!(flow.cache_status(false).unwrap(), "nginx; hit; ttl=60");
}

#[test]
fn items_that_are_not_pages_fall_through() {
    let request = Request::default();
    let stale = Item { is_stale: true, ..Item::default() };
    let pickle = Item { flags: 1, ..Item::default() };
    let http =
        Policy { pages: PageRules { format: Format::Http, ..PageRules::default() }, ..policy() };
    for (found, policy, reason) in [
        (found(Item::default(), b""), policy(), Reason::Absent),
        (found(stale, b"old"), policy(), Reason::Stale),
        (found(pickle, b"a pickle"), policy(), Reason::Flags),
        (found(Item::default(), b"no head"), http, Reason::Format),
        (Err(Reason::Absent), policy(), Reason::Absent),
        (Err(Reason::Timeout), policy(), Reason::Timeout),
    ] {
        assert_eq!(fell_through(found, &request, &policy), reason);
    }
}

#[test]
fn each_failure_of_a_lookup_has_its_reason() {
    for (failure, status) in [
        (OperationError::TooLarge, Status::Miss),
        (OperationError::Timeout, Status::Error),
        (OperationError::Connect, Status::Error),
        (OperationError::Reset, Status::Error),
        (OperationError::Protocol, Status::Error),
        (OperationError::Down, Status::Error),
        (OperationError::Overload, Status::Error),
    ] {
        let reason = fell_through(Err(failure.into()), &Request::default(), &policy());
        assert_eq!(reason.status(), status, "{failure:?}");
    }
}

/// A body that begins as gzip does, and has room for gzip's header and trailer.
const GZIP: [u8; 18] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn gzip_is_sent_to_clients_that_accept_it_or_unpacked() {
    let pages = PageRules { gzip_flag: Some(2), ..PageRules::default() };
    let (packed, unpacks) = (
        Policy { pages: pages.clone(), ..policy() },
        Policy { pages, unpacks_gzip: true, ..policy() },
    );
    let item = Item { flags: 2, ..Item::default() };
    let plain = Request::default();
    let takes = Request { accept_encoding: vec!["br, gzip"], ..Request::default() };
    assert_eq!(fell_through(found(item, &GZIP), &plain, &packed), Reason::Format);
    for (request, policy) in [(&takes, &packed), (&takes, &unpacks), (&plain, &unpacks)] {
        let (_, action) = reply(found(item, &GZIP), request, policy);
        let Action::Serve(response) = action else { panic!("{action:?}") };
        assert!(response.is_coded() && response.adds_gzip());
    }
}

#[test]
fn only_a_visitor_s_untagged_200_gets_a_tag() {
    let http = |head: &str| format!("HTTP/1.1 {head}\r\n\r\npage").into_bytes();
    let policy =
        Policy { pages: PageRules { format: Format::Http, ..PageRules::default() }, ..policy() };
    let has_tag = |value: &[u8], request: &Request, policy: &Policy| match reply(
        found(Item::default(), value),
        request,
        policy,
    )
    .1
    {
        Action::Serve(response) => response.etag.is_some(),
        action => panic!("{action:?}"),
    };
    let visitor = Request::default();
    assert!(has_tag(&http("200 OK"), &visitor, &policy));
    assert!(!has_tag(&http("404 Not Found"), &visitor, &policy));
    assert!(!has_tag(&http("200 OK\r\nETag: \"own\""), &visitor, &policy));
    let subrequest = Request { is_main: false, ..Request::default() };
    assert!(!has_tag(&http("200 OK"), &subrequest, &policy));
    assert!(!has_tag(&http("200 OK"), &visitor, &Policy { etag: false, ..policy }));
}

#[test]
fn a_shared_buffer_has_the_tag_of_a_body_of_its_own() {
    let buffer = Buffers::new(usize::MAX).buffer(4, b"page").unwrap();
    let shared = Found { item: Item::default(), value: &buffer, shared: Some(&buffer) };
    let of_shared = served(Ok(shared), &Request::default()).etag;
    assert_eq!(of_shared, served(found(Item::default(), b"page"), &Request::default()).etag);
}

#[test]
fn a_client_that_has_left_gets_no_response() {
    let left = Request { is_abandoned: true, ..Request::default() };
    let (flow, action) = reply(found(Item::default(), b"page"), &left, &policy());
    assert_eq!((action, flow.outcome()), (Action::Drop, Some(Outcome::Hit)));
    // the application may still use the request
    assert_eq!(fell_through(Err(Reason::Absent), &left, &policy()), Reason::Absent);
}
