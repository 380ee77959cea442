//! Which page a request is for: its key, and the server that has it.

use super::facts::Facts;
use crate::memcached::Key;
use crate::outcome::Reason;
use crate::page::{Fields, Varies, Vary};
use crate::policy::{Cluster, Policy, is_met};
use crate::purge::Zone;

/// A variant of a page.
#[derive(Debug)]
pub struct Variant {
    /// Index of its server.
    pub server: usize,
    /// Its own key.
    pub key: Key,
    /// What selects it.
    pub vary: Vary,
    /// The number of the item of the page.
    pub page_cas: Option<u64>,
}

impl Variant {
    /// The variant of the page with this key that a request is for. Its item has this number.
    pub fn of(
        varies: &Varies,
        (primary, page_cas): (&Key, Option<u64>),
        facts: &impl Facts,
        cluster: &Cluster,
    ) -> Variant {
        let Varies { vary, generation } = varies;
        let fields: Vec<_> = facts.fields().collect();
        let key = vary.key(primary, *generation, Fields(&fields));
        Variant { server: cluster.server(&key), key, vary: vary.clone(), page_cas }
    }
}

/// The page that the request is for, as index of its server and key.
///
/// # Errors
/// [`Reason::Args`], [`Reason::NoKey`], [`Reason::LongKey`] or [`Reason::Overload`]: it has no key of its own.
pub fn place(
    facts: &impl Facts,
    policy: &Policy,
    cluster: &Cluster,
) -> Result<(usize, Key), Reason> {
    let mut key = Key::EMPTY;
    set_place(facts, policy, cluster, &mut key).map(|server| (server, key))
}

/// The page that the request is for: sets its key, and returns the index of its server.
///
/// # Errors
/// As of [`place`].
pub fn set_place(
    facts: &impl Facts,
    policy: &Policy,
    cluster: &Cluster,
    key: &mut Key,
) -> Result<usize, Reason> {
    let has_own_target = facts.has_own_target();
    let args = facts.args();
    let path = || facts.path();
    policy.key.check(args.as_ref(), &policy.ignored_args, has_own_target, path)?;
    let text = facts.key().ok_or(Reason::Overload)?;
    if Zone::is_reserved(text.as_ref()) {
        return Err(Reason::NoKey);
    }
    key.set(text.as_ref(), policy.long_keys)?;
    Ok(cluster.server(key))
}

/// Whether a condition of `pagecache_bypass` is met.
///
/// # Errors
/// [`Reason::Bypass`], or [`Reason::Overload`].
pub fn check_bypass(facts: &impl Facts) -> Result<(), Reason> {
    for condition in facts.bypass() {
        // a condition that cannot be computed might be met
        let value = condition.ok_or(Reason::Overload)?;
        if is_met(value.as_ref()) {
            return Err(Reason::Bypass);
        }
    }
    Ok(())
}
