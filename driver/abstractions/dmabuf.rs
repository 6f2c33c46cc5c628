// SPDX-License-Identifier: GPL-2.0

//! Buffers that other drivers can use, handed over as file descriptors.
//!
//! C headers: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h),
//! [`include/linux/scatterlist.h`](srctree/include/linux/scatterlist.h)

use core::{
    marker::PhantomData,
    ops::Range, //
};
use kernel::{
    bindings,
    dma::DataDirection,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    mm::virt::VmaNew,
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use super::{
    cache::Cache,
    errno::eopnotsupp,
    folio::page_of_frame,
    helpers,
    vma::{
        self,
        Page,
        Setup,
        VmOperations, //
    },
    vmap, //
};

/// Memory that can be exported: some pages, one after the other, of an address space.
///
/// An implementation can be wrong without harm to memory: the buffer keeps it until
/// [`release`](Self::release), and what `page` gives stays as long as it is borrowed.
pub(crate) trait Exporter: VmOperations {
    /// What the kernel calls the exporter, in `/proc/PID/fdinfo` and `/sys/kernel/debug/dma_buf`.
    const NAME: &'static CStr;

    /// The module, which must stay while there are buffers.
    const MODULE: &'static ThisModule;

    /// The page of the address space where it begins; always the same.
    fn first_page(&self) -> u64;

    /// Bytes, a whole number of pages and not zero. Asked once, when it is exported.
    fn size(&self) -> usize;

    /// The importers that have it mapped.
    fn importers(&self) -> &Importers;

    /// Says how a new mapping by a process is to be set up, or refuses it.
    fn mmap(&self, vma: &VmaNew) -> Result<Setup>;

    /// The buffer is gone; `this` is the last reference that it had.
    fn release(this: Arc<Self>);
}

/// What the processor does in an access.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    /// It reads.
    pub(crate) read: bool,
    /// It writes.
    pub(crate) write: bool,
}

impl Access {
    /// The accesses that a DMA direction is about; `None` for what is not a direction. It is named from
    /// the device's side: what a device reads, the processor writes.
    fn of(direction: bindings::dma_data_direction) -> Option<Self> {
        let is = |other: DataDirection| direction == other.into();
        let (read, write) = if is(DataDirection::Bidirectional) {
            (true, true)
        } else {
            (is(DataDirection::FromDevice), is(DataDirection::ToDevice))
        };
        (read || write).then_some(Self { read, write })
    }

    /// What is in both.
    fn and(self, other: Self) -> Self {
        Self {
            read: self.read && other.read,
            write: self.write && other.write,
        }
    }

    /// The DMA direction that it is about.
    fn direction(self) -> Option<DataDirection> {
        match (self.read, self.write) {
            (true, true) => Some(DataDirection::Bidirectional),
            (true, false) => Some(DataDirection::FromDevice),
            (false, true) => Some(DataDirection::ToDevice),
            (false, false) => None,
        }
    }
}

/// The devices that a buffer is mapped for.
#[pin_data]
pub(crate) struct Importers {
    #[pin]
    mapped: Mutex<KVec<Mapped>>,
}

/// A buffer's pages, mapped for one device.
///
/// # Invariants
///
/// The table is mapped for the device in this direction, until it has been taken out of the list.
struct Mapped {
    device: *mut bindings::device,
    table: *mut bindings::sg_table,
    direction: bindings::dma_data_direction,
}

// SAFETY: Neither device nor table belongs to a thread, and both stay by the type's invariant.
unsafe impl Send for Mapped {}

/// `__dma_sync_single_for_cpu` and `__dma_sync_single_for_device`.
type SyncFunction = unsafe extern "C" fn(
    *mut bindings::device,
    bindings::dma_addr_t,
    usize,
    bindings::dma_data_direction,
);

