//! Memory that all workers share: a zone of nginx's, which outlives a reload, with one tally for each
//! worker and each name.
//!
//! Its size comes from the configuration. A reload that needs another size gets a new zone, into which
//! what was counted so far is copied.
//!
//! A worker claims its tallies, and only then takes the zone's lock. Claimed, a tally is written by its
//! worker alone, and read by whoever reports. When the worker leaves, it keeps its counts for the next
//! one that claims the name. Entries are never taken out, so readers need no lock.

use super::conf::ConfigContext;
use super::live::Live;
use super::pool::PoolBytes;
use super::process;
use super::raw::{
    NGX_ERROR, NGX_OK, ngx_int_t, ngx_shared_memory_add, ngx_shm_zone_t, ngx_shmtx_lock,
    ngx_shmtx_unlock, ngx_slab_calloc, ngx_slab_calloc_locked, ngx_slab_pool_t, ngx_str_t,
};
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use pagecache_core::stats::{Counters, Room, Tally};
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

/// A layout of its own for each version, as the name says.
const NAME: &str = concat!("pagecache_stats_", env!("CARGO_PKG_VERSION"));

/// Workers of the configuration before, which still have requests, count beside those of the new one.
const GENERATIONS: usize = 2;

/// The zone of one configuration. It is not there before it is added, nor once its memory may go.
#[derive(Clone, Default)]
pub struct Zone(Rc<Cell<Option<NonNull<ngx_shm_zone_t>>>>);

/// What a zone's data points to. It has no destructor: it is read as long as its configuration's pool
/// is there.
#[derive(Clone, Copy)]
struct Context {
    /// None before nginx has made the memory.
    directory: Option<NonNull<Directory>>,
    /// Of the configuration that is being replaced.
    old: Option<NonNull<Directory>>,
    /// Under which this configuration counts.
    names: *const [ngx_str_t],
}

/// Lists of entries, each of its names: few entries are read to find one.
const LISTS: usize = 1024;

/// What the zone begins with.
struct Directory {
    /// Seconds since the epoch.
    started: u64,
    /// The first entry of each list.
    lists: [AtomicPtr<Entry>; LISTS],
    /// Requests of workers that found no room for a tally.
    uncounted: AtomicU64,
    /// One of them has said so since the configuration was read.
    is_said: AtomicBool,
}

/// A tally and its name, whose bytes follow. The zone has the same address in all workers.
struct Entry {
    next: *mut Entry,
    /// The worker that writes to it; 0: nobody.
    owner: AtomicI32,
    name: *const u8,
    len: usize,
    tally: Tally,
}

/// A tally to which this worker writes, until it is released or its zone is not there.
pub struct Claim {
    entry: Cell<Option<NonNull<Entry>>>,
    zone: Zone,
}

/// Takes the zone away as the pool of its configuration goes.
struct Leaving(Zone);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Zone {
    /// Adds it to the configuration that has been read, whose workers count under `names`. Called
    /// once. None without memory.
    pub fn add(&self, cf: ConfigContext<'_>, names: &HashSet<&[u8]>) -> Option<()> {
        let tag = super::loaded::module().cast::<c_void>();
        let mut name = ngx_str_t { len: NAME.len(), data: NAME.as_ptr().cast_mut() };
        let pool = cf.pool()?;
        let copy = |name: &&[u8]| pool.copy(name).map(PoolBytes::as_text);
        let copies: Option<Vec<_>> = names.iter().map(copy).collect();
        let old = cf.old_zone(NAME, tag);
        let new = Context {
            directory: None,
            old: old.and_then(place),
            names: pool.copy_slice(&copies?)?,
        };
        let context = pool.put(new)?;
        pool.keep(Leaving(self.clone()))?;
        let size = size_of_zone(names, cf.workers(), old);
        // SAFETY: nginx keeps the name, which is static, and compares the tag. nginx keeps no reference to the zone.
        let zone =
            unsafe { Live::of(ngx_shared_memory_add(cf.as_ptr(), &raw mut name, size, tag))? };
        zone.change(context, |zone, context| {
            zone.init = Some(init);
            zone.data = context.as_ptr().cast();
        });
        self.0.set(Some(zone.place()));
        Some(())
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.0.get().is_some()
    }

