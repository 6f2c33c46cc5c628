// SPDX-License-Identifier: GPL-2.0

//! Buffers that other drivers can use, handed over as file descriptors.
//!
//! C headers: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h),
//! [`include/linux/scatterlist.h`](srctree/include/linux/scatterlist.h)

use core::marker::PhantomData;
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

use crate::list;

use super::{
    cache::Cache,
    errno::eopnotsupp,
    folio::page_of_frame,
    vma::{
        self,
        Page,
        Setup,
        VmOperations, //
    },
    vmap, //
};

/// Memory that can be exported. Its [`VmOperations::page`] counts pages from the buffer's start.
pub(crate) trait Exporter: VmOperations {
    /// The module, which must stay while there are buffers.
    const MODULE: &'static ThisModule;

    /// Bytes, a whole number of pages and not zero.
    fn size(&self) -> usize;

    /// The importers that have it mapped.
    fn importers(&self) -> &Importers;

    /// Says how a new mapping by a process is to be set up, or refuses it.
    fn mmap(&self, vma: &VmaNew) -> Result<Setup>;

    /// The buffer is gone; `this` is the last reference that it had.
    fn release(this: Arc<Self>);
}

/// Which way bytes go in an access by the processor, as flags.
#[derive(Clone, Copy)]
pub(crate) struct Access {
    /// The processor reads.
    pub(crate) read: bool,
    /// The processor writes.
    pub(crate) write: bool,
}

/// The devices that a buffer is mapped for.
#[pin_data]
pub(crate) struct Importers {
    #[pin]
    mapped: Mutex<KVec<Mapped>>,
}

/// A buffer's pages, mapped for one device.
struct Mapped {
    device: *mut bindings::device,
    table: *mut bindings::sg_table,
}

// SAFETY: The pointers are only followed while the importer keeps device and table.
unsafe impl Send for Mapped {}

impl Importers {
    /// None.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            mapped <- new_mutex!(KVec::new(), "Importers::mapped"),
        })
    }

    /// Brings the processor's view and the devices' together before an access by the processor.
    pub(crate) fn begin_access(&self, access: Access) {
        // What devices wrote must be seen if the processor is to read it.
        self.each(access, bindings::__dma_sync_sg_for_cpu);
    }

    /// Brings the processor's view and the devices' together after an access by the processor.
    pub(crate) fn end_access(&self, access: Access) {
        self.each(access, bindings::__dma_sync_sg_for_device);
    }

    fn each(
        &self,
        access: Access,
        sync: unsafe extern "C" fn(
            *mut bindings::device,
            *mut bindings::scatterlist,
            c_int,
            bindings::dma_data_direction,
        ),
    ) {
        let direction = match (access.read, access.write) {
            (true, true) => DataDirection::Bidirectional,
            (true, false) => DataDirection::FromDevice,
            (false, true) => DataDirection::ToDevice,
            (false, false) => return,
        };
        for mapped in self.mapped.lock().iter() {
            // SAFETY: Tables are taken out of the list before they are unmapped, which waits for
            // the lock.
            unsafe {
                let table = &*mapped.table;
                sync(
                    mapped.device,
                    table.sgl,
                    table.orig_nents as c_int,
                    direction.into(),
                );
            }
        }
    }
}

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
        exp_name: c"chrmem".as_char_ptr(),
        owner: T::MODULE.as_ptr(),
        ops,
        size,
        flags: flags as c_int,
        resv: core::ptr::null_mut(),
        priv_: private.cast_mut().cast(),
    };
    // SAFETY: `info` is filled in; the operations live for ever.
    let buffer = from_err_ptr(unsafe { bindings::dma_buf_export(&info) }).inspect_err(|_| {
        // SAFETY: There is no buffer that could have taken the reference.
        T::release(unsafe { Arc::from_raw(private) });
    })?;
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
    let mut pages = KVVec::with_capacity(count, GFP_KERNEL | __GFP_NOWARN)?;
    let cache = this.page(0).ok_or(EFAULT)?.cache();
    for page in 0..count {
        let page = this.page(page as u64).ok_or(EFAULT)?;
        if page.cache() != cache {
            return Err(EINVAL);
        }
        let page = match page {
            Page::Folio(folio) => folio.as_raw(),
            Page::Frame(frame) => page_of_frame(frame.number()).ok_or_else(eopnotsupp)?,
        };
        pages.push(page, GFP_KERNEL)?;
    }
    Ok((pages, cache))
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
        // SAFETY: The attachment keeps the buffer.
        let (mut pages, _) = unsafe { pages::<T>(buffer) }?;
        let mut table = KBox::new(bindings::sg_table::default(), GFP_KERNEL)?;
        // SAFETY: The table can be written, and the pages are an array of so many.
        to_result(unsafe {
            bindings::sg_alloc_table_from_pages_segment(
                &mut *table,
                pages.as_mut_ptr(),
                c_uint::try_from(pages.len())?,
                0,
                this.size(),
                c_uint::MAX,
                bindings::GFP_KERNEL,
            )
        })?;
        let mut mapped = this.importers().mapped.lock();
        let mut map = || {
            mapped.reserve(1, GFP_KERNEL)?;
            // SAFETY: The device is the importer's, and the table is initialized.
            to_result(unsafe { bindings::dma_map_sgtable(device, &mut *table, direction, 0) })
        };
        if let Err(error) = map() {
            // SAFETY: The table is initialized, not mapped, and nobody else has it.
            unsafe { bindings::sg_free_table(&mut *table) };
            return Err(error);
        }
        let table = KBox::into_raw(table);
        // Cannot fail: there is room.
        let _ = mapped.push(Mapped { device, table }, GFP_KERNEL);
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
    list::take(&mut this.importers().mapped.lock(), |mapped| {
        mapped.table == table
    });
    // SAFETY: `map_dma_buf` made the table for this device, and nobody uses it any more.
    unsafe {
        bindings::dma_unmap_sg_attrs(
            device,
            (*table).sgl,
            (*table).orig_nents as c_int,
            direction,
            0,
        );
        bindings::sg_free_table(table);
        drop(KBox::from_raw(table));
    }
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
    this.importers().begin_access(Access::of(direction));
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
    this.importers().end_access(Access::of(direction));
    0
}

impl Access {
    /// What the dma-buf core means: it names directions from the device's side.
    fn of(direction: bindings::dma_data_direction) -> Self {
        Self {
            read: direction != DataDirection::ToDevice.into(),
            write: direction != DataDirection::FromDevice.into(),
        }
    }
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
        // SAFETY: The VMA is being set up for the time of this call.
        let vma = unsafe { VmaNew::from_raw(vma) };
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
