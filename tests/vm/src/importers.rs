// SPDX-License-Identifier: MIT OR Apache-2.0

//! Drivers of the kernel's own that import memory: dma-bufs, and pages of a mapping.
//!
//! Each test is a row of the matrix in `docs/importers.md`: it has one driver import memory of every kind, checks
//! the data that the driver moved byte for byte, and compares the outcome with the one expected. The first two kinds
//! are exported by the kernel itself, to prove the test.

mod camera;
mod graphics;
mod memory;
mod nvme;
mod rdma;
mod usb;
mod vfio;
mod xdp;

use crate::driver::get;
use crate::folder::Folder;
use crate::kmsg::Mark;
use crate::report::fact;
use crate::strangers::sh;
use crate::sys::Buffer;
use camera::{Allocator, Camera};
use memory::{kinds, Memory, KINDS};
use rustix::io::Errno;
use std::time::{Duration, Instant};

crate::tests! {
    vivid_vmalloc_captures_into_a_dma_buf
    vivid_vmalloc_captures_into_a_mapping
    vivid_contiguous_captures_into_a_dma_buf
    vivid_contiguous_captures_into_a_mapping
    vgem_imports_a_dma_buf
    bochs_displays_a_dma_buf
    qxl_imports_a_dma_buf
    virtio_gpu_imports_a_dma_buf
    functionfs_imports_a_dma_buf
    functionfs_transfers_a_mapping
    usbfs_transfers_a_mapping
    rxe_registers_a_mapping
    rxe_registers_a_dma_buf
    af_xdp_has_a_mapping_as_umem
    vfio_maps_a_mapping
    nvme_loop_transfers_a_mapping
    nvme_tcp_transfers_a_mapping
    fio_verifies_an_nvme_disk
}

/// How an import ended: what passed, or the errno.
type Outcome = Result<&'static str, Errno>;

/// All that was tried works.
const PASS: &str = "pass";

/// Importing to read works; importing to write is refused, as it must be.
const READS: &str = "pass to read";

/// Runs a row: has `import` import memory of every kind, in the order of [`KINDS`].
///
/// Most outcomes are to be `most`, and those of some kinds others.
fn row(
    importer: &str,
    most: &str,
    others: &[(&str, &str)],
    mut import: impl FnMut(&Memory) -> Outcome,
) {
    let unknown = others.iter().find(|(kind, _)| !KINDS.contains(kind));
    assert_eq!(unknown, None);
    let mut differences = Vec::new();
    for kind in kinds() {
        let other = others.iter().find(|(it, _)| *it == kind);
        let expected = other.map_or(most, |(_, outcome)| outcome);
        let memory = Memory::new(kind);
        let log = Mark::now();
        let outcome = import(&memory);
        memory.check_outside();
        drop(memory);
        let splat = log.all().into_iter().find(|line| is_splat(line));
        assert_eq!(splat, None, "{importer}, {kind}");
        let outcome = match outcome {
            Ok(what) => what.to_owned(),
            Err(errno) => name(errno),
        };
        fact("importers", &format!("{importer} × {kind}"), &outcome);
        if outcome != expected {
            differences.push(format!("{kind}: {outcome}, expected {expected}"));
        }
    }
    assert!(differences.is_empty(), "{importer}: {differences:#?}");
}

/// Whether a line of the kernel log reports a defect in the kernel.
fn is_splat(line: &str) -> bool {
    const SIGNS: [&str; 7] = [
        "WARNING:",
        "BUG:",
        "Oops",
        "Call Trace:",
        "UBSAN",
        "refcount_t:",
        "general protection fault",
    ];
    SIGNS.iter().any(|sign| line.contains(sign))
}

/// An errno's symbol, such as `EFAULT`.
fn name(errno: Errno) -> String {
    let symbol = match errno {
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::FAULT => "EFAULT",
        Errno::INVAL => "EINVAL",
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::NOSYS => "ENOSYS",
        Errno::NODEV => "ENODEV",
        Errno::IO => "EIO",
        other => return format!("{other:?}"),
    };
    symbol.into()
}

