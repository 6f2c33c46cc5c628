// SPDX-License-Identifier: GPL-2.0

//! Inodes without a name: the address space that the mappings of one thing are in, through whatever file.
//!
//! Nothing is ever in their page cache.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/pseudo_fs.h`](srctree/include/linux/pseudo_fs.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

use super::{
    folio::LockedFolio,
    helpers, //
};

extern "C" {
    /// `rmap.h` has it, of which the kernel makes no bindings either.
    fn mapping_wrprotect_range(
        mapping: *mut c_void,
        first: c_ulong,
        frame: c_ulong,
        pages: c_ulong,
    ) -> c_int;

    /// `pseudo_fs.h` has it, of which the kernel makes no bindings. What it gives needs nothing more here.
    fn init_pseudo(context: *mut bindings::fs_context, magic: c_ulong) -> *mut c_void;
}

/// The type of a file system that nobody but us can mount: it is not registered.
struct Type(Opaque<bindings::file_system_type>);

// SAFETY: The kernel locks what it changes in it.
unsafe impl Sync for Type {}

/// It has no owner: a mount would keep the module that unmounts it.
static TYPE: Type = Type(Opaque::new(bindings::file_system_type {
    name: c"chrdev_space".to_bytes_with_nul().as_ptr().cast(),
    init_fs_context: Some(init_context),
    kill_sb: Some(bindings::kill_anon_super),
    ..pin_init::zeroed()
}));

/// # Safety
///
/// Called by the VFS only, for a context that is being set up.
unsafe extern "C" fn init_context(context: *mut bindings::fs_context) -> c_int {
    /// What statfs would tell of it, if there were a way to ask.
    const MAGIC: c_ulong = 0x6368_7264;
    // SAFETY: The caller promises the context.
    match unsafe { init_pseudo(context, MAGIC) }.is_null() {
        true => ENOMEM.to_errno(),
        false => 0,
    }
}

/// A file system for inodes.
///
/// # Invariants
///
/// It is mounted until `self` is dropped.
pub(crate) struct Mount(NonNull<bindings::vfsmount>);

// SAFETY: A mount belongs to no thread.
unsafe impl Send for Mount {}

// SAFETY: What can be done with `&Mount` is done by functions that lock what they change.
unsafe impl Sync for Mount {}

impl Mount {
    /// Mounts one.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The type lives as long as the module, which outlives the mount.
        let mount = from_err_ptr(unsafe { bindings::kern_mount(TYPE.0.get()) })?;
        // INVARIANT: It was just mounted.
        Ok(Self(NonNull::new(mount).ok_or(ENOMEM)?))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it is mounted; nobody has an inode of it any more.
        unsafe { bindings::kern_unmount(self.0.as_ptr()) };
    }
}

/// An inode.
///
/// # Invariants
///
/// `inode` is valid, with a reference that is ours, and is of `_mount`.
pub(crate) struct Inode {
    inode: NonNull<bindings::inode>,
    /// Goes after the inode.
    _mount: Arc<Mount>,
}

// SAFETY: An inode belongs to no thread.
unsafe impl Send for Inode {}

// SAFETY: What can be done with `&Inode` is done by functions that lock what they change.
unsafe impl Sync for Inode {}

impl Inode {
    /// An inode whose address space has `size` bytes. The memory manager maps a folio as a whole only where all of it
    /// comes before that.
    pub(crate) fn new(mount: Arc<Mount>, size: u64) -> Result<Self> {
        let size = i64::try_from(size)?;
        // SAFETY: By its invariant the mount is valid, and so is its superblock.
        let inode = unsafe { bindings::alloc_anon_inode((*mount.0.as_ptr()).mnt_sb) };
        let inode = NonNull::new(from_err_ptr(inode)?).ok_or(ENOMEM)?;
        // SAFETY: Nobody else knows the inode yet.
        unsafe { (*inode.as_ptr()).i_size = size };
        // INVARIANT: `alloc_anon_inode` gave the reference.
        Ok(Self {
            inode,
            _mount: mount,
        })
    }

    /// Makes page `page` of the address space, where `folio`'s page is, read-only in all shared mappings of it, also for processors
    /// that have it cached: after this, the next store through each of them is a fault. It may sleep.
    pub(crate) fn protect(&self, page: u64, folio: &LockedFolio<'_>) {
        const PAGE: u64 = PAGE_SIZE as u64;
        let frame = folio.page().address() / PAGE;
        // SAFETY: By the type's invariant the inode is valid, and so is its address space. The page is borrowed; where it is mapped, the
        // callee takes rights away only, with locks that come after that of a folio. It gives how many entries it changed.
        unsafe {
            mapping_wrprotect_range(
                (*self.inode.as_ptr()).i_mapping.cast(),
                page as c_ulong,
                frame as c_ulong,
                1,
            )
        };
    }

    /// Takes what is mapped of `size` bytes from `offset` on away from every process: the next access is a fault.
    ///
    /// What a fault maps again it takes away only if it comes after that: the caller lets no fault do so.
    pub(crate) fn unmap(&self, offset: u64, size: u64) {
        let (Ok(offset), Ok(size)) = (i64::try_from(offset), i64::try_from(size)) else {
            // There is nothing so far behind.
            return;
        };
        // SAFETY: By the type's invariant the inode is valid. This takes any range; no size is all of the rest.
        unsafe {
            bindings::unmap_mapping_range((*self.inode.as_ptr()).i_mapping, offset, size, 1);
        }
    }

    /// Has the mappings of `file` be in this inode's address space, and stores into them leave the times of the
    /// file's own inode alone.
    ///
    /// # Safety
    ///
    /// Nobody else uses the file yet. `self` must live until it is released.
    pub(super) unsafe fn attach(&self, file: *mut bindings::file) {
        // SAFETY: The caller promises the file, and by the type's invariant the inode is valid.
        unsafe {
            let mapping = (*self.inode.as_ptr()).i_mapping;
            (*file).f_mapping = mapping;
            (*file).f_wb_err = bindings::errseq_sample(&raw mut (*mapping).wb_err);
            helpers::set_nocmtime(file);
        }
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, the reference is ours.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}
