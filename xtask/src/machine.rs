// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine that QEMU is asked for.

use std::path::Path;

use anyhow::{Context, Result};
use duct::Expression;
use fs_err as fs;

use crate::kvm;
use crate::root::{Bind, Root};
use crate::setup::Lab;
use crate::vm::{Accel, Args};

/// Where QEMU sees the run's directory.
const RUN: &str = "/run/chrmem/run";
/// Where QEMU sees the tree without what is mounted over it.
const ROOT: &str = "/run/chrmem/root";
/// Where QEMU sees the shared directory.
const SHARE: &str = "/run/chrmem/share";

/// The connections to the guest, by the names of their sockets. The ports are numbered in this order from 1.
pub(crate) const PORTS: &[&str] = &["control", "stdin", "stdout", "stderr"];

/// The kernel's log goes here.
pub(crate) const CONSOLE: &str = "console";

/// The directory of files that are devices' memory, in the run's directory; the guest has it at /hw.
pub(crate) const HARDWARE: &str = "hw";

/// The file that is BAR 2 of the guest's `ivshmem` device, and its bytes: as many as one page-table entry of the largest kind
/// maps. It has holes where nobody wrote.
const IVSHMEM: (&str, u64) = ("ivshmem", 1 << 30);

/// Makes the files that are devices' memory.
pub(crate) fn make_hardware(run: &Path) -> Result<()> {
    let dir = run.join(HARDWARE);
    fs::create_dir(&dir)?;
    let (name, size) = IVSHMEM;
    Ok(fs::File::create(dir.join(name))?.set_len(size)?)
}

/// The command that runs the machine, with `guest` as its root; `run` is the run's directory, with the sockets in it.
pub(crate) fn qemu(
    lab: &Lab,
    guest: &Root,
    args: &Args,
    run: &Path,
    interactive: bool,
) -> Result<Expression> {
    let accel = match args.accel {
        _ if args.icount => Accel::Tcg,
        Some(accel) => accel,
        None if kvm::works(lab)? => Accel::Kvm,
        None => Accel::Tcg,
    };
    let mem = match &args.mem {
        Some(size) => size,
        // Sanitizers keep records of the memory in the memory.
        None if lab.kernel.debug => "2G",
        None => "1G",
    };
    let smp = if args.icount { 1 } else { args.smp };
    let machine = &lab.arch.machine;
    let mut argv: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|word| (*word).to_owned()));
    add(&[
        machine.program,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]);
    add(&["-machine", machine.board]);
    add(&["-m", mem, "-smp", &smp.to_string()]);
    if args.incoherent {
        make_incoherent(lab, mem, smp, run)?;
        add(&["-dtb", &format!("{RUN}/{DEVICE_TREE}")]);
    }
    for device in machine.devices {
        add(&["-device", device]);
    }
    match accel {
        Accel::Kvm => add(&["-accel", "kvm", "-cpu", machine.native]),
        Accel::Tcg if args.icount => {
            add(&["-accel", "tcg", "-icount", "shift=0,sleep=off"]);
            add(&["-cpu", machine.counted]);
        }
        Accel::Tcg => {
            add(&["-accel", "tcg,thread=multi", "-cpu", machine.emulated]);
        }
    }
    add(&[
        "-kernel",
        &lab.kernel.image(),
        "-initrd",
        "/run/chrmem/initramfs",
    ]);
    add(&["-append", &command_line(lab, args)]);
    add(&[
        "-chardev",
        &socket(CONSOLE),
        "-serial",
        &format!("chardev:{CONSOLE}"),
    ]);
    add(&["-device", "virtio-serial-pci"]);
    for (port, name) in PORTS.iter().enumerate() {
        let number = port + 1;
        add(&[
            "-chardev",
            &socket(name),
            "-device",
            &format!("virtserialport,chardev={name},nr={number}"),
        ]);
    }
    if interactive {
        add(&[
            "-chardev",
            "stdio,id=terminal,signal=off",
            "-device",
            "virtconsole,chardev=terminal,nr=0",
        ]);
    }
    // 9p, because QEMU itself does it: what another process writes into the guest's memory, emulation may miss.
    add(&[
        "-virtfs",
        &format!(
            "local,path={ROOT},mount_tag=root,security_model=none,readonly=on,multidevs=remap"
        ),
    ]);
    add(&[
        "-virtfs",
        &format!("local,path={RUN}/lab,mount_tag=lab,security_model=none,readonly=on"),
    ]);
    // Three devices that serve as real hardware: a bridge with nothing behind it, one with a DMA engine, and one whose BAR 2 is a
    // file of the host.
    let (ivshmem, size) = IVSHMEM;
    add(&[
        "-device",
        "pcie-root-port,chassis=1,slot=1,addr=1e",
        "-device",
        "edu,dma_mask=0xffffffff",
        "-object",
        &format!(
            "memory-backend-file,id=ivshmem,share=on,size={size},mem-path={RUN}/{HARDWARE}/{ivshmem}"
        ),
        "-device",
        "ivshmem-plain,memdev=ivshmem",
        "-virtfs",
        &format!("local,path={RUN}/{HARDWARE},mount_tag=hw,security_model=none"),
    ]);
    // Graphics cards, whose drivers import memory. Their numbers are high, so that the other devices keep theirs.
    for (number, card) in (0x10..).zip(machine.graphics) {
        add(&["-device", &format!("{card},addr={number:x},romfile=")]);
    }
    let mut binds = vec![
        Bind::read_only(guest.dir(), ROOT),
        Bind::read_only(&lab.initramfs, "/run/chrmem/initramfs"),
        Bind::writable(run, RUN),
    ];
    // The kernels are where they were built.
    let of_kernels = ["usr/lib/modules", "usr/src"]
        .map(|dir| (lab.root.dir().join(dir), format!("{ROOT}/{dir}")));
    if lab.arch.is_foreign() {
        let dirs = of_kernels.iter();
        binds.extend(dirs.map(|(source, target)| Bind::read_only(source, target)));
    }
    let share = args
        .share
        .as_ref()
        .map(fs::canonicalize)
        .transpose()
        .context("--share")?;
    if let Some(dir) = &share {
        add(&[
            "-virtfs",
            &format!("local,path={SHARE},mount_tag=share,security_model=none,multidevs=remap"),
        ]);
        binds.push(Bind::writable(dir, SHARE));
    }
    Ok(lab.root.command(&binds, argv))
}

