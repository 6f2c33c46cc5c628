// SPDX-License-Identifier: GPL-2.0

//! An open file of a device, and its mappings.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use core::fmt::Write as _;
use kernel::{
    bindings::{
        O_ACCMODE,
        O_RDONLY,
        O_RDWR,
        O_WRONLY,
        POLLERR,
        POLLHUP,
        POLLIN,
        POLLOUT,
        POLLRDNORM,
        POLLWRNORM, //
    },
    fmt,
    fs::File,
    mm::virt::{
        VmaNew,
        VmaRef, //
    },
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    uaccess::UserSlice, //
};

use crate::{
    abi,
    abstractions::{
        atomic::read_once,
        chrdev::FileOperations,
        dmabuf::Access,
        errno::eopnotsupp,
        inode::Inode,
        iov::{
            Destination,
            Source, //
        },
        vma::{
            self,
            Page,
            Setup,
            VmOperations, //
        },
        wait::WaitQueue, //
    },
    device::Device,
    export::Export,
    layout::{
        Extent,
        PAGE, //
    },
    log_mappings,
    registry::Registry, //
};

/// An open file.
pub(crate) struct OpenFile {
    device: Arc<Device>,
    /// The newest generation that this open file has seen.
    seen: Atomic<u64>,
}

impl FileOperations for OpenFile {
    type Devices = Arc<Registry>;

    // ANCHOR: open
    fn open(registry: &Arc<Registry>, minor: u32) -> Result<KBox<Self>> {
        let device = registry.get(minor).ok_or(ENXIO)?;
        let seen = Atomic::new(device.generation());
        Ok(KBox::new(Self { device, seen }, GFP_KERNEL_ACCOUNT)?)
    }
    // ANCHOR_END: open

    fn read(&self, position: u64, to: &mut Destination<'_>) -> Result<usize> {
        self.device()?.read(position, to)
    }

    fn write(&self, position: u64, from: &mut Source<'_>) -> Result<usize> {
        self.device()?.write(position, from)
    }

    fn readable(&self, position: u64, len: u64) -> Result<u64> {
        self.device()?.readable(position, len)
    }

    fn size(&self) -> Result<u64> {
        Ok(self.device()?.size())
    }

    fn seek_data(&self, offset: u64) -> Result<u64> {
        self.device()?.seek_data(offset)
    }

    fn seek_hole(&self, offset: u64) -> Result<u64> {
        self.device()?.seek_hole(offset)
    }

    // Inlined where it is called, and what it calls not inlined into it: INFO, which is asked often, pays for nothing else.
    #[inline]
    fn ioctl(&self, file: &File, command: u32, argument: usize) -> Result<isize> {
        let device = self.device()?;
        let argument = UserPtr::from_addr(argument);
        match command {
            abi::INFO => write(argument, &device.info())?,
            _ => return self.other_ioctl(device, file, command, argument),
        }
        Ok(0)
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.device.signal.queue
    }

    fn poll(&self, file: &File) -> u32 {
        if self.device.is_removed() {
            return POLLERR | POLLHUP;
        }
        let mut events = 0;
        if self.device.generation() != read_once(&self.seen) {
            events |= POLLIN | POLLRDNORM;
        }
        if is_writable(file) {
            // Memory can always be written.
            events |= POLLOUT | POLLWRNORM;
        }
        events
    }

    fn page_in_memory(&self, page: u64) -> u64 {
        self.device.page_in_memory(page)
    }

    // ANCHOR: mmap
    fn mmap(&self, vma: &VmaNew) -> Result<Setup> {
        self.device()?
            .mapping(vma::first_page(vma), vma::bytes(vma) / PAGE)?
            .map(vma)
    }
    // ANCHOR_END: mmap

    fn show_fdinfo(&self, to: &SeqFile) {
        self.device.show_lines(to, "chrmem-");
        seq_print!(to, "chrmem-seen:\t{}\n", self.seen.load(Relaxed));
    }
}

impl VmOperations for OpenFile {
    fn opened(&self, vma: &VmaRef) {
        self.device.mappings.opened();
        self.log("vma_open", vma);
    }

