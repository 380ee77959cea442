//! A pointer that is counted, as [`std::rc::Rc`] is. Its memory is asked for, while an `Rc` ends the process where there is
//! none.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc};

/// A value that lives until the last of its pointers is dropped.
pub struct Counted<T> {
    place: NonNull<Place<T>>,
    /// It owns the value together with the others, and belongs to one thread.
    owns: PhantomData<Place<T>>,
}

struct Place<T> {
    /// The number of pointers.
    count: Cell<usize>,
    value: T,
}

impl<T> Counted<T> {
    /// The first pointer to a value. None without memory.
    pub fn new(value: T) -> Option<Counted<T>> {
        Counted::of(|| value)
    }

    /// The same with a value that is made where it stays.
    #[inline]
    pub fn of(make: impl FnOnce() -> T) -> Option<Counted<T>> {
        // SAFETY: the layout has the size of the count at least, so it is not 0. The memory is written before it is read.
        let place = unsafe {
            let place = NonNull::new(alloc(Layout::new::<Place<T>>()).cast::<Place<T>>())?;
            place.write(Place { count: Cell::new(1), value: make() });
            place
        };
        Some(Counted { place, owns: PhantomData })
    }

    fn place(&self) -> &Place<T> {
        // SAFETY: it is there until the last pointer is dropped.
        unsafe { self.place.as_ref() }
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.place().value
    }
}

impl<T> Clone for Counted<T> {
    fn clone(&self) -> Counted<T> {
        let count = &self.place().count;
        // each pointer takes memory, so that there are fewer than that
        count.set(count.get() + 1);
        Counted { place: self.place, owns: PhantomData }
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        let count = &self.place().count;
        let left = count.get() - 1;
        count.set(left);
        if left == 0 {
            // SAFETY: this was the last pointer, and `new` has allocated the place with this layout.
            unsafe {
                self.place.drop_in_place();
                dealloc(self.place.as_ptr().cast(), Layout::new::<Place<T>>());
            }
        }
    }
}
