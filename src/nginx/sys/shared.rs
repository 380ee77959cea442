//! Memory that all workers share: a zone of nginx's, which outlives a reload, with one tally for each
//! worker and each name.
//!
//! A worker claims its tallies, and only then takes the zone's lock. Claimed, a tally is written by its
//! worker alone, and read by whoever reports. When the worker leaves, it keeps its counts for the next
//! one that claims the name. Entries are never taken out, so readers need no lock.

use super::conf::Reading;
use super::process;
use super::raw::{
    NGX_ERROR, NGX_OK, ngx_int_t, ngx_shared_memory_add, ngx_shm_zone_t, ngx_shmtx_lock,
    ngx_shmtx_unlock, ngx_slab_calloc, ngx_slab_calloc_locked, ngx_slab_pool_t, ngx_str_t,
};
use crate::stats::{Numbers, Tally};
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::collections::HashMap;

/// A layout of its own for each version, as the name says.
const NAME: &str = concat!("pagecache_stats_", env!("CARGO_PKG_VERSION"));

/// Bytes: room for about 8,000 tallies, of which no more is used than there are.
const SIZE: usize = 4 << 20;

/// The zone of one configuration.
#[derive(Clone, Copy)]
pub struct Zone(NonNull<ngx_shm_zone_t>);

/// What the zone begins with.
struct Directory {
    /// Seconds since the epoch.
    started: u64,
    first: AtomicPtr<Entry>,
}

/// A tally and its name, whose bytes are in the zone too. The zone has the same address in all workers.
struct Entry {
    next: *mut Entry,
    /// The worker that writes to it; 0: nobody.
    owner: AtomicI32,
    name: *const u8,
    len: usize,
    tally: Tally,
}

/// A tally to which this worker writes, until it is released.
pub struct Claim(Cell<Option<NonNull<Entry>>>);

impl Zone {
    /// The zone, for the configuration that is being read; the same each time. None without memory.
    pub fn add(reading: Reading) -> Option<Zone> {
        let tag = super::loaded::module().cast::<c_void>();
        let mut name = ngx_str_t { len: NAME.len(), data: NAME.as_ptr().cast_mut() };
        // SAFETY: nginx keeps the name, which is static, and compares the tag.
        unsafe {
            let zone = ngx_shared_memory_add(reading.as_ptr(), &raw mut name, SIZE, tag);
            let zone = NonNull::new(zone)?;
            (*zone.as_ptr()).init = Some(init);
            Some(Zone(zone))
        }
    }

    /// When counting began, in seconds since the epoch.
    pub fn started(self) -> u64 {
        self.directory().map_or(0, |directory| directory.started)
    }

    /// This worker's tally of a name. None if there is no room.
    pub fn claim(self, name: &[u8]) -> Option<Claim> {
        let directory = self.directory()?;
        // SAFETY: nginx has laid a slab pool into the zone's memory before it called init.
        let lock = Lock::of(unsafe { (*self.0.as_ptr()).shm.addr.cast::<ngx_slab_pool_t>() });
        let mut known = self.entries().filter(|entry| entry.name() == name);
        let entry = match known.find(|entry| !entry.is_owned()) {
            Some(entry) => {
                // its last worker may have crashed
                entry.tally.leave();
                NonNull::from(entry)
            }
            None => {
                let text = lock.allocate::<u8>(name.len())?;
                let entry = lock.allocate::<Entry>(size_of::<Entry>())?;
                // SAFETY: both are new and of these sizes, nobody else knows them yet, and all zero is
                // an entry.
                unsafe {
                    text.as_ptr().copy_from_nonoverlapping(name.as_ptr(), name.len());
                    (*entry.as_ptr()).name = text.as_ptr();
                    (*entry.as_ptr()).len = name.len();
                    (*entry.as_ptr()).next = directory.first.load(Ordering::Relaxed);
                }
                directory.first.store(entry.as_ptr(), Ordering::Release);
                entry
            }
        };
        // SAFETY: an entry stays as long as the zone.
        unsafe { entry.as_ref() }.owner.store(process::id(), Ordering::Relaxed);
        Some(Claim(Cell::new(Some(entry))))
    }