impl Importers {
    /// None.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            mapped <- new_mutex!(KVec::new(), "Importers::mapped"),
        })
    }

    /// Brings the processor's view and the devices' together before the processor accesses `bytes` of the
    /// buffer.
    pub(crate) fn begin_access(&self, bytes: Range<u64>, access: Access) {
        self.each(bytes, access, bindings::__dma_sync_single_for_cpu);
    }

    /// Brings the processor's view and the devices' together after the processor accessed `bytes` of the
    /// buffer.
    pub(crate) fn end_access(&self, bytes: Range<u64>, access: Access) {
        self.each(bytes, access, bindings::__dma_sync_single_for_device);
    }

    fn each(&self, bytes: Range<u64>, access: Access, sync: SyncFunction) {
        for mapped in self.mapped.lock().iter() {
            mapped.sync(&bytes, access, sync);
        }
    }

    /// Takes the mapping of a table out of the list.
    fn take(&self, table: *mut bindings::sg_table) -> Option<Mapped> {
        let mut all = self.mapped.lock();
        let index = all.iter().position(|mapped| mapped.table == table)?;
        // Cannot fail: the index is of an element.
        all.remove(index).ok()
    }
}

impl Mapped {
    /// Syncs those of `bytes` for which the device's accesses and this one need it: what a device only reads,
    /// it has not changed, and what it only writes, it need not be told. A sync of more could overwrite what a
    /// device has put into a bounce buffer.
    fn sync(&self, bytes: &Range<u64>, access: Access, sync: SyncFunction) {
        let device = Access::of(self.direction);
        let Some(direction) = device.and_then(|device| access.and(device).direction()) else {
            return;
        };
        if self.sees_all() {
            return;
        }
        // SAFETY: By the type's invariant, the table is mapped; whoever unmaps it takes it out of the
        // list before, and waits for the lock of the list, from which `self` is borrowed.
        let table = unsafe { &*self.table };
        let mut entry = table.sgl;
        let mut start: u64 = 0;
        for _ in 0..table.nents {
            // SAFETY: The table has so many entries that are mapped.
            let (address, len) = unsafe { ((*entry).dma_address, (*entry).dma_length) };
            let end = start.saturating_add(len.into());
            // A page at a time: pages that an IOMMU shows the device as one run may lie anywhere.
            let mut at = bytes.start.max(start);
            while at < bytes.end.min(end) {
                let next = (at | (PAGE - 1)).saturating_add(1);
                let next = next.min(bytes.end).min(end);
                let address = address.wrapping_add(at.wrapping_sub(start));
                // SAFETY: By the type's invariant, the device is valid, and the bytes are of a mapping for
                // it in a direction that includes this one.
                unsafe {
                    sync(
                        self.device,
                        address,
                        (next.wrapping_sub(at)) as usize,
                        direction.into(),
                    )
                };
                at = next;
            }
            start = end;
            // SAFETY: The entry is one of a table.
            entry = unsafe { bindings::sg_next(entry) };
        }
    }

    /// Whether the device sees what the processor sees, so that there is nothing to sync.
    fn sees_all(&self) -> bool {
        // SAFETY: By the type's invariant, the device is valid.
        unsafe { !helpers::dma_dev_need_sync(self.device) }
    }
}

/// Bytes of a page.
const PAGE: u64 = PAGE_SIZE as u64;

