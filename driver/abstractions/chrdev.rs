// SPDX-License-Identifier: GPL-2.0

//! Character devices with a region of numbers of their own.
//!
//! The `kernel` crate has only misc devices, which in 7.2 lack an `owner` (so that the module can
//! be removed while a file is open), `llseek`, `poll`, `fsync` and splicing.
//!
//! C headers: [`include/linux/cdev.h`](srctree/include/linux/cdev.h),
//! [`include/linux/fs.h`](srctree/include/linux/fs.h)

use core::{
    marker::PhantomPinned,
    pin::Pin, //
};
use kernel::{
    bindings,
    container_of,
    error::{
        from_result,
        to_result, //
    },
    fs::File,
    mm::virt::VmaNew,
    page::PAGE_SIZE,
    prelude::*,
    seq_file::SeqFile,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

use super::{
    folio::HUGE_BYTES,
    iov::{
        Destination,
        Source, //
    },
    module::THIS_MODULE,
    splice,
    vma::{
        self,
        Page,
        Setup,
        VmOperations,
        EAGER,
        GIANT, //
    },
    wait::WaitQueue, //
};

/// One device number: major and minor.
#[derive(Clone, Copy)]
pub(crate) struct Number(bindings::dev_t);

impl Number {
    /// The number as the kernel keeps it.
    pub(super) fn as_raw(self) -> bindings::dev_t {
        self.0
    }

    /// The minor number of an inode that is a device node.
    fn minor(rdev: bindings::dev_t) -> u32 {
        rdev & ((1 << bindings::MINORBITS) - 1)
    }
}

/// A region of device numbers: a major that the kernel chose, minors from 0 on. `/proc/devices`
/// shows its name.
///
/// # Invariants
///
/// The region from `first` on, of `count` numbers, is registered until `self` is dropped.
pub(crate) struct Region {
    first: bindings::dev_t,
    count: u32,
}

impl Region {
    /// Allocates a region of `count` numbers.
    pub(crate) fn new(name: &'static CStr, count: u32) -> Result<Self> {
        let mut first = 0;
        // SAFETY: `first` can be written, and the name is a C string that lives for ever.
        to_result(unsafe {
            bindings::alloc_chrdev_region(&mut first, 0, count, name.as_char_ptr())
        })?;
        // INVARIANT: The region was just registered.
        Ok(Self { first, count })
    }

    /// The number of the device `minor`; `None` if it is not in the region.
    pub(crate) fn number(&self, minor: u32) -> Option<Number> {
        // Minors start at 0, so that the bits of `first` that `minor` sets are clear.
        (minor < self.count).then_some(Number(self.first | minor))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: The region is registered by the type's invariant.
        unsafe { bindings::unregister_chrdev_region(self.first, self.count) };
    }
}

/// What an open file of a character device does. `Self` is its private data.
///
/// Errors go to user space as they are. Reads and writes get the position and give the number of
/// bytes they did; the position then moves on by that.
pub(crate) trait FileOperations: VmOperations {
    /// What a minor number is looked up in.
    type Devices: Send + Sync;

    /// Opens the device `minor`.
    fn open(devices: &Self::Devices, minor: u32) -> Result<KBox<Self>>;

    /// Copies bytes at `position` to `to`.
    fn read(&self, position: u64, to: &mut Destination<'_>) -> Result<usize>;

    /// Copies bytes from `from` to `position`.
    fn write(&self, position: u64, from: &mut Source<'_>) -> Result<usize>;

    /// How many of `len` bytes at `position` one read gives; 0 at the end.
    fn readable(&self, position: u64, len: u64) -> Result<u64>;

    /// Bytes of the device: where `SEEK_END` goes, and as far as seeking goes.
    fn size(&self) -> Result<u64>;

    /// The first offset with memory at or after `offset`: `SEEK_DATA`.
    fn seek_data(&self, offset: u64) -> Result<u64>;

    /// The first offset without memory at or after `offset`: `SEEK_HOLE`.
    fn seek_hole(&self, offset: u64) -> Result<u64>;

    /// Serves an ioctl, of a 32-bit or a 64-bit caller.
    fn ioctl(&self, file: &File, command: u32, argument: usize) -> Result<isize>;

    /// Where those wait who poll; always the same for one open file.
    fn wait_queue(&self) -> &WaitQueue;

    /// The events (`POLL*`) that hold now.
    fn poll(&self, file: &File) -> u32;

    /// Where in its memory page `page` of the device lies, in pages: mappings are put at addresses
    /// where huge page-table entries fit to that.
    fn page_in_memory(&self, page: u64) -> u64;

    /// Says how a new mapping is to be set up, or refuses it.
    fn mmap(&self, vma: &VmaNew) -> Result<Setup>;

    /// Adds to `/proc/PID/fdinfo/FD`.
    fn show_fdinfo(&self, to: &SeqFile);
}

/// A character device: all numbers of a region, served by `T`.
///
/// Only [`Registered`](super::module::Registered) makes one, which drops it when the module goes, of which each open file
/// holds a reference.
///
/// # Invariants
///
/// `cdev` is registered until `self` is dropped, and is only ever opened as a part of `Self`.
#[pin_data(PinnedDrop)]
pub(super) struct Cdev<T: FileOperations> {
    #[pin]
    cdev: Opaque<bindings::cdev>,
    devices: T::Devices,
    #[pin]
    _pinned: PhantomPinned,
}

// SAFETY: A `cdev` belongs to no thread.
unsafe impl<T: FileOperations> Send for Cdev<T> {}

// SAFETY: `&Cdev` gives access to nothing but `devices`, which is `Sync`.
unsafe impl<T: FileOperations> Sync for Cdev<T> {}

impl<T: FileOperations> Cdev<T> {
    // ANCHOR: operations
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        owner: THIS_MODULE.as_ptr(),
        open: Some(open::<T>),
        release: Some(release::<T>),
        llseek: Some(llseek::<T>),
        read_iter: Some(read_iter::<T>),
        write_iter: Some(write_iter::<T>),
        splice_read: Some(splice_read::<T>),
        splice_write: Some(bindings::iter_file_splice_write),
        // There is nothing to bring anywhere: the memory is the device.
        fsync: Some(bindings::noop_fsync),
        unlocked_ioctl: Some(ioctl::<T>),
        compat_ioctl: bindings::compat_ptr_ioctl,
        poll: Some(poll::<T>),
        mmap: Some(mmap::<T>),
        get_unmapped_area: Some(get_unmapped_area::<T>),
        show_fdinfo: Some(show_fdinfo::<T>),
        ..pin_init::zeroed()
    };
    // ANCHOR_END: operations

    /// Registers the device. From here on it can be opened.
    pub(super) fn new(region: &Region, devices: T::Devices) -> Result<Pin<KBox<Self>>> {
        let this = KBox::pin_init(
            pin_init!(Self {
                cdev <- Opaque::ffi_init(|cdev: *mut bindings::cdev| {
                    // SAFETY: `cdev` has room for a `cdev`, and the operations live for ever.
                    unsafe {
                        bindings::cdev_init(cdev, &Self::OPERATIONS);
                        (*cdev).owner = THIS_MODULE.as_ptr();
                    }
                }),
                devices,
                _pinned: PhantomPinned,
            }),
            GFP_KERNEL,
        )?;
        // INVARIANT: If this fails, `drop` finds a `cdev` that was never added, which `cdev_del`
        // takes as well.
        // SAFETY: The `cdev` is initialized and pinned, and the region's numbers are ours.
        to_result(unsafe { bindings::cdev_add(this.cdev.get(), region.first, region.count) })?;
        Ok(this)
    }
}

#[pinned_drop]
impl<T: FileOperations> PinnedDrop for Cdev<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The `cdev` is initialized. No open file is left that could come from it: its only owner sees to
        // that.
        unsafe { bindings::cdev_del(self.cdev.get()) };
    }
}