/// An ioctl's argument of `size` bytes: zeros, but for these 32-bit fields.
fn argument<const N: usize>(fields: [(usize, u32); N]) -> Buffer {
    let argument = Buffer::new(4096);
    for (at, field) in fields {
        argument.write(at, &field.to_ne_bytes());
    }
    argument
}

/// A 32-bit field of an ioctl's argument.
fn field(argument: &Buffer, at: usize) -> u32 {
    u32::from_ne_bytes(argument.read(at..at + 4).try_into().expect("4 bytes"))
}

/// A 64-bit field of an ioctl's argument.
fn wide_field(argument: &Buffer, at: usize) -> u64 {
    u64::from_ne_bytes(argument.read(at..at + 8).try_into().expect("8 bytes"))
}

/// Where a buffer is, for a field that is a pointer.
fn address(buffer: &Buffer) -> [u8; 8] {
    buffer.address().to_ne_bytes()
}

/// Waits until `look` finds something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The time that anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Memory that is mapped without struct pages, so that nobody can pin it.
const NO_PAGES: [(&str, &str); 3] = [
    ("DMA heap", "EFAULT"),
    ("dma", "EFAULT"),
    ("physical", "EFAULT"),
];

/// EXPORT takes no window of a device's registers.
const NO_EXPORT: (&str, &str) = ("physical", "EOPNOTSUPP");

fn vivid_vmalloc_captures_into_a_dma_buf() {
    let camera = Camera::new(Allocator::Vmalloc);
    let others = [NO_EXPORT, ("read-only", "EFAULT")];
    row("vivid, vb2-vmalloc, DMABUF", PASS, &others, |memory| {
        camera.capture_into_buffer(memory)
    });
}

fn vivid_vmalloc_captures_into_a_mapping() {
    let camera = Camera::new(Allocator::Vmalloc);
    let others = [&NO_PAGES[..], &[("read-only", "EFAULT")]].concat();
    row("vivid, vb2-vmalloc, USERPTR", PASS, &others, |memory| {
        camera.capture_into_mapping(memory)
    });
}

/// It takes one run of memory only.
fn vivid_contiguous_captures_into_a_dma_buf() {
    let camera = Camera::new(Allocator::Contiguous);
    let scattered = ["udmabuf", "pages", "write-combining", "noncached"];
    let others = [NO_EXPORT, ("read-only", "EINVAL")];
    let others = [scattered.map(|kind| (kind, "EFAULT")).as_slice(), &others].concat();
    row("vivid, vb2-dma-contig, DMABUF", PASS, &others, |memory| {
        camera.capture_into_buffer(memory)
    });
}

/// The driver does not offer it.
fn vivid_contiguous_captures_into_a_mapping() {
    let camera = Camera::new(Allocator::Contiguous);
    row("vivid, vb2-dma-contig, USERPTR", "EINVAL", &[], |memory| {
        camera.capture_into_mapping(memory)
    });
}

fn vgem_imports_a_dma_buf() {
    let (module, node) = crate::dmabuf::vgem();
    let others = [NO_EXPORT, ("read-only", READS)];
    row("vgem, PRIME", PASS, &others, |memory| {
        graphics::import_and_export(&node, memory)
    });
    drop(module);
}

fn bochs_displays_a_dma_buf() {
    let screen = graphics::Bochs::new();
    let others = [NO_EXPORT, ("read-only", "EINVAL")];
    row("bochs, PRIME", PASS, &others, |memory| {
        screen.display(memory)
    });
}

/// It maps a dma-buf for its device, to find out that it has no use for it.
fn qxl_imports_a_dma_buf() {
    let card = graphics::Card::new("qxl", 0x1b36, 0x0100);
    let others = [NO_EXPORT, ("read-only", "EACCES")];
    row("qxl, PRIME", "ENOSYS", &others, |memory| {
        card.import(memory)
    });
}