/// Exports `exporter` as a new file descriptor of this process, closed on exec.
///
/// What is not `writable`, processes may map for reading. It cannot be imported: an importer says which way
/// its device will go, but not what it does by the processor, and some that are refused an address for
/// that use a null pointer.
pub(crate) fn export<T: Exporter>(exporter: Arc<T>, writable: bool) -> Result<c_int> {
    let size = exporter.size();
    let private = Arc::into_raw(exporter);
    let (flags, ops) = if writable {
        (bindings::O_RDWR, &Table::<T, true>::OPERATIONS)
    } else {
        (bindings::O_RDONLY, &Table::<T, false>::OPERATIONS)
    };
    let info = bindings::dma_buf_export_info {
        exp_name: T::NAME.as_char_ptr(),
        owner: T::MODULE.as_ptr(),
        ops,
        size,
        flags: flags as c_int,
        resv: core::ptr::null_mut(),
        priv_: private.cast_mut().cast(),
    };
    // SAFETY: `info` is filled in; the name and the operations live for ever.
    let buffer = from_err_ptr(unsafe { bindings::dma_buf_export(&info) }).inspect_err(|_| {
        // SAFETY: There is no buffer that could have taken the reference.
        T::release(unsafe { Arc::from_raw(private) });
    })?;
    // SAFETY: Nobody else knows the buffer's file yet, which keeps the reference until it is released.
    unsafe { (*private).inode().attach((*buffer).file) };
    // SAFETY: The buffer is valid; if there is a descriptor, it takes over its reference.
    let descriptor = unsafe { bindings::dma_buf_fd(buffer, bindings::O_CLOEXEC as c_int) };
    if descriptor < 0 {
        // SAFETY: The reference is still ours. The last one calls `release`.
        unsafe { bindings::dma_buf_put(buffer) };
    }
    to_result(descriptor)?;
    Ok(descriptor)
}

struct Table<T, const WRITABLE: bool>(PhantomData<T>);

impl<T: Exporter, const WRITABLE: bool> Table<T, WRITABLE> {
    const OPERATIONS: bindings::dma_buf_ops = bindings::dma_buf_ops {
        map_dma_buf: Some(if WRITABLE {
            map_dma_buf::<T>
        } else {
            refuse_map_dma_buf
        }),
        unmap_dma_buf: Some(unmap_dma_buf::<T>),
        release: Some(release::<T>),
        begin_cpu_access: Some(begin_cpu_access::<T>),
        end_cpu_access: Some(end_cpu_access::<T>),
        mmap: Some(mmap::<T, WRITABLE>),
        // The dma-buf core takes it for a defect of the kernel if there is one and it refuses.
        vmap: if WRITABLE { Some(vmap::<T>) } else { None },
        vunmap: Some(vunmap),
        ..pin_init::zeroed()
    };
}

/// What a buffer was exported from.
///
/// # Safety
///
/// `buffer` must be valid, from [`export`] of the same `T`, and not yet released, for `'a`.
unsafe fn private<'a, T: Exporter>(buffer: *mut bindings::dma_buf) -> &'a T {
    // SAFETY: `export` stored an `Arc` there, which `release` takes back.
    unsafe { &*(*buffer).priv_.cast::<T>() }
}

/// The `struct page`s of all of a buffer's pages, and how the processor caches them.
///
/// They stay until the buffer is released: they are borrowed from what [`private`] gives, which is there
/// so long.
///
/// # Safety
///
/// `buffer` must be valid, from [`export`] of the same `T`, and not yet released.
unsafe fn pages<T: Exporter>(
    buffer: *mut bindings::dma_buf,
) -> Result<(KVVec<*mut bindings::page>, Cache)> {
    // SAFETY: The caller promises it. The size of a buffer does not change.
    let (this, size): (&T, _) = unsafe { (private(buffer), (*buffer).size) };
    let count = size / PAGE_SIZE;
    let mut pages = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
    let first = this.first_page();
    let cache = this.page(first).ok_or(EFAULT)?.cache();
    for page in first..first.saturating_add(count as u64) {
        let page = this.page(page).ok_or(EFAULT)?;
        if page.cache() != cache {
            return Err(EINVAL);
        }
        if page.has_failed() {
            return Err(EIO);
        }
        if page.is_revoked() {
            return Err(ENODEV);
        }
        let page = match page {
            Page::Folio(folio) => folio.as_raw(),
            Page::Frame(frame) => page_of_frame(frame.number()).ok_or_else(eopnotsupp)?,
        };
        pages.push(page, GFP_KERNEL)?;
    }
    Ok((pages, cache))
}

/// A table of pages. It is not mapped for a device when it is dropped.
#[repr(transparent)]
struct PageTable(bindings::sg_table);

