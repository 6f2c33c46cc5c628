// SPDX-License-Identifier: GPL-2.0

//! Files of debugfs that keep their module while they are open.
//!
//! The `kernel` crate's debugfs files have no `owner` in 7.2: whoever closes one after `rmmod`
//! makes the kernel read freed module memory (`full_proxy_release`).
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use kernel::{
    bindings,
    prelude::*,
    seq_file::SeqFile,
    sync::Arc, //
};

use super::module::THIS_MODULE;

/// What a file shows.
pub(crate) trait Show: Send + Sync + 'static {
    /// Writes the file's text.
    fn show(&self, to: &SeqFile);
}

/// A folder or a file of debugfs, with all that is in it; it goes when this is dropped.
///
/// As everywhere in debugfs, failing to make one is not an error: it is then just not there.
///
/// # Invariants
///
/// The pointer is what `debugfs_create_*` gave: an entry, or an error that all of debugfs takes.
struct Entry(*mut bindings::dentry);

// SAFETY: An entry belongs to no thread, and debugfs locks for itself.
unsafe impl Send for Entry {}

// SAFETY: With `&Entry` nothing can be done.
unsafe impl Sync for Entry {}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant; this waits until nobody is in `show` any more.
        unsafe { bindings::debugfs_remove(self.0) };
    }
}

/// A folder at the root of debugfs.
pub(crate) struct Folder(Entry);

impl Folder {
    /// Makes the folder.
    pub(crate) fn new(name: &CStr) -> Self {
        // SAFETY: The name is a C string, which is copied; without a parent it is at the root.
        let entry =
            unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), core::ptr::null_mut()) };
        // INVARIANT: This is what `debugfs_create_dir` gave.
        Self(Entry(entry))
    }
}

/// A file that root can read, showing a `T`.
pub(crate) struct File<T: Show> {
    // Order matters: the entry must be gone before what it shows.
    _entry: Entry,
    _shown: Arc<T>,
    _folder: Arc<Folder>,
}

impl<T: Show> File<T> {
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        owner: THIS_MODULE.as_ptr(),
        open: Some(open::<T>),
        read: Some(bindings::seq_read),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        ..pin_init::zeroed()
    };

    /// Makes the file.
    pub(crate) fn new(folder: Arc<Folder>, name: &CStr, shown: Arc<T>) -> Self {
        // SAFETY: The folder is an entry of debugfs, the name is copied, the operations live for
        // ever, and the data lives until the entry is removed.
        let entry = unsafe {
            bindings::debugfs_create_file_full(
                name.as_char_ptr(),
                0o400,
                folder.0 .0,
                Arc::as_ptr(&shown).cast_mut().cast(),
                core::ptr::null(),
                &Self::OPERATIONS,
            )
        };
        // INVARIANT: This is what `debugfs_create_file_full` gave.
        Self {
            _entry: Entry(entry),
            _shown: shown,
            _folder: folder,
        }
    }
}

/// # Safety
///
/// Called by debugfs only, for a file of [`File<T>`].
unsafe extern "C" fn open<T: Show>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: The file is being opened, and `i_private` is the data it was made with.
    unsafe { bindings::single_open(file, Some(show::<T>), (*inode).i_private) }
}

/// # Safety
///
/// Called by debugfs only, for a file that [`open`] of the same `T` has succeeded on.
unsafe extern "C" fn show<T: Show>(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: `open` set `private` to the file's data, a `T` that `File` keeps until the entry is
    // removed, which waits for this call.
    let this = unsafe { &*(*seq).private.cast::<T>() };
    // SAFETY: The `seq_file` is valid for the call and used by this thread only.
    this.show(unsafe { SeqFile::from_raw(seq) });
    0
}
