//! Slices that several threads write part by part.
#![allow(unsafe_code)]

use std::marker::PhantomData;

/// A mutable slice whose disjoint parts several threads write.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the parts handed out are disjoint (`slice`'s contract), so sharing `Parts`
// is sending `&mut [T]` to other threads.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Parts { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Pointer to element `index`. The rule of [`Parts::slice`] holds for it too.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn at(&self, index: usize) -> *mut T {
        assert!(index <= self.len, "an element of a shared slice");
        // SAFETY: in bounds as just checked, or one past the last.
        unsafe { self.start.add(index) }
    }

    /// Elements `first..first + len`.
    ///
    /// # Safety
    /// No two slices in use at the same time may overlap.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, first: usize, len: usize) -> &mut [T] {
        assert!(first <= self.len && len <= self.len - first, "a part of a shared slice");
        // SAFETY: in bounds as just checked, disjoint by contract, and the exclusive
        // borrow lives as long as `Parts`.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(first), len) }
    }
}