/// The same, where the host takes no blobs, which QEMU's plain device does not.
fn virtio_gpu_imports_a_dma_buf() {
    let card = graphics::Card::new("virtio_gpu", 0x1af4, 0x1050);
    let others = [NO_EXPORT, ("read-only", "EACCES")];
    row("virtio-gpu, PRIME", "ENODEV", &others, |memory| {
        card.import(memory)
    });
}

/// The emulated controller takes no lists of pages, so FunctionFS takes no dma-buf.
fn functionfs_imports_a_dma_buf() {
    let gadget = usb::Gadget::new();
    row(
        "FunctionFS, DMABUF_ATTACH",
        "EPERM",
        &[NO_EXPORT],
        |memory| gadget.attach(memory),
    );
}

/// The processor copies, from whatever is mapped.
fn functionfs_transfers_a_mapping() {
    let gadget = usb::Gadget::new();
    row(
        "FunctionFS, read and write",
        PASS,
        &[("read-only", READS)],
        |memory| gadget.transfer_by_device(memory),
    );
}

/// The same, at the host.
fn usbfs_transfers_a_mapping() {
    let gadget = usb::Gadget::new();
    row(
        "usbfs, USBDEVFS_BULK",
        PASS,
        &[("read-only", READS)],
        |memory| gadget.transfer_by_host(memory),
    );
}

fn rxe_registers_a_mapping() {
    let rxe = rdma::Rxe::new();
    let others = [&NO_PAGES[..], &[("read-only", READS)]].concat();
    row("rxe, ibv_reg_mr", PASS, &others, |memory| {
        rxe.register_mapping(memory)
    });
}

/// It has no memory regions of dma-bufs.
fn rxe_registers_a_dma_buf() {
    let rxe = rdma::Rxe::new();
    row("rxe, ibv_reg_dmabuf_mr", "EOPNOTSUPP", &[], |memory| {
        rxe.register_buffer(memory)
    });
}

fn af_xdp_has_a_mapping_as_umem() {
    let others = [&NO_PAGES[..], &[("read-only", "EFAULT")]].concat();
    row("AF_XDP, UMEM", PASS, &others, xdp::send_and_receive);
}

/// Of memory without struct pages, it takes what is not RAM.
fn vfio_maps_a_mapping() {
    let device = vfio::Assigned::new();
    let others = [
        ("DMA heap", "EFAULT"),
        ("dma", "EFAULT"),
        ("read-only", READS),
    ];
    row("VFIO type 1, VFIO_IOMMU_MAP_DMA", PASS, &others, |memory| {
        device.copy(memory)
    });
}

fn nvme_loop_transfers_a_mapping() {
    let disk = nvme::Disk::connect(nvme::Transport::Loop);
    let others = [&NO_PAGES[..], &[("read-only", READS)]].concat();
    row("NVMe over loop, O_DIRECT", PASS, &others, |memory| {
        disk.transfer(memory)
    });
}

fn nvme_tcp_transfers_a_mapping() {
    let disk = nvme::Disk::connect(nvme::Transport::Tcp);
    let others = [&NO_PAGES[..], &[("read-only", READS)]].concat();
    row("NVMe over TCP, O_DIRECT", PASS, &others, |memory| {
        disk.transfer(memory)
    });
}

/// What fio writes to a disk from buffers in a window, it reads back into them.
fn fio_verifies_an_nvme_disk() {
    for transport in [nvme::Transport::Loop, nvme::Transport::Tcp] {
        let disk = nvme::Disk::connect(transport);
        for settings in ["size=4M", "size=4M memory=contiguous"] {
            let folder = Folder::live("test", &[("one", settings)]);
            sh(&format!(
                "fio --name=x --thread --filename={} --direct=1 --rw=randwrite --bs=16k --size=512k \
                 --verify=crc32c --verify_fatal=1 --verify_state_save=0 --ioengine=io_uring \
                 --fixedbufs=1 --iodepth=4 --mem=mmapshared:{}",
                disk.node.display(),
                folder.node()
            ));
            assert!(get(folder.open(), 0, 16384) != [0; 16384]);
        }
        fact(
            "strangers",
            "fio: KiB to an NVMe disk and back, directly out of and into a window",
            1024,
        );
    }
}