/// The private data of an open file.
///
/// # Safety
///
/// `file` must be a valid file that [`open`] of the same `T` has succeeded on, not yet released,
/// for `'a`.
unsafe fn private<'a, T: FileOperations>(file: *const bindings::file) -> &'a T {
    // SAFETY: `open` stored a `KBox<T>` there, which stays until `release`.
    unsafe { KBox::<T>::borrow((*file).private_data) }
}

/// What says of a file that its reads and writes never wait. Without it, io_uring asks `poll` whether
/// there is something to read, which here means something new: it would wait for a change before
/// each read.
///
/// The bindings lack it, because it is a macro with a cast.
const FMODE_NOWAIT: bindings::fmode_t = 1 << 27;

/// # Safety
///
/// Called by the VFS only, for an inode of a [`Cdev<T>`] and a file that is being opened.
unsafe extern "C" fn open<T: FileOperations>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    from_result(|| {
        // SAFETY: `chrdev_open` has set `i_cdev` to the `cdev` that it found, and holds a reference
        // to it and to its owner.
        let (cdev, rdev) = unsafe { ((*inode).__bindgen_anon_5.i_cdev, (*inode).i_rdev) };
        // SAFETY: By the type's invariant that is the `cdev` of a `Cdev<T>`, which lives while the
        // module does.
        let this = unsafe { &*container_of!(Opaque::cast_from(cdev), Cdev<T>, cdev) };
        let private = T::open(&this.devices, Number::minor(rdev))?;
        // SAFETY: The file is ours while it is being opened.
        // `private`, which keeps the inode, goes when it is released.
        unsafe {
            private.inode().attach(file);
            (*file).private_data = private.into_foreign();
            (*file).f_mode |= FMODE_NOWAIT;
        }
        Ok(0)
    })
}