    fn closed(&self, vma: &VmaRef) {
        self.device.mappings.closed();
        self.log("vma_close", vma);
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

impl OpenFile {
    /// The device, while it exists.
    fn device(&self) -> Result<&Device> {
        if self.device.is_removed() {
            return Err(ENODEV);
        }
        Ok(&self.device)
    }

    /// All ioctls but INFO.
    #[inline(never)]
    fn other_ioctl(
        &self,
        device: &Device,
        file: &File,
        command: u32,
        argument: UserPtr,
    ) -> Result<isize> {
        match command {
            abi::MEM_CLEAR => {
                check_writable(file)?;
                device.clear()?;
            }
            abi::MEM_RESET | abi::RESET => {
                check_writable(file)?;
                device.reset()?;
            }
            abi::NOTIFY => {
                check_writable(file)?;
                device.notify();
            }
            abi::CLEAR => {
                check_writable(file)?;
                let range = range(argument, 0)?;
                device.clear_range(range.offset, range.size)?;
            }
            abi::SYNC => {
                let range = range(argument, abi::SYNC_READ | abi::SYNC_WRITE | abi::SYNC_END)?;
                sync(device, file, range)?;
            }
            abi::EXPORT => {
                if !is_readable(file) {
                    // As for a mapping: a buffer can always be read.
                    return Err(EACCES);
                }
                let range = range(argument, 0)?;
                let extent = Extent {
                    offset: range.offset,
                    size: range.size,
                };
                let descriptor = Export::open(&self.device, extent, is_writable(file))?;
                return Ok(descriptor as isize);
            }
            abi::CHANGES => {
                if !is_readable(file) {
                    return Err(EBADF);
                }
                self.changes(device, argument)?;
            }
            abi::WINDOW => window(device, argument)?,
            abi::SEEN => {
                let generation = device.generation();
                write(argument, &generation)?;
                self.seen.store(generation, Relaxed);
            }
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    /// CHANGES. A look that begins marks what was the generation before it seen: whoever polls is woken by what changed later, also
    /// by what this look has found already, as the page may be open since.
    fn changes(&self, device: &Device, argument: UserPtr) -> Result {
        let (mut reader, mut writer) =
            UserSlice::new(argument, size_of::<abi::Changes>()).reader_writer();
        let mut look: abi::Changes = reader.read()?;
        if look.flags != 0 || look.reserved != [0; 3] || look.room == 0 {
            return Err(EINVAL);
        }
        let range = match look.offset.checked_add(look.size) {
            Some(end) if look.size != 0 && end <= device.size() => look.offset..end,
            _ => return Err(EINVAL),
        };
        if !device.tracks(&range) {
            return Err(eopnotsupp());
        }
        let (now, generation) = device.now();
        if look.since > now || look.generation > now {
            return Err(EINVAL);
        }
        let begins = look.generation == 0;
        if begins {
            device.close(&range)?;
            // Before any stamp is looked at.
            look.generation = device.now().0;
        }
        let array = UserPtr::from_addr(usize::try_from(look.changes)?);
        let room = (look.room as usize).saturating_mul(size_of::<abi::Change>());
        let mut array = UserSlice::new(array, room).writer();
        look.count = 0;
        look.offset = device.changes(look.since, &range, look.room, |bytes| {
            look.count = look.count.saturating_add(1);
            array.write(&abi::Change {
                offset: bytes.start,
                size: bytes.end.saturating_sub(bytes.start),
            })
        })?;
        look.size = range.end.saturating_sub(look.offset);
        writer.write(&look)?;
        if begins {
            self.seen.store(generation, Relaxed);
        }
        Ok(())
    }

    /// Logs what happened to a mapping, with the first printable bytes in it, if that is wanted.
    fn log(&self, what: &str, vma: &VmaRef) {
        if !log_mappings() {
            return;
        }
        let Some(suppressed) = self.device.log.allow() else {
            return;
        };
        let (first, bytes) = (vma::first_page(vma), vma::bytes(vma));
        let Ok(window) = self.device.mapping(first, bytes / PAGE) else {
            return;
        };
        let offset = first.saturating_mul(PAGE);
        let start = offset.saturating_sub(window.extent.offset);
        let mut text = Text([0; 40]);
        // Reading a device's registers may change something.
        if window.memory.is_ram() {
            window.memory.peek(start, &mut text.0);
        }
        pr_info!(
            "{what}: {} offset {offset} bytes {bytes} \"{text}\"\n",
            self.device.name()
        );
        if suppressed != 0 {
            pr_info!(
                "{what}: {suppressed} lines of {} not logged\n",
                self.device.name()
            );
        }
    }
}

/// Reads a range, which may have some of `flags`.
fn range(argument: UserPtr, flags: u32) -> Result<abi::Range> {
    let range: abi::Range = UserSlice::new(argument, size_of::<abi::Range>())
        .reader()
        .read()?;
    if range.flags & !flags != 0 || range.reserved != 0 {
        return Err(EINVAL);
    }
    Ok(range)
}

/// SYNC.
fn sync(device: &Device, file: &File, range: abi::Range) -> Result {
    let access = Access {
        read: range.flags & abi::SYNC_READ != 0,
        write: range.flags & abi::SYNC_WRITE != 0,
    };
    if !access.read && !access.write {
        return Err(EINVAL);
    }
    if access.read && !is_readable(file) || access.write && !is_writable(file) {
        return Err(EBADF);
    }
    let ends = range.flags & abi::SYNC_END != 0;
    device.sync(range.offset, range.size, access, ends)
}

/// WINDOW.
fn window(device: &Device, argument: UserPtr) -> Result {
    let (mut reader, mut writer) =
        UserSlice::new(argument, size_of::<abi::Window>()).reader_writer();
    let asked: abi::Window = reader.read()?;
    if asked.flags != 0 || asked.reserved != [0; 5] {
        return Err(EINVAL);
    }
    writer.write(&device.window(asked.index)?)
}

/// Bytes of a window, shown up to the first that cannot be printed.
struct Text([u8; 40]);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            if !matches!(byte, b' '..=b'~') {
                break;
            }
            f.write_char(char::from(byte))?;
        }
        Ok(())
    }
}

/// Writes an ioctl's result to user space.
fn write<T: kernel::transmute::AsBytes>(to: UserPtr, value: &T) -> Result {
    UserSlice::new(to, size_of::<T>()).writer().write(value)
}

/// Refuses what only a writer may do.
fn check_writable(file: &File) -> Result {
    if is_writable(file) {
        Ok(())
    } else {
        Err(EBADF)
    }
}

/// Whether a file was opened for reading.
fn is_readable(file: &File) -> bool {
    matches!(file.flags() & O_ACCMODE, O_RDONLY | O_RDWR)
}

/// Whether a file was opened for writing.
fn is_writable(file: &File) -> bool {
    matches!(file.flags() & O_ACCMODE, O_WRONLY | O_RDWR)
}
