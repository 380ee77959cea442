//! Whether what a lookup has found may be served, as far as purges are concerned: the purge log of its server is known as it
//! was before, or is read.

use super::state::{State, Waiting};
use crate::peer::Waiter;
use crate::purge_log::{Limits, PurgeLog};
use crate::sys::request::Request;
use pagecache_core::flow::Found;
use pagecache_core::memcached::Recache;
use pagecache_core::outcome::Reason;
use pagecache_core::page::Page;
use pagecache_core::purge::Noted;
use std::rc::Rc;

impl State {
    /// The purge log of a server. None where purges are not looked at.
    pub fn purge_log(&self, server: usize) -> Option<Rc<PurgeLog<Waiting>>> {
        let settings = self.settings();
        if !settings.policy.looks_at_purges {
            return None;
        }
        self.worker().purge_log(self.server_at(server)?, &settings.purge_zone)
    }

    /// Remembers the text of a long key, of which memcached has a digest, for the decisions, which must not have nginx compute
    /// variables. The fallback may rewrite the URI, and its variables are others then.
    pub fn remember_long_key(&self, request: &Request<'_>) {
        if self.settings().policy.looks_at_purges && self.long_key().is_none() {
            let text = request.evaluate(&self.settings().key);
            text.into_iter().for_each(|text| self.set_long_key(text));
        }
    }

    /// Whether the request goes on when the log is read. If the log cannot be read, what was found is of no use.
    pub fn waits_for_log(&self, me: &Waiting) -> bool {
        if !self.settings().policy.looks_at_purges || !self.needs_log() {
            return false;
        }
        match (self.log_read.take(), self.sample.get()) {
            (Some(Ok(())), _) => return false,
            (Some(Err(error)), _) => self.lose_reply(error.into()),
            // the version of the log was not read
            (None, None) => self.lose_reply(Reason::Protocol),
            (None, Some(sample)) => {
                let server = self.decide(|flow| flow.place().map(|(server, _)| server));
                let Some(log) = server.and_then(|server| self.purge_log(server)) else {
                    self.lose_reply(Reason::Protocol);
                    return false;
                };
                if log.is_current(sample) {
                    return false;
                }
                let waiter = me.clone();
                let begun = log.wait(Limits::of(&self.settings().policy), move |result| {
                    waiter.log_read.set(Some(result));
                    waiter.resume();
                });
                match begun {
                    Ok(()) => return true,
                    Err(error) => self.lose_reply(error.into()),
                }
            }
        }
        false
    }

    /// Whether the lookup has found a page, or has got a lease.
    fn needs_log(&self) -> bool {
        let reply = self.reply.take();
        let needs = reply.as_ref().is_some_and(|reply| {
            reply.as_ref().is_ok_and(|stored| {
                let found = stored.found();
                let is_of_use = !found.value.is_empty() || found.item.recache == Recache::Won;
                // a server without cas numbers has no logs, and gives no leases
                is_of_use && found.item.cas.is_some()
            })
        });
        self.reply.set(reply);
        needs
    }

    /// The log is not known. A page that notes none is served all the same. Any other is not, and a lease that came with it goes
    /// to another request.
    fn lose_reply(&self, reason: Reason) {
        if let Some(Ok(stored)) = self.reply.take() {
            if is_outside_of_logs(&stored.found()) {
                return self.reply.set(Some(Ok(stored)));
            }
            let lease = self.decide(|flow| flow.abandon(&stored.found()));
            if let Some(lease) = lease {
                self.give_back(lease, None);
            }
        }
        self.reply.set(Some(Err(reason)));
    }
}

/// Whether what was found is a page that nginx has not stored, and no lease has come with it.
fn is_outside_of_logs(found: &Found<'_>) -> bool {
    let notes_log =
        || Page::of_value(found.value).is_some_and(|page| Noted::read(page.note).is_some());
    !found.value.is_empty() && found.item.recache != Recache::Won && !notes_log()
}