impl PageTable {
    /// A table of these pages, in segments of at most `segment` bytes.
    fn new(pages: &mut [*mut bindings::page], segment: usize) -> Result<KBox<Self>> {
        let size = pages.len().checked_mul(PAGE_SIZE).ok_or(EOVERFLOW)?;
        let mut table = KBox::new(Self(bindings::sg_table::default()), GFP_KERNEL_ACCOUNT)?;
        // SAFETY: The table can be written, and the pages are an array of so many, at which the callee does
        // not look. If it fails, the table is as it was.
        to_result(unsafe {
            bindings::sg_alloc_table_from_pages_segment(
                &mut table.0,
                pages.as_mut_ptr(),
                c_uint::try_from(pages.len())?,
                0,
                size,
                c_uint::try_from(segment).unwrap_or(c_uint::MAX),
                bindings::GFP_KERNEL_ACCOUNT,
            )
        })?;
        Ok(table)
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        // SAFETY: The table is one that the kernel filled, or is empty, and is not mapped.
        unsafe { bindings::sg_free_table(&mut self.0) };
    }
}

/// # Safety
///
/// Called by the dma-buf core only, for an attachment to a buffer of `T`.
unsafe extern "C" fn map_dma_buf<T: Exporter>(
    attachment: *mut bindings::dma_buf_attachment,
    direction: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    let map = || -> Result<*mut bindings::sg_table> {
        // SAFETY: The attachment is valid for the call.
        let (buffer, device) = unsafe { ((*attachment).dmabuf, (*attachment).dev) };
        // SAFETY: The attachment keeps the buffer.
        let this: &T = unsafe { private(buffer) };
        // The DMA layer answers the same, but takes it for a defect of the kernel.
        Access::of(direction).ok_or(EINVAL)?;
        // SAFETY: The attachment keeps the device.
        let segment = unsafe {
            if (*device).dma_mask.is_null() {
                return Err(EIO);
            }
            bindings::dma_max_mapping_size(device)
        };
        // SAFETY: The attachment keeps the buffer.
        let (mut pages, _) = unsafe { pages::<T>(buffer) }?;
        let mut table = PageTable::new(&mut pages, segment)?;
        let mut mapped = this.importers().mapped.lock();
        mapped.reserve(1, GFP_KERNEL_ACCOUNT)?;
        // SAFETY: The device is the importer's, and the table is initialized. Its pages stay until the buffer is
        // released, which the attachment keeps.
        to_result(unsafe { bindings::dma_map_sgtable(device, &mut table.0, direction, 0) })?;
        let table = KBox::into_raw(table).cast();
        // INVARIANT: The table has just been mapped. Cannot fail: there is room.
        let _ = mapped.push(
            Mapped {
                device,
                table,
                direction,
            },
            GFP_KERNEL,
        );
        Ok(table)
    };
    map().unwrap_or_else(|error| error.to_ptr())
}

/// The same, for a buffer that may only be read.
///
/// # Safety
///
/// Takes any pointer.
unsafe extern "C" fn refuse_map_dma_buf(
    _attachment: *mut bindings::dma_buf_attachment,
    _direction: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    EACCES.to_ptr()
}

/// # Safety
///
/// Called by the dma-buf core only, for what [`map_dma_buf`] gave for the same attachment.
unsafe extern "C" fn unmap_dma_buf<T: Exporter>(
    attachment: *mut bindings::dma_buf_attachment,
    table: *mut bindings::sg_table,
    direction: bindings::dma_data_direction,
) {
    // SAFETY: The attachment is valid for the call, and keeps the buffer.
    let (this, device) = unsafe { (private::<T>((*attachment).dmabuf), (*attachment).dev) };
    let mapped = this.importers().take(table);
    // As it was mapped, whatever the importer says.
    let direction = mapped.map_or(direction, |mapped| mapped.direction);
    // SAFETY: `map_dma_buf` made the table for this device, and nobody uses it any more: it has been taken
    // out of the list.
    let table = unsafe {
        bindings::dma_unmap_sg_attrs(
            device,
            (*table).sgl,
            (*table).orig_nents as c_int,
            direction,
            0,
        );
        KBox::from_raw(table.cast::<PageTable>())
    };
    drop(table);
}

