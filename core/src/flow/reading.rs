//! What an item that was found comes to: a page with all that its response needs, or the reason why there is none.

use super::facts::Facts;
use crate::memcached::{Buffer, Item, Key};
use crate::outcome::Reason;
use crate::page::{Coding, Etag, Page, Response, Staleness};
use crate::policy::Policy;
use crate::purge::{Noted, Validity};

/// An item that memcached returned. The driver keeps its value.
#[derive(Debug, Clone, Copy)]
pub struct Found<'value> {
    /// What memcached returned beside the value.
    pub item: Item,
    /// Its value.
    pub value: &'value [u8],
    /// The buffer with the value, if other requests share it.
    pub shared: Option<&'value Buffer>,
}

/// A page, fresh or not.
#[derive(Debug)]
pub struct Read<'value> {
    /// The page as a response.
    pub response: Response<'value>,
    /// How stale it is, if it is.
    pub staleness: Option<Staleness>,
    /// It is stale since it was purged.
    pub is_purged: bool,
    /// Seconds for which it remains fresh.
    pub fresh_for: Option<u32>,
}

impl<'value> Read<'value> {
    /// Why the page is not fresh, if it is not.
    pub fn stale_reason(&self) -> Reason {
        if self.is_purged { Reason::Purged } else { Reason::Stale }
    }

    /// Reads an item for a request, whose client reads the page.
    ///
    /// # Errors
    /// Why there is no page for it.
    pub fn for_client(
        found: Found<'value>,
        at: Option<(usize, &Key)>,
        facts: &impl Facts,
        policy: &Policy,
    ) -> Result<Read<'value>, Reason> {
        let read = Read::of(found, at, facts, policy)?;
        let coding = &read.response.page.coding;
        let is_unpacked = *coding == Coding::Gzip && policy.unpacks_gzip;
        match is_unpacked || coding.is_accepted_by(facts.accept_encoding()) {
            true => Ok(read),
            false => Err(Reason::Format),
        }
    }

    /// Reads an item for a request, whose page has this key; the item is on the server of this index. It is known that the
    /// client reads the page.
    ///
    /// # Errors
    /// Why there is no page.
    pub fn of(
        found: Found<'value>,
        at: Option<(usize, &Key)>,
        facts: &impl Facts,
        policy: &Policy,
    ) -> Result<Read<'value>, Reason> {
        let Found { item, value, .. } = found;
        let of_value = |value| facts.page_of(&item, value);
        let (page, mut staleness) = policy.pages.read_by(&item, value, of_value)?;
        let noted = Noted::read(page.note).filter(|_| policy.looks_at_purges);
        let validity = match (noted, at) {
            (None, _) => Validity::Valid,
            (Some(noted), Some((server, key))) => facts.validity(server, key, &noted),
            // nothing was looked up
            (Some(_), None) => Validity::Soft,
        };
        match validity {
            Validity::Valid => {}
            Validity::Soft => staleness = Some(Staleness::marked(&page, staleness)),
            Validity::Hard => return Err(Reason::Purged),
        }
        // a value that ends before its body begins would be served as an empty page
        let (head, body) = value.split_at_checked(page.body.start).ok_or(Reason::Format)?;
        let fresh_for = page.fresh_for(item.ttl);
        let dated = || facts.seconds_since(page.header("date")?);
        let age = page.age(item.ttl, dated);
        let is_tagged = page.header("etag").is_some();
        let wants_tag = policy.etag && facts.is_main() && page.status == 200 && !is_tagged;
        let etag = wants_tag.then(|| etag(&found, &page, head, body));
        let is_purged = validity != Validity::Valid;
        Ok(Read { response: Response { page, body, etag, age }, staleness, is_purged, fresh_for })
    }
}

/// The ETag of a page. A marked item with a cas number: its flags and cas identify the version. Any other: a hash of the body.
fn etag(found: &Found<'_>, page: &Page<'_>, head: &[u8], body: &[u8]) -> Etag {
    match (page.life, found.item.cas, found.shared) {
        (Some(_), Some(cas), _) => page
            .version_etag
            .unwrap_or_else(|| Etag::of_version(found.item.flags, cas, head, body.len())),
        (_, _, Some(buffer)) => Etag::of_shared(buffer, head.len()),
        (_, _, None) => Etag::of(body),
    }
}