/// # Safety
///
/// Called by the VFS only, once, for a file that [`open`] of the same `T` has succeeded on.
unsafe extern "C" fn release<T: FileOperations>(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: `open` stored it, this is the last use of the file, and its mappings are gone: each
    // held a reference to the file.
    drop(unsafe { KBox::<T>::from_foreign((*file).private_data) });
    0
}

/// # Safety
///
/// Called by the VFS only, for an open file of `T`.
unsafe extern "C" fn llseek<T: FileOperations>(
    file: *mut bindings::file,
    offset: bindings::loff_t,
    whence: c_int,
) -> bindings::loff_t {
    from_result(|| {
        // SAFETY: The VFS calls this between open and release.
        let this: &T = unsafe { private(file) };
        let size = i64::try_from(this.size()?)?;
        // A negative offset is beyond any end.
        let from = offset as u64;
        let (offset, whence) = match whence as u32 {
            bindings::SEEK_DATA => (this.seek_data(from)?, bindings::SEEK_SET),
            bindings::SEEK_HOLE => (this.seek_hole(from)?, bindings::SEEK_SET),
            whence => (from, whence),
        };
        // SAFETY: The file is valid.
        Ok(unsafe {
            bindings::generic_file_llseek_size(file, offset as i64, whence as c_int, size, size)
        })
    })
}

/// # Safety
///
/// Called by the VFS only, for an open file of `T`, with a destination that is valid for the call.
unsafe extern "C" fn read_iter<T: FileOperations>(
    iocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: As the caller promises.
    unsafe {
        transfer(iocb, |this: &T, position| {
            this.read(position, &mut Destination::from_raw(iter))
        })
    }
}

/// # Safety
///
/// Called by the VFS only, for an open file of `T`, with a source that is valid for the call.
unsafe extern "C" fn write_iter<T: FileOperations>(
    iocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: As the caller promises.
    unsafe {
        transfer(iocb, |this: &T, position| {
            this.write(position, &mut Source::from_raw(iter))
        })
    }
}

/// Does a read or a write at the position of `iocb`, and moves it on.
///
/// # Safety
///
/// `iocb` must be valid and of an open file of `T`.
unsafe fn transfer<T: FileOperations>(
    iocb: *mut bindings::kiocb,
    act: impl FnOnce(&T, u64) -> Result<usize>,
) -> isize {
    from_result(|| {
        // SAFETY: The caller promises an open file of `T`.
        let this: &T = unsafe { private((*iocb).ki_filp) };
        // SAFETY: The `iocb` is valid, and the VFS lets nobody else change it.
        let position = unsafe { &mut (*iocb).ki_pos };
        // The VFS has refused negative positions.
        let count = act(this, u64::try_from(*position)?)?;
        // OVERFLOW: A count that leads out of the signed range was refused by the VFS.
        *position = position.saturating_add_unsigned(count as u64);
        Ok(count as isize)
    })
}

/// Puts pages into a pipe as they are, as many as it has room for. What has no pages is copied.
///
/// # Safety
///
/// Called by the VFS only, for an open file of `T` and its position, with a pipe that is valid, and
/// locked or the caller's own.
unsafe extern "C" fn splice_read<T: FileOperations>(
    file: *mut bindings::file,
    position: *mut bindings::loff_t,
    pipe: *mut bindings::pipe_inode_info,
    len: usize,
    flags: c_uint,
) -> isize {
    const PAGE: u64 = PAGE_SIZE as u64;
    from_result(|| {
        // SAFETY: The VFS calls this between open and release.
        let this: &T = unsafe { private(file) };
        // SAFETY: The caller promises a position.
        let place = unsafe { &mut *position };
        let start = u64::try_from(*place)?;
        let end = start.saturating_add(this.readable(start, len as u64)?);
        let mut from = start;
        while from < end {
            let Some(Page::Folio(page)) = this.page(from / PAGE) else {
                break;
            };
            if page.has_failed() {
                match from == start {
                    true => return Err(EIO),
                    false => break,
                }
            }
            let offset = from % PAGE;
            let count = PAGE.saturating_sub(offset).min(end.saturating_sub(from));
            // SAFETY: The caller promises the pipe.
            match unsafe { splice::put(pipe, &page, offset as u32, count as u32) } {
                Err(error) if from == start => return Err(error),
                Err(_) => break,
                Ok(()) => from = from.saturating_add(count),
            }
        }
        if from == start && start < end {
            // SAFETY: As the caller of this function promises; nothing was put into the pipe.
            return Ok(unsafe { bindings::copy_splice_read(file, position, pipe, len, flags) });
        }
        let count = from.saturating_sub(start);
        *place = place.saturating_add_unsigned(count);
        Ok(count as isize)
    })
}

