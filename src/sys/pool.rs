//! Rust values in nginx's pools.

use super::live::Live;
use super::raw::{
    NGX_ALIGNMENT, ngx_palloc, ngx_pnalloc, ngx_pool_cleanup_add, ngx_pool_t, ngx_str_t,
};
use core::any::TypeId;
use core::ffi::c_void;
use core::mem::needs_drop;
use core::ptr::NonNull;

/// A pool of nginx, which lives at least as long as `'pool`: that of a request, or of a configuration.
#[derive(Clone, Copy)]
pub struct Pool<'pool>(Live<'pool, ngx_pool_t>);

/// A value in a pool, with what is needed to find and to drop it.
#[repr(C)]
struct Kept<T> {
    header: Header,
    value: T,
}

#[derive(Clone, Copy)]
struct Header {
    kind: TypeId,
    drop: unsafe fn(NonNull<c_void>),
}

/// A function of nginx's that gives memory of a pool.
type Allocate = unsafe extern "C" fn(*mut ngx_pool_t, usize) -> *mut c_void;

impl<'pool> Pool<'pool> {
    /// # Safety
    /// - `pool` is null or a live pool of nginx.
    /// - It lives as long as `'pool`, at least.
    pub(super) unsafe fn from_raw(pool: *mut ngx_pool_t) -> Option<Pool<'pool>> {
        // SAFETY: as above; nginx keeps no reference to it.
        unsafe { Live::of(pool) }.map(Pool)
    }

    /// Moves `value` into the pool. It is dropped when the pool is destroyed. None without memory.
    pub fn keep<T: 'static>(self, value: T) -> Option<&'pool T> {
        // SAFETY: the value stays in its place until the pool is destroyed.
        self.place(value).map(|place| unsafe { place.as_ref() })
    }

    /// As [`Pool::keep`], for what is changed later.
    pub(super) fn place<T: 'static>(self, value: T) -> Option<NonNull<T>> {
        const { assert!(align_of::<Kept<T>>() <= NGX_ALIGNMENT) };
        let header = Header { kind: TypeId::of::<T>(), drop: drop_kept::<T> };
        // SAFETY: the pool is live (from_raw). A cleanup record with a size brings memory of that
        // size, aligned as ngx_palloc aligns, which no one else uses.
        unsafe {
            let size = size_of::<Kept<T>>();
            let cleanup = NonNull::new(ngx_pool_cleanup_add(self.0.as_ptr(), size))?.as_ptr();
            let place = (*cleanup).data.cast::<Kept<T>>();
            place.write(Kept { header, value });
            (*cleanup).handler = Some(on_destroy);
            NonNull::new(&raw mut (*place).value)
        }
    }

    /// The values of type `T` that were kept in this pool, latest first.
    pub fn kept<T: 'static>(self) -> impl Iterator<Item = &'pool T> {
        let mut next = self.0.read(|pool| pool.cleanup);
        core::iter::from_fn(move || {
            // SAFETY: the pool is live, and its cleanup list ends in null. New records are put in front of the list, so that
            // what follows a record does not change. The data of a record with `on_destroy` begins with a header. If the
            // linker has merged another function with `on_destroy`, the two do the same, and so does that one's data.
            unsafe {
                while let Some(cleanup) = next.as_ref() {
                    next = cleanup.next;
                    let handler = cleanup.handler.map(|handler| handler as *const ());
                    let is_ours = handler == Some(on_destroy as *const ());
                    if is_ours && (*cleanup.data.cast::<Header>()).kind == TypeId::of::<T>() {
                        return Some(&(*cleanup.data.cast::<Kept<T>>()).value);
                    }
                }
            }
            None
        })
    }

    /// Memory with this value, which the pool does not drop, for nginx to change. None without memory.
    pub(super) fn put<T>(self, value: T) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() <= NGX_ALIGNMENT && !needs_drop::<T>()) };
        // SAFETY: the pool is live; what it gives is new, aligned and of the size asked for.
        unsafe {
            let place = NonNull::new(ngx_palloc(self.0.as_ptr(), size_of::<T>()))?.cast::<T>();
            place.write(value);
            Some(place)
        }
    }

    /// A copy of `values`, which the pool does not drop. None without memory.
    pub fn copy_slice<T: Copy>(self, values: &[T]) -> Option<&'pool [T]> {
        const { assert!(align_of::<T>() <= NGX_ALIGNMENT) };
        self.copy_into(ngx_palloc, values)
    }

    /// A copy of `bytes`. None without memory.
    pub fn copy(self, bytes: &[u8]) -> Option<PoolBytes<'pool>> {
        // aligned for bytes
        self.copy_into(ngx_pnalloc, bytes).map(PoolBytes)
    }

    fn copy_into<T: Copy>(self, allocate: Allocate, values: &[T]) -> Option<&'pool [T]> {
        // SAFETY: the pool is live; what it gives is new, of the size asked for, and aligned for the type.
        unsafe {
            let place = allocate(self.0.as_ptr(), size_of_val(values)).cast::<T>();
            let place = NonNull::new(place)?.as_ptr();
            place.copy_from_nonoverlapping(values.as_ptr(), values.len());
            Some(core::slice::from_raw_parts(place, values.len()))
        }
    }
}

/// Bytes in a pool, which do not change and stay there until the pool is destroyed.
#[derive(Clone, Copy)]
pub struct PoolBytes<'pool>(&'pool [u8]);

impl PoolBytes<'_> {
    /// For nginx's structs of what the pool belongs to.
    pub(super) fn as_text(self) -> ngx_str_t {
        text_of(self.0)
    }
}

/// Bytes as a text of nginx's.
pub(super) fn text_of(bytes: &[u8]) -> ngx_str_t {
    ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() }
}

/// The bytes of a text of nginx's.
///
/// # Safety
/// The text stays as it is for as long as `'text`.
pub(super) unsafe fn bytes_of<'text>(text: ngx_str_t) -> &'text [u8] {
    // of no bytes the place says nothing: nginx leaves that of `$args` as it was in memory, where a
    // redirect has none (ngx_http_split_args)
    if text.len == 0 || text.data.is_null() {
        return &[];
    }
    // SAFETY: as above.
    unsafe { core::slice::from_raw_parts(text.data, text.len) }
}

/// # Safety
/// `data` is a `Kept` that [`Pool::keep`] wrote, and nginx calls this once, as the pool goes.
unsafe extern "C" fn on_destroy(data: *mut c_void) {
    // SAFETY: as above: it begins with its header.
    unsafe {
        if let Some(place) = NonNull::new(data) {
            (place.cast::<Header>().as_ref().drop)(place);
        }
    }
}

/// # Safety
/// `place` is a `Kept<T>`, which nobody uses after this.
unsafe fn drop_kept<T>(place: NonNull<c_void>) {
    // SAFETY: as above.
    unsafe { place.cast::<Kept<T>>().drop_in_place() }
}