    /// Nothing is read or counted any more: its memory may go.
    pub fn leave(&self) {
        self.0.set(None);
    }

    /// When counting began, in seconds since the epoch.
    pub fn started(&self) -> u64 {
        self.directory().map_or(0, |directory| directory.started)
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.live().map_or(0, size)
    }

    /// Requests of workers that found no room for a tally.
    pub fn uncounted(&self) -> u64 {
        self.directory().map_or(0, |directory| directory.uncounted.load(Ordering::Relaxed))
    }

    /// A request for which there is no tally.
    pub fn miss_out(&self) {
        if let Some(directory) = self.directory() {
            directory.uncounted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether nobody has said yet that there is no room; true once for each configuration.
    pub fn is_news(&self) -> bool {
        self.directory().is_some_and(|directory| !directory.is_said.swap(true, Ordering::Relaxed))
    }

    /// This worker's tally of a name. None if there is no room.
    pub fn claim(&self, name: &[u8]) -> Option<Claim> {
        let directory = self.directory()?;
        let lock = Lock::of(pool_of(self.live()?)?);
        let mut known = directory.list(name).filter(|entry| entry.name() == name);
        let entry = match known.find(|entry| !entry.is_owned()) {
            Some(entry) => {
                // its last worker may have crashed
                entry.tally.leave();
                entry
            }
            None => directory.insert(name, &lock)?,
        };
        entry.owner.store(process::id(), Ordering::Relaxed);
        Some(Claim { entry: Cell::new(Some(NonNull::from(entry))), zone: self.clone() })
    }

    /// What all workers have counted, by name.
    pub fn totals(&self) -> HashMap<&[u8], Counters<u64>> {
        // a worker that crashed has not said that it leaves
        self.directory().map(|directory| directory.totals(process::lives)).unwrap_or_default()
    }

    fn directory(&self) -> Option<&Directory> {
        directory_of(self.live()?)
    }

    fn live(&self) -> Option<Live<'_, ngx_shm_zone_t>> {
        // SAFETY: its configuration has it until leave is called. nginx keeps no reference to it.
        self.0.get().map(|zone| unsafe { Live::at(zone) })
    }
}

fn directory_of(zone: Live<'_, ngx_shm_zone_t>) -> Option<&Directory> {
    // SAFETY: it is in the zone's memory, and stays as long. What changes in it are atomics.
    place(zone).map(|place| unsafe { place.as_ref() })
}

/// None before nginx has made the memory.
fn place(zone: Live<'_, ngx_shm_zone_t>) -> Option<NonNull<Directory>> {
    // SAFETY: add has put a context there, which only begin changes.
    unsafe { Live::of(zone.read(|zone| zone.data).cast::<Context>()) }?.read(|it| it.directory)
}

/// nginx lays a slab pool into the zone's memory before it calls init.
fn pool_of(zone: Live<'_, ngx_shm_zone_t>) -> Option<Live<'_, ngx_slab_pool_t>> {
    // SAFETY: as above. nginx keeps no reference to it.
    unsafe { Live::of(zone.read(|zone| zone.shm.addr).cast()) }
}

fn size(zone: Live<'_, ngx_shm_zone_t>) -> usize {
    zone.read(|zone| zone.shm.size)
}

impl Directory {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lists.iter().flat_map(entries_from)
    }

    /// All entries of this name, and some others.
    fn list(&self, name: &[u8]) -> impl Iterator<Item = &Entry> {
        self.lists.get(list_of(name)).into_iter().flat_map(entries_from)
    }

    /// A tally of this name that nobody has. None if there is no room.
    fn insert(&self, name: &[u8], lock: &Lock<'_>) -> Option<&Entry> {
        let first = self.lists.get(list_of(name))?;
        let entry = lock.allocate::<Entry>(Entry::size(name))?;
        // SAFETY: it is new and of that size, nobody else knows it yet, and all zero is an entry.
        let entry = unsafe {
            let text = entry.add(1).cast::<u8>();
            text.as_ptr().copy_from_nonoverlapping(name.as_ptr(), name.len());
            (*entry.as_ptr()).name = text.as_ptr();
            (*entry.as_ptr()).len = name.len();
            (*entry.as_ptr()).next = first.load(Ordering::Relaxed);
            entry.as_ref()
        };
        first.store(NonNull::from(entry).as_ptr(), Ordering::Release);
        Some(entry)
    }

    /// Takes what was counted under `names` in another zone, without how things are there.
    fn take_over(&self, old: &Directory, names: &[ngx_str_t], lock: &Lock<'_>) {
        let mut totals = old.totals(|_| false);
        for name in names.iter().map(ngx_str_t::as_bytes) {
            let Some(counts) = totals.remove(name) else { continue };
            if let Some(entry) = self.insert(name, lock) {
                entry.tally.take_over(&counts);
            }
        }
        self.uncounted.store(old.uncounted.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// What all workers have counted, by name. `is_there` says whether there is a worker of a number.
    fn totals(&self, is_there: impl Fn(i32) -> bool) -> HashMap<&[u8], Counters<u64>> {
        let mut totals: HashMap<&[u8], Counters<u64>> = HashMap::new();
        let mut known = HashMap::new();
        for entry in self.entries() {
            let owner = entry.owner.load(Ordering::Acquire);
            let is_there = *known.entry(owner).or_insert_with(|| is_there(owner));
            totals.entry(entry.name()).or_default().add(&entry.tally, is_there);
        }
        totals
    }
}

/// Which list has a name.
fn list_of(name: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish() as usize % LISTS
}

fn entries_from(first: &AtomicPtr<Entry>) -> impl Iterator<Item = &Entry> {
    let mut next = first.load(Ordering::Acquire);
    core::iter::from_fn(move || {
        // SAFETY: an entry is whole before it is put into the list, and stays as long as the zone,
        // which the configuration keeps. What changes in it are atomics.
        let entry = unsafe { next.as_ref() }?;
        next = entry.next;
        Some(entry)
    })
}

impl Entry {
    /// Bytes that an entry of this name takes.
    fn size(name: &[u8]) -> usize {
        size_of::<Entry>() + name.len()
    }

    fn name(&self) -> &[u8] {
        // SAFETY: insert has written so many bytes there, and they stay as long as the entry.
        unsafe { core::slice::from_raw_parts(self.name, self.len) }
    }

    fn is_owned(&self) -> bool {
        process::lives(self.owner.load(Ordering::Acquire))
    }
}

impl Claim {
    /// The tally. None once it is released.
    pub fn tally(&self) -> Option<&Tally> {
        self.entry().map(|entry| &entry.tally)
    }

    /// Gives the tally up for the next worker.
    pub fn release(&self) {
        if let Some(entry) = self.entry() {
            entry.tally.leave();
            entry.owner.store(0, Ordering::Release);
        }
        self.entry.set(None);
    }

    fn entry(&self) -> Option<&Entry> {
        let entry = self.entry.get().filter(|_| self.zone.is_there())?;
        // SAFETY: the entry is in the zone, and what changes in it are atomics.
        Some(unsafe { entry.as_ref() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

/// The pool's lock, held until this is dropped.
struct Lock<'zone>(Live<'zone, ngx_slab_pool_t>);

impl<'zone> Lock<'zone> {
    fn of(pool: Live<'zone, ngx_slab_pool_t>) -> Lock<'zone> {
        // SAFETY: the zone's pool.
        unsafe { ngx_shmtx_lock(&raw mut (*pool.as_ptr()).mutex) };
        Lock(pool)
    }

    /// Zeroed memory of so many bytes, aligned for nginx's own structs. None if there is no room.
    fn allocate<T>(&self, size: usize) -> Option<NonNull<T>> {
        // SAFETY: the lock is held.
        NonNull::new(unsafe { ngx_slab_calloc_locked(self.0.as_ptr(), size) }.cast())
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // SAFETY: as in of.
        unsafe { ngx_shmtx_unlock(&raw mut (*self.0.as_ptr()).mutex) };
    }
}

/// Bytes of a zone for `names`, each counted by so many workers, where `old` is the one so far.
fn size_of_zone(
    names: &HashSet<&[u8]>,
    workers: usize,
    old: Option<Live<'_, ngx_shm_zone_t>>,
) -> usize {
    let page = process::page_size();
    let most = workers.saturating_mul(GENERATIONS);
    let mut wanted = Room::new(page);
    names.iter().for_each(|name| wanted.add(Entry::size(name), most));
    let old = old.map(|old| {
        let mut others = Room::new(page);
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        for entry in directory_of(old).into_iter().flat_map(Directory::entries) {
            let nth = known.entry(entry.name()).or_default();
            *nth += 1;
            if *nth > most || !names.contains(entry.name()) {
                others.add(Entry::size(entry.name()), 1);
            }
        }
        (size(old), others)
    });
    wanted.zone_size(old)
}

/// nginx calls this for each new configuration, with what the last one had if the zone stays.
unsafe extern "C" fn init(zone: *mut ngx_shm_zone_t, old: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx passes the zone, and the data of the zone of the same name, tag and size; both data are contexts,
    // which add wrote, and nobody else borrows the new one.
    let done = unsafe {
        let known = old.cast::<Context>().as_ref().and_then(|old| old.directory);
        let zone = Live::of(zone);
        zone.and_then(|zone| {
            let context = zone.read(|zone| zone.data).cast::<Context>().as_mut()?;
            begin(context, pool_of(zone)?, known)
        })
    };
    if done.is_some() { NGX_OK as ngx_int_t } else { NGX_ERROR as ngx_int_t }
}

/// Finds the directory, or makes one. None without room.
fn begin(
    context: &mut Context,
    pool: Live<'_, ngx_slab_pool_t>,
    known: Option<NonNull<Directory>>,
) -> Option<()> {
    let known = known.or(NonNull::new(pool.read(|pool| pool.data).cast::<Directory>()));
    if let Some(known) = known {
        // SAFETY: it is in the zone's memory, where an earlier call has put it.
        unsafe { known.as_ref() }.is_said.store(false, Ordering::Relaxed);
        context.directory = Some(known);
        return Some(());
    }
    // SAFETY: nginx does not free the zone and the pool of a configuration before it has replaced it.
    let (old, names) = unsafe {
        (context.old.map(|old| old.as_ref()), context.names.as_ref().unwrap_or_default())
    };
    let new = Directory {
        started: old.map_or_else(process::seconds, |old| old.started),
        lists: [const { AtomicPtr::new(null_mut()) }; LISTS],
        uncounted: AtomicU64::new(0),
        is_said: AtomicBool::new(false),
    };
    // nginx would log each allocation that fails; this module logs the first
    pool.change(0, ngx_slab_pool_t::set_log_nomem);
    // SAFETY: the zone's pool, of which nobody else knows yet; what it gives is aligned.
    let place = unsafe {
        let place = ngx_slab_calloc(pool.as_ptr(), size_of::<Directory>()).cast::<Directory>();
        let place = NonNull::new(place)?;
        place.write(new);
        place.as_ref()
    };
    pool.change(place, |pool, place| pool.data = (&raw const *place).cast_mut().cast());
    if let Some(old) = old {
        place.take_over(old, names, &Lock::of(pool));
    }
    context.directory = Some(NonNull::from(place));
    Some(())
}
