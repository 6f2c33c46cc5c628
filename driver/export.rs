// SPDX-License-Identifier: GPL-2.0

//! A range of a device as a dma-buf.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    mm::virt::{
        VmaNew,
        VmaRef, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::{
    abstractions::{
        dmabuf::{
            self,
            Exporter,
            Importers, //
        },
        errno::eopnotsupp,
        inode::Inode,
        module::THIS_MODULE,
        vma::{
            Page,
            Setup,
            VmOperations, //
        },
    },
    device::Device,
    layout::{
        Extent,
        PAGE, //
    },
    window::Window, //
};

/// An exported range. It keeps the device's memory, whatever becomes of device and file.
#[pin_data]
pub(crate) struct Export {
    device: Arc<Device>,
    /// Where in the device: whole pages of one window.
    extent: Extent,
    #[pin]
    importers: Importers,
}

impl Export {
    /// Exports a range; gives the descriptor.
    pub(crate) fn open(device: &Arc<Device>, extent: Extent, writable: bool) -> Result<c_int> {
        if extent.offset % PAGE != 0 || extent.size % PAGE != 0 {
            return Err(EINVAL);
        }
        let window = device.mapping(extent.offset / PAGE, extent.size / PAGE)?;
        if !window.memory.is_ram() {
            return Err(eopnotsupp());
        }
        window.check_there()?;
        let start = extent.offset.saturating_sub(window.extent.offset);
        if window.memory.intact(start, extent.size)? < extent.size {
            return Err(EIO);
        }
        let writable = writable && window.is_writable();
        let export = Arc::pin_init(
            pin_init!(Self {
                device: device.clone(),
                extent,
                importers <- Importers::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        device.exported(export.clone())?;
        dmabuf::export(export, writable)
    }

    /// Where in the device it lies.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// The window it lies in.
    fn window(&self) -> Result<&Window> {
        self.device
            .mapping(self.extent.offset / PAGE, self.extent.size / PAGE)
    }
}

impl Exporter for Export {
    const NAME: &'static CStr = c"chrmem";

    const MODULE: &'static ThisModule = &THIS_MODULE;

    fn first_page(&self) -> u64 {
        self.extent.offset / PAGE
    }

    fn size(&self) -> usize {
        self.extent.size as usize
    }

    fn importers(&self) -> &Importers {
        &self.importers
    }

    fn mmap(&self, vma: &VmaNew) -> Result<Setup> {
        self.window()?.map(vma)
    }

    fn release(this: Arc<Self>) {
        this.device.unexported(&this);
    }
}

impl VmOperations for Export {
    fn opened(&self, _vma: &VmaRef) {
        self.device.mappings.opened();
    }

    fn closed(&self, _vma: &VmaRef) {
        self.device.mappings.closed();
    }

    fn inode(&self) -> &Inode {
        &self.device.inode
    }

    fn page(&self, page: u64) -> Option<Page<'_>> {
        self.device.page(page)
    }

    fn stored(&self, page: u64) {
        self.device.stored(page);
    }

    fn peek(&self, offset: u64, to: &mut [u8]) -> usize {
        self.device.peek(offset, to)
    }

    fn poke(&self, offset: u64, from: &[u8]) -> usize {
        self.device.poke(offset, from)
    }
}