/// # Safety
///
/// Called by the VFS only, for an open file of `T`.
unsafe extern "C" fn ioctl<T: FileOperations>(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    from_result(|| {
        // SAFETY: The VFS calls this between open and release.
        let this: &T = unsafe { private(file) };
        // SAFETY: The file is valid for the call, and an ioctl uses no `fdget_pos`.
        let file = unsafe { File::from_raw_file(file) };
        this.ioctl(file, command, argument)
    })
}

/// # Safety
///
/// Called by the VFS only, for an open file of `T`, with a table that is null or valid.
unsafe extern "C" fn poll<T: FileOperations>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: The VFS calls this between open and release.
    let this: &T = unsafe { private(file) };
    // SAFETY: The caller promises file and table. `private` may give a reference that lasts until
    // the file is released, and so does the queue in it.
    unsafe { this.wait_queue().register(file, table) };
    // SAFETY: The file is valid for the call, and polling uses no `fdget_pos`.
    this.poll(unsafe { File::from_raw_file(file) })
}

/// # Safety
///
/// Called by the VFS only, for an open file of `T`, with a VMA that is being set up.
// ANCHOR: mmap
unsafe extern "C" fn mmap<T: FileOperations>(
    file: *mut bindings::file,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    from_result(|| {
        // SAFETY: The VFS calls this between open and release.
        let this: &T = unsafe { private(file) };
        // SAFETY: The VMA is being set up for the time of this call.
        let vma = unsafe { VmaNew::from_raw(vma) };
        let setup = this.mmap(vma)?;
        // SAFETY: The private data of a file lives until its release.
        unsafe { vma::install(this, vma, &setup) }?;
        Ok(0)
    })
}
// ANCHOR_END: mmap

/// # Safety
///
/// Called by the VFS only, for an open file of `T`.
unsafe extern "C" fn get_unmapped_area<T: FileOperations>(
    file: *mut bindings::file,
    address: c_ulong,
    len: c_ulong,
    page: c_ulong,
    flags: c_ulong,
) -> c_ulong {
    // SAFETY: The VFS calls this between open and release.
    let this: &T = unsafe { private(file) };
    let find = |len: c_ulong| {
        // SAFETY: The file is valid.
        unsafe { bindings::mm_get_unmapped_area(file, address, len, page, flags) }
    };
    if len <= EAGER as usize {
        // Where it is does not matter.
        return find(len);
    }
    let is_huge = len >= HUGE_BYTES;
    // Of frames, it is where they are in the machine that huge entries must fit to.
    let (page, is_giant) = match is_huge.then(|| this.page(page as u64)).flatten() {
        Some(Page::Frame(frame)) => (frame.number(), frame.has_giant((len / PAGE_SIZE) as u64)),
        _ => (this.page_in_memory(page as u64), false),
    };
    let page = page as usize;
    // SAFETY: The file is valid. The page is only used to find an address that fits to it.
    let find_huge = || unsafe { bindings::thp_get_unmapped_area(file, address, len, page, flags) };
    let align = match is_giant {
        true => PAGE_SIZE.wrapping_shl(GIANT),
        false if is_huge => return find_huge(),
        // Each folio is to be in one page table: as it lies in memory that is itself placed so, up to the next power of two.
        false => len.checked_next_power_of_two().unwrap_or(PAGE_SIZE),
    };
    let found = find(len.saturating_add(align));
    if found % PAGE_SIZE != 0 {
        // There is not so much room, which the number of an error says.
        return if is_huge { find_huge() } else { find(len) };
    }
    if found == address {
        return found;
    }
    // As high as can be, since most processes are given addresses from the top down.
    let missing = page.wrapping_mul(PAGE_SIZE).wrapping_sub(found) & align.wrapping_sub(1);
    found.wrapping_add(if missing == 0 { align } else { missing })
}

/// # Safety
///
/// Called by procfs only, for an open file of `T`.
unsafe extern "C" fn show_fdinfo<T: FileOperations>(
    seq: *mut bindings::seq_file,
    file: *mut bindings::file,
) {
    // SAFETY: procfs holds a reference to the file, so that it is not yet released.
    let this: &T = unsafe { private(file) };
    // SAFETY: The `seq_file` is valid for the call and used by this thread only.
    this.show_fdinfo(unsafe { SeqFile::from_raw(seq) });
}
