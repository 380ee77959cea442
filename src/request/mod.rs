//! The way of one request through nginx. The decisions are in [`pagecache_core::flow`].
//!
//! ```text
//!   content_handler --- Action::FallThrough ---> fall_through
//!          |
//!     Action::Perform: the request is parked --- the client leaves ---> client_can_be_written_to, State::end
//!          |
//!   State::keep, resume --- Action::Serve ---> serve
//!          +--------------- Action::FallThrough ---> fall_through
//!          +--------------- Action::Drop ---> status 499
//! ```

mod commands;
mod facts;
pub mod fill;
mod invalidation;
mod lock;
mod lookup;
mod purge;
mod purged;
mod renewal;
pub mod request_headers;
mod serve;
pub mod state;
mod stored;
mod wait;

use crate::conf::{LocationConf, MainConf};
use crate::log;
use crate::peer::{Ended, Waiter};
use crate::settings::Settings;
use crate::sys::counted::Counted;
use crate::sys::process;
use crate::sys::raw::{
    NGX_DECLINED, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_GATEWAY_TIME_OUT,
    NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_http_event_handler_pt, ngx_http_request_t, ngx_int_t,
};
use crate::sys::request::Request;
use crate::waiters::Sleeper;
use crate::worker::{ConfigurationId, Workers};
use facts::RequestFacts;
use pagecache_core::flow::{Action, Flow};
use pagecache_core::memcached::{Buffers, Key, OperationError};
use pagecache_core::outcome::{Outcome, Reason};
use pagecache_core::waiting::Turn as Wake;
use serve::send;
use state::{Renewal, State, Stored, Waiting};
use std::mem::ManuallyDrop;

std::thread_local! {
    /// Not dropped as the process exits: nginx has freed the logs of the connections by then.
    static WORKERS: ManuallyDrop<Workers<Waiting>> = const { ManuallyDrop::new(Workers::new()) };
}

/// Frees what this process has for a configuration, when the process exits or the configuration is unloaded.
pub fn leave_worker(configuration: ConfigurationId) {
    WORKERS.with(|workers| workers.leave(configuration));
}

/// Stops counting the requests of a configuration, so that its shared memory can be freed.
pub fn leave_zone(main: &MainConf) {
    if let Some(worker) = WORKERS.with(|workers| workers.known(main.id)) {
        worker.leave_zone();
    }
    main.zone.leave();
}

/// nginx calls this when the socket of a parked request's client becomes writable. That is also how it reports that the
/// client has closed a stream of HTTP/2 or HTTP/3.
const ON_CLIENT_WRITE: ngx_http_event_handler_pt = Some(on_client_write);

/// What the request does after an action.
enum Turn {
    /// The request waits for memcached.
    Waits,
    /// The content handler returns this.
    Ends(ngx_int_t),
}

/// The content handler of locations with `pagecache_pass`.
pub unsafe extern "C" fn content_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a live request.
    unsafe { Request::enter(r, begin) }.unwrap_or(NGX_DECLINED as ngx_int_t)
}

fn begin(request: Request<'_>) -> ngx_int_t {
    let Some(settings) = request.location_conf().and_then(LocationConf::settings).cloned() else {
        return NGX_DECLINED as ngx_int_t;
    };
    let worker = WORKERS.with(|it| it.of(settings.configuration, &settings.zone));
    if purge::is_one(&request, &settings) {
        return purge::begin(request, settings, worker);
    }
    let renewal = State::of(&request).and_then(|state| state.take_renewal());
    let Some(state) = State::begin(&request, settings.clone(), worker) else {
        return to_fallback(&request, &settings, NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t);
    };
    if renewal.as_ref().is_some_and(|renewal| renewal.page.1.is_digest()) {
        state.remember_long_key(&request);
    }
    let (worker, long_key) = (state.worker(), state.long_key());
    let facts = RequestFacts { request: &request, settings: &settings, worker, long_key };
    let mut flow = Flow::default();
    let action = match (settings.upstream.cluster(), renewal) {
        (Some(cluster), Some(Renewal { lease, page, stale })) => {
            state.keep_stale(&stale);
            let found = (lease, stale.found());
            let (renewal, action) = Flow::renew(found, page, &facts, &settings.policy, cluster);
            if let Action::Drop = action {
                state.leave_to_visitors(&page);
            }
            flow = renewal;
            action
        }
        (Some(cluster), None) => flow.begin(&facts, &settings.policy, cluster, process::now()),
        // the configuration was not checked
        (None, renewal) => {
            if let Some(Renewal { lease, .. }) = renewal {
                state.give_back(lease, None);
            }
            flow.refused(OperationError::Down)
        }
    };
    state.set_flow(flow);
    match act(&request, &state, action, None) {
        Turn::Waits => request.park(ON_CLIENT_WRITE, settings.policy.ignores_client_abort),
        Turn::Ends(status) => status,
    }
}

