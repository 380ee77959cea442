//! Rust values in nginx's pools.

use super::raw::{
    NGX_ALIGNMENT, ngx_palloc, ngx_pnalloc, ngx_pool_cleanup_add, ngx_pool_t, ngx_str_t,
};
use core::ffi::c_void;
use core::ptr::NonNull;

/// A pool of nginx, alive as long as what owns it: a request, or a configuration cycle.
#[derive(Clone, Copy)]
pub struct Pool(NonNull<ngx_pool_t>);

impl Pool {
    /// # Safety
    /// - `pool` is null or a live pool of nginx.
    /// - The result is used no longer than the pool lives.
    pub unsafe fn from_raw(pool: *mut ngx_pool_t) -> Option<Pool> {
        NonNull::new(pool).map(Pool)
    }

    /// Moves `value` into the pool. It is dropped when the pool is destroyed. None without memory.
    pub fn keep<T>(self, value: T) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() <= NGX_ALIGNMENT) };
        // SAFETY: the pool is live (from_raw). A cleanup record with a size brings memory of that
        // size, aligned as ngx_palloc aligns, which no one else uses.
        unsafe {
            let cleanup = NonNull::new(ngx_pool_cleanup_add(self.0.as_ptr(), size_of::<T>()))?;
            let place = (*cleanup.as_ptr()).data.cast::<T>();
            place.write(value);
            (*cleanup.as_ptr()).handler = Some(drop_value::<T>);
            NonNull::new(place)
        }
    }

    /// The values of type `T` that were kept in this pool, latest first. They are known by the
    /// address of their drop function, so that no other kept type may have an equal one; in request
    /// pools there is no other.
    pub fn kept<T>(self) -> impl Iterator<Item = NonNull<T>> {
        // SAFETY: the pool is live, and its cleanup list is null-terminated. Records are only ever
        // put in front, so a reader that goes on from a record meets a sound list.
        let mut next = unsafe { (*self.0.as_ptr()).cleanup };
        core::iter::from_fn(move || {
            // SAFETY: as above.
            while let Some(cleanup) = unsafe { next.as_ref() } {
                next = cleanup.next;
                let handler = cleanup.handler.map(|handler| handler as *const ());
                if handler == Some(drop_value::<T> as *const ()) {
                    return NonNull::new(cleanup.data.cast::<T>());
                }
            }
            None
        })
    }

    /// Uninitialised memory for a `T`, which the pool does not drop.
    pub fn reserve<T>(self) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() <= NGX_ALIGNMENT) };
        // SAFETY: the pool is live.
        NonNull::new(unsafe { ngx_palloc(self.0.as_ptr(), size_of::<T>()) }.cast())
    }

    /// A copy of `values`, which the pool does not drop. None without memory.
    pub fn copy_slice<'pool, T: Copy>(self, values: &[T]) -> Option<&'pool [T]> {
        const { assert!(align_of::<T>() <= NGX_ALIGNMENT) };
        // SAFETY: the pool is live; what it gives is new, aligned and of the size asked for.
        unsafe {
            let place = ngx_palloc(self.0.as_ptr(), size_of_val(values)).cast::<T>();
            let place = NonNull::new(place)?.as_ptr();
            place.copy_from_nonoverlapping(values.as_ptr(), values.len());
            Some(core::slice::from_raw_parts(place, values.len()))
        }
    }

    /// A copy of `bytes`. None without memory.
    pub fn copy(self, bytes: &[u8]) -> Option<PoolBytes> {
        // SAFETY: the pool is live; what it gives is new and of the size asked for.
        unsafe {
            let place = NonNull::new(ngx_pnalloc(self.0.as_ptr(), bytes.len()).cast::<u8>())?;
            place.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Some(PoolBytes { place, len: bytes.len() })
        }
    }
}

/// Bytes in a pool, or in the configuration, which do not change. Kept by what the pool belongs to,
/// and no longer than that.
#[derive(Clone, Copy)]
pub struct PoolBytes {
    place: NonNull<u8>,
    len: usize,
}

impl PoolBytes {
    /// # Safety
    /// - `text` stays as it is for as long as the result is used.
    pub unsafe fn from_raw(text: ngx_str_t) -> PoolBytes {
        // of no bytes the place says nothing: nginx leaves that of `$args` as it was in memory, where a
        // redirect has none (ngx_http_split_args)
        let place = if text.len > 0 { NonNull::new(text.data) } else { None };
        match place {
            Some(place) => PoolBytes { place, len: text.len },
            None => PoolBytes { place: NonNull::dangling(), len: 0 },
        }
    }

    /// For nginx's structs, which take it for as long as the pool lives.
    pub fn as_text(&self) -> ngx_str_t {
        ngx_str_t { len: self.len, data: self.place.as_ptr() }
    }

    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: from_raw and Pool::copy; whoever has the value has the pool.
        unsafe { core::slice::from_raw_parts(self.place.as_ptr(), self.len) }
    }
}

/// # Safety
/// `data` is a `T` that [`Pool::keep`] wrote, and nginx calls this once, as the pool goes.
unsafe extern "C" fn drop_value<T>(data: *mut c_void) {
    // SAFETY: as above.
    unsafe { data.cast::<T>().drop_in_place() }
}
