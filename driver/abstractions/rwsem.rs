// SPDX-License-Identifier: GPL-2.0

//! Sleeping locks that any number of readers hold at a time, or one writer.
//!
//! C header: [`include/linux/rwsem.h`](srctree/include/linux/rwsem.h)

use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// A value behind such a lock.
///
/// # Invariants
///
/// `semaphore` is initialized. Only its holders access `data`.
#[pin_data]
pub(super) struct RwSemaphore<T> {
    #[pin]
    semaphore: Opaque<bindings::rw_semaphore>,
    data: UnsafeCell<T>,
}

// SAFETY: A semaphore belongs to no thread.
unsafe impl<T: Send> Send for RwSemaphore<T> {}

// SAFETY: The semaphore locks itself. Readers have `&T` at the same time.
unsafe impl<T: Send + Sync> Sync for RwSemaphore<T> {}

impl<T> RwSemaphore<T> {
    /// A lock that nobody holds.
    pub(super) fn new(
        data: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            semaphore <- Opaque::ffi_init(|semaphore| {
                // SAFETY: `semaphore` has room for a semaphore; name and key live for ever.
                unsafe {
                    bindings::__init_rwsem(semaphore, name.as_char_ptr(), key.as_ptr());
                }
            }),
            data: UnsafeCell::new(data),
        })
    }

    /// Waits until there is no writer, and keeps it so. A task that holds it already waits for ever
    /// if a writer came in between.
    pub(super) fn read(&self) -> Reading<'_, T> {
        // SAFETY: By the type's invariant, the semaphore is initialized. This is process context.
        unsafe { bindings::down_read(self.semaphore.get()) };
        Reading {
            lock: self,
            _thread: NotThreadSafe,
        }
    }

    /// Waits until nobody else holds it, and keeps it so.
    pub(super) fn write(&self) -> Writing<'_, T> {
        // SAFETY: As in `read`.
        unsafe { bindings::down_write(self.semaphore.get()) };
        Writing {
            lock: self,
            _thread: NotThreadSafe,
        }
    }
}

/// A lock that is held for reading until this is dropped.
pub(super) struct Reading<'a, T> {
    lock: &'a RwSemaphore<T>,
    _thread: NotThreadSafe,
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held, so that nobody has it for writing.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> Drop for Reading<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `read` took it, in this task: `self` cannot be sent to another one.
        unsafe { bindings::up_read(self.lock.semaphore.get()) };
    }
}

/// A lock that is held for writing until this is dropped.
pub(super) struct Writing<'a, T> {
    lock: &'a RwSemaphore<T>,
    _thread: NotThreadSafe,
}

impl<T> Deref for Writing<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held, so that nobody else has it.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for Writing<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As above.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for Writing<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `write` took it, in this task: `self` cannot be sent to another one.
        unsafe { bindings::up_write(self.lock.semaphore.get()) };
    }
}