impl Waiter for Waiting {
    fn keep(&self, ended: Ended<'_>, took: u64, buffers: &Buffers) {
        State::keep(self, ended, took, buffers);
    }

    fn resume(self) {
        // does nothing if the request has ended
        let _ = self.enter(|request| resume(request, &self, conclude));
    }
}

impl Sleeper for Waiting {
    fn wake(self, turn: Wake) {
        self.end_wait(turn);
        let is_over = turn == Wake::Over;
        // as in resume
        let _ = self.enter(|request| {
            resume(request, &self, |request, state| look_again(request, state, is_over));
        });
    }
}

unsafe extern "C" fn on_client_write(r: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a live request.
    unsafe { Request::enter(r, client_can_be_written_to) };
}

fn client_can_be_written_to(request: Request<'_>) {
    request.leave_output();
    if State::of(&request).is_some_and(|state| is_over(&request, &state)) {
        request.finalize(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
    }
}

/// Whether the client has left, and `pagecache_ignore_client_abort` is off.
fn is_over(request: &Request<'_>, state: &State) -> bool {
    request.is_abandoned() && !state.settings().policy.ignores_client_abort
}

/// Goes on with a request whose reply was kept, or that has waited. nginx reports a client that leaves only to the active
/// request of the connection, which may be a subrequest: so this one checks again, and ends instead of going to the
/// application.
fn resume(
    request: Request<'_>,
    state: &Waiting,
    go_on: impl FnOnce(&Request<'_>, &Waiting) -> Turn,
) {
    if !request.watches_client(ON_CLIENT_WRITE) {
        return;
    }
    request.name_in_log();
    request.ignore_client();
    let turn = match is_over(&request, state) {
        true => Turn::Ends(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t),
        false => go_on(&request, state),
    };
    match turn {
        Turn::Waits => {
            let goes_on = state.settings().policy.ignores_client_abort;
            request.watch_client(ON_CLIENT_WRITE, goes_on);
        }
        Turn::Ends(status) => request.finish(status),
    }
}

fn conclude(request: &Request<'_>, state: &Waiting) -> Turn {
    let settings = state.settings();
    if state.waits_for_log(state) {
        return Turn::Waits;
    }
    if state.decide(|flow| flow.key().is_some_and(Key::is_digest)) {
        state.remember_long_key(request);
    }
    let facts =
        RequestFacts { request, settings, worker: state.worker(), long_key: state.long_key() };
    let reply = state.take_reply();
    let found = reply.as_ref().map(|stored| stored.found()).map_err(|&reason| reason);
    let asks_lease = state.decide(|flow| flow.is_asking_lease());
    let stale = asks_lease.then(|| state.stale()).flatten();
    let (action, stored) = match (settings.upstream.cluster(), asks_lease) {
        (Some(_), true) => {
            let page = stale.as_deref().map(Stored::found);
            let policy = &settings.policy;
            let action = state.decide(|flow| flow.lease_asked(found, page, &facts, policy));
            (action, stale.as_ref())
        }
        (Some(cluster), false) => {
            let policy = &settings.policy;
            found.iter().for_each(|found| state.look_for_overdue(found));
            let action = state.decide(|flow| flow.resumed(found, &facts, policy, cluster));
            // a request that waits looks the page up again
            let is_kept = !matches!(action, Action::Serve(_) | Action::Wait(_));
            if let (Ok(stored), true) = (&reply, is_kept) {
                state.keep_stale(stored);
            }
            (action, reply.as_ref().ok())
        }
        (None, _) => (state.decide(|flow| flow.refused(OperationError::Down)), None),
    };
    if let Some(lease) = state.decide(Flow::take_unwanted_lease) {
        state.give_back(lease, None);
    }
    let without_cas = state.decide(|flow| flow.server_without_cas());
    if let Some(peer) = without_cas.and_then(|server| state.peer(server)) {
        peer.note_no_cas();
    }
    act(request, state, action, stored)
}

/// Goes on with a request that has waited for its page.
fn look_again(request: &Request<'_>, state: &Waiting, is_over: bool) -> Turn {
    let settings = state.settings();
    let facts =
        RequestFacts { request, settings, worker: state.worker(), long_key: state.long_key() };
    let now = process::now();
    let action = state.decide(|flow| match settings.upstream.cluster() {
        Some(cluster) => flow.woken(is_over, &facts, &settings.policy, cluster, now),
        None => flow.refused(OperationError::Down),
    });
    act(request, state, action, None)
}

/// Performs an action. `stored` is the item from which the page of [`Action::Serve`] was read.
fn act(
    request: &Request<'_>,
    state: &Waiting,
    action: Action<'_>,
    stored: Option<&Counted<Stored>>,
) -> Turn {
    state.tell_others(&action);
    match action {
        Action::Perform(lookup) => match lookup::start(request, state, lookup) {
            Ok(()) => Turn::Waits,
            Err(error) => {
                state.fail(error);
                conclude(request, state)
            }
        },
        Action::Wait(timeout) => match state.wait(state, timeout) {
            true => Turn::Waits,
            false => {
                let action = state.decide(|flow| flow.refused(OperationError::Overload));
                act(request, state, action, stored)
            }
        },
        Action::Serve(response) => {
            state.with_key(|key| log::served(request, key));
            count_served(state, response.body.len());
            let Some(stored) = stored else {
                return Turn::Ends(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t);
            };
            let status = send(request, &response, stored);
            // its client has the page already
            renewal::begin(request, state, stored);
            Turn::Ends(status)
        }
        Action::FallThrough(reason) => Turn::Ends(fall_through(request, state, reason)),
        Action::Refuse(reason) => {
            count(state, reason);
            Turn::Ends(NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t)
        }
        Action::Drop => Turn::Ends(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t),
    }
}

/// Leaves the request to the fallback, or to `error_page`. Returns what a content handler returns.
fn fall_through(request: &Request<'_>, state: &State, reason: Reason) -> ngx_int_t {
    let settings = state.settings();
    if !state.is_background() {
        count(state, reason);
        state.with_key(|key| log::fell_through(request, reason, key));
    }
    let fill = fill::hold_lease(request, state);
    if request_headers::tell(request, state, fill.as_ref()).is_none() {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    }
    to_fallback(request, settings, reason.http_status() as ngx_int_t)
}

/// Counts a request that is served with so many bytes.
fn count_served(state: &State, len: usize) {
    if let (Some(server), Some(outcome)) = (state.server(), state.outcome()) {
        state.worker().counter(server).count(outcome, len);
        state.observe_wait(true);
    }
}

/// Counts a request that is no hit.
fn count(state: &State, reason: Reason) {
    state.observe_wait(false);
    let outcome = Outcome::Fallthrough(reason);
    match state.server() {
        Some(server) => state.worker().counter(server).count(outcome, 0),
        None => state.worker().undecided(&state.settings().upstream).count(outcome, 0),
    }
}

/// `status` is for a location without a fallback.
fn to_fallback(request: &Request<'_>, settings: &Settings, status: ngx_int_t) -> ngx_int_t {
    settings.fallback.as_ref().map_or(status, |name| request.named_location(name))
}