    /// What all workers have counted, by name.
    pub fn totals<'zone>(self) -> HashMap<&'zone [u8], Numbers<u64>> {
        let mut totals: HashMap<&[u8], Numbers<u64>> = HashMap::new();
        let mut known = HashMap::new();
        for entry in self.entries() {
            let owner = entry.owner.load(Ordering::Acquire);
            // a worker that crashed has not said that it leaves
            let is_there = *known.entry(owner).or_insert_with(|| process::lives(owner));
            totals.entry(entry.name()).or_default().add(&entry.tally, is_there);
        }
        totals
    }

    fn entries<'zone>(self) -> impl Iterator<Item = &'zone Entry> {
        let first = self.directory().map(|directory| directory.first.load(Ordering::Acquire));
        let mut next = first.unwrap_or(null_mut());
        core::iter::from_fn(move || {
            // SAFETY: an entry is whole before it is put into the list, and stays as long as the zone,
            // which the configuration keeps. What changes in it are atomics.
            let entry = unsafe { next.as_ref() }?;
            next = entry.next;
            Some(entry)
        })
    }

    /// None before nginx has made the memory.
    fn directory<'zone>(self) -> Option<&'zone Directory> {
        // SAFETY: init puts a directory there, or nothing; it stays as long as the zone.
        unsafe { (*self.0.as_ptr()).data.cast::<Directory>().as_ref() }
    }
}

impl Entry {
    fn name(&self) -> &[u8] {
        // SAFETY: claim has written so many bytes there, and they stay as long as the entry.
        unsafe { core::slice::from_raw_parts(self.name, self.len) }
    }

    fn is_owned(&self) -> bool {
        process::lives(self.owner.load(Ordering::Acquire))
    }
}

impl Claim {
    /// The tally. None once it is released.
    pub fn tally(&self) -> Option<&Tally> {
        // SAFETY: the zone outlives the claim: it goes after the configuration that has both, or,
        // without workers, after release.
        self.0.get().map(|entry| unsafe { &(*entry.as_ptr()).tally })
    }

    /// Gives the tally up for the next worker.
    pub fn release(&self) {
        if let Some(entry) = self.0.take() {
            // SAFETY: as in tally.
            let entry = unsafe { entry.as_ref() };
            entry.tally.leave();
            entry.owner.store(0, Ordering::Release);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

/// The pool's lock, held until this is dropped.
struct Lock(*mut ngx_slab_pool_t);

impl Lock {
    fn of(pool: *mut ngx_slab_pool_t) -> Lock {
        // SAFETY: the zone's pool.
        unsafe { ngx_shmtx_lock(&raw mut (*pool).mutex) };
        Lock(pool)
    }

    /// Zeroed memory of so many bytes, aligned for nginx's own structs. None if there is no room,
    /// which nginx logs.
    fn allocate<T>(&self, size: usize) -> Option<NonNull<T>> {
        // SAFETY: the lock is held.
        NonNull::new(unsafe { ngx_slab_calloc_locked(self.0, size) }.cast())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: as in of.
        unsafe { ngx_shmtx_unlock(&raw mut (*self.0).mutex) };
    }
}

/// nginx calls this for each new configuration, with what the last one had if the zone stays.
unsafe extern "C" fn init(zone: *mut ngx_shm_zone_t, old: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx passes the zone, whose memory has a slab pool; its data is ours.
    unsafe {
        let pool = (*zone).shm.addr.cast::<ngx_slab_pool_t>();
        let known = if old.is_null() { (*pool).data } else { old };
        if !known.is_null() {
            (*zone).data = known;
            return NGX_OK as ngx_int_t;
        }
        let place = ngx_slab_calloc(pool, size_of::<Directory>()).cast::<Directory>();
        let Some(place) = NonNull::new(place) else { return NGX_ERROR as ngx_int_t };
        place.write(Directory { started: process::seconds(), first: AtomicPtr::new(null_mut()) });
        (*pool).data = place.as_ptr().cast();
        (*zone).data = place.as_ptr().cast();
    }
    NGX_OK as ngx_int_t
}
