// SPDX-License-Identifier: GPL-2.0

//! The two ends of a read or a write.
//!
//! The `kernel` crate's `IovIterDest` and `IovIterSource` copy from and to slices, which memory
//! that user space has mapped must never be; these are only handed to
//! [`Folio`](super::folio::Folio), which copies between raw memory and them.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use core::marker::PhantomData;
use kernel::bindings;

macro_rules! iov {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// # Invariants
        ///
        /// The pointer is to an `iov_iter` of this direction that is valid, and not used by anyone
        /// else, for `'a`.
        pub(crate) struct $name<'a>(*mut bindings::iov_iter, PhantomData<&'a mut ()>);

        impl $name<'_> {
            /// Wraps a raw `iov_iter`.
            ///
            /// # Safety
            ///
            /// `iter` must be valid and unused by anyone else for the lifetime of the result, and
            /// of this direction.
            pub(super) unsafe fn from_raw(iter: *mut bindings::iov_iter) -> Self {
                // INVARIANT: The caller promises it.
                Self(iter, PhantomData)
            }

            /// The raw `iov_iter`.
            pub(super) fn as_raw(&mut self) -> *mut bindings::iov_iter {
                self.0
            }

            /// Bytes that are still to be copied.
            pub(crate) fn len(&self) -> usize {
                // SAFETY: The type's invariant says that the pointer is valid; `count` is the one
                // meaning that this union has for iterators over I/O.
                unsafe { (*self.0).__bindgen_anon_1.__bindgen_anon_1.as_ref().count }
            }
        }
    };
}

iov! {
    /// Where a read puts its bytes.
    Destination
}

iov! {
    /// Where a write takes its bytes from.
    Source
}