/// The file in the run's directory with the device tree.
const DEVICE_TREE: &str = "device-tree";

/// Writes a device tree as QEMU makes it for this machine, but in which no device is called coherent.
fn make_incoherent(lab: &Lab, mem: &str, smp: u32, run: &Path) -> Result<()> {
    const COHERENT: &[u8] = b"\0dma-coherent\0";
    let machine = &lab.arch.machine;
    let board = format!("{},dumpdtb={RUN}/{DEVICE_TREE}", machine.board);
    let smp = smp.to_string();
    let argv = [
        machine.program,
        "-nodefaults",
        "-display",
        "none",
        "-machine",
        &board,
        "-m",
        mem,
        "-smp",
        &smp,
        "-cpu",
        machine.emulated,
    ];
    let binds = [Bind::writable(run, RUN)];
    let command = lab.root.command(&binds, argv).stdout_to_stderr();
    command.run().context("this machine has no device tree")?;
    let path = run.join(DEVICE_TREE);
    let mut tree = fs::read(&path)?;
    // The names of properties are in the tree once each.
    let names = tree.windows(COHERENT.len());
    let at = { names }.position(|bytes| bytes == COHERENT);
    let at = at.context("QEMU calls no device coherent")?;
    // A name that says nothing, as long as the other one.
    tree[at + 1..][..4].copy_from_slice(b"not-");
    // The names come last. QEMU leaves much room behind them, and more of it than the kernel takes when it reads the file.
    let number = |at: usize| tree[at..].first_chunk().map(|it| u32::from_be_bytes(*it));
    let (names, length) = (
        number(12).context("a header")?,
        number(32).context("a header")?,
    );
    let end = names + length;
    tree.truncate(end as usize);
    tree[4..8].copy_from_slice(&end.to_be_bytes());
    Ok(fs::write(path, tree)?)
}

/// The kernel's command line.
fn command_line(lab: &Lab, args: &Args) -> String {
    let machine = &lab.arch.machine;
    let mut line = format!(
        "console={} panic=-1 oops=panic {}",
        machine.console, machine.append
    );
    if args.icount {
        line += " ";
        line += machine.append_counted;
    }
    if lab.kernel.debug {
        // Without the slab allocator's caches kmemleak sees every leak; who has a page is recorded; and the first report of
        // KASAN is not the last.
        line += " slab_debug=U page_owner=on kasan_multi_shot ";
        line += machine.append_debug;
    }
    if !args.append.is_empty() {
        line += " ";
        line += &args.append;
    }
    line
}

/// A connection to the socket of this name.
fn socket(name: &str) -> String {
    format!("socket,id={name},path={RUN}/{name}")
}