/// # Safety
///
/// Called by the dma-buf core only, for a buffer of `T`; `map` must be valid for a write.
unsafe extern "C" fn vmap<T: Exporter>(
    buffer: *mut bindings::dma_buf,
    map: *mut bindings::iosys_map,
) -> c_int {
    from_result(|| {
        // SAFETY: The caller keeps the buffer.
        let (mut pages, cache) = unsafe { pages::<T>(buffer) }?;
        // SAFETY: The pages stay until the buffer is released, before which the core calls `vunmap`. They have
        // this cache mode in the kernel's own mapping.
        let vaddr = unsafe { vmap::map(&mut pages, cache) }?.as_ptr();
        // SAFETY: The caller promises it.
        unsafe {
            map.write(bindings::iosys_map {
                __bindgen_anon_1: bindings::iosys_map__bindgen_ty_1 { vaddr },
                is_iomem: false,
            });
        }
        Ok(0)
    })
}

/// # Safety
///
/// Called by the dma-buf core only, for what [`vmap`] wrote, when nobody uses the address any more.
unsafe extern "C" fn vunmap(_buffer: *mut bindings::dma_buf, map: *mut bindings::iosys_map) {
    // SAFETY: `vmap` wrote what `vmap::map` gave.
    unsafe { vmap::unmap((*map).__bindgen_anon_1.vaddr) };
}

/// # Safety
///
/// Called by the dma-buf core only, when nobody uses a buffer of `T` any more.
unsafe extern "C" fn release<T: Exporter>(buffer: *mut bindings::dma_buf) {
    // SAFETY: `export` stored the reference, and this is the last use of the buffer.
    T::release(unsafe { Arc::from_raw((*buffer).priv_.cast::<T>()) });
}

/// # Safety
///
/// Called by the dma-buf core only, for a buffer of `T`.
unsafe extern "C" fn begin_cpu_access<T: Exporter>(
    buffer: *mut bindings::dma_buf,
    direction: bindings::dma_data_direction,
) -> c_int {
    // SAFETY: The caller keeps the buffer.
    let this: &T = unsafe { private(buffer) };
    if let Some(access) = Access::of(direction) {
        this.importers().begin_access(0..u64::MAX, access);
    }
    0
}

/// # Safety
///
/// Called by the dma-buf core only, for a buffer of `T`.
unsafe extern "C" fn end_cpu_access<T: Exporter>(
    buffer: *mut bindings::dma_buf,
    direction: bindings::dma_data_direction,
) -> c_int {
    // SAFETY: The caller keeps the buffer.
    let this: &T = unsafe { private(buffer) };
    if let Some(access) = Access::of(direction) {
        this.importers().end_access(0..u64::MAX, access);
    }
    0
}

/// # Safety
///
/// Called by the dma-buf core only, for a buffer of `T` and a VMA that is being set up and lies
/// inside it.
unsafe extern "C" fn mmap<T: Exporter, const WRITABLE: bool>(
    buffer: *mut bindings::dma_buf,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    from_result(|| {
        // SAFETY: The VMA's file keeps the buffer.
        let this: &T = unsafe { private(buffer) };
        // SAFETY: The VMA is being set up for the time of this call, so that nobody else uses it. Its pages are
        // those of the address space that its file is in.
        let vma = unsafe {
            (*vma).vm_pgoff = (*vma).vm_pgoff.saturating_add(this.first_page() as usize);
            VmaNew::from_raw(vma)
        };
        if !WRITABLE && vma::is_shared(vma) {
            // It need not be this buffer's file that the process called mmap with.
            vma.try_clear_maywrite().map_err(|_| EACCES)?;
        }
        let setup = this.mmap(vma)?;
        // SAFETY: The file keeps the buffer, which keeps `this` until the file is released.
        unsafe { vma::install(this, vma, &setup) }?;
        Ok(0)
    })
}
