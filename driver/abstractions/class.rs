// SPDX-License-Identifier: GPL-2.0

//! Device classes and the nodes that appear in `/dev` for their devices.
//!
//! C header: [`include/linux/device/class.h`](srctree/include/linux/device/class.h)

use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

use super::chrdev::Number;

/// A device class: a folder of `/sys/class`.
///
/// # Invariants
///
/// The pointer is to a class that is registered until `self` is dropped.
pub(crate) struct Class(*mut bindings::class);

// SAFETY: A class belongs to no thread, and what it is used for here locks itself.
unsafe impl Send for Class {}

// SAFETY: As above.
unsafe impl Sync for Class {}

impl Class {
    /// Registers a class.
    pub(crate) fn new(name: &'static CStr) -> Result<Arc<Self>> {
        // SAFETY: The name is a C string that lives for ever.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        // INVARIANT: `class_create` gave a registered class. If there is no memory for the `Arc`,
        // dropping `Self` destroys it.
        Ok(Arc::new(Self(class), GFP_KERNEL)?)
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        // SAFETY: The class is registered by the type's invariant, and every node holds an `Arc`
        // of it, so that it has no devices any more.
        unsafe { bindings::class_destroy(self.0) };
    }
}

/// A device of a class, with its node in `/dev` (made by devtmpfs: root's, mode 0600).
///
/// # Invariants
///
/// `class` has a device with this number until `self` is dropped.
pub(crate) struct Node {
    class: Arc<Class>,
    number: Number,
}

impl Node {
    /// Makes the device, its node and its uevent.
    pub(crate) fn new(class: Arc<Class>, number: Number, name: &CStr) -> Result<Self> {
        // SAFETY: The class is registered; it has no parent and no driver data; the format takes
        // one C string, which the function copies.
        from_err_ptr(unsafe {
            bindings::device_create(
                class.0,
                core::ptr::null_mut(),
                number.as_raw(),
                core::ptr::null_mut(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        // INVARIANT: The device was just made.
        Ok(Self { class, number })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: The class is registered and has the device by the type's invariant.
        unsafe { bindings::device_destroy(self.class.0, self.number.as_raw()) };
    }
}
