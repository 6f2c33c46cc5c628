// SPDX-License-Identifier: MIT OR Apache-2.0

//! NVMe over fabrics: a disk of this machine's that this machine has over loop, or over TCP.

use super::memory::{bytes, Memory, SIZE};
use super::{wait_for, Outcome, PASS, READS};
use crate::driver::open_node;
use crate::map::Disk as Ram;
use crate::modprobe::Module;
use crate::sys::{pread, pwrite, Buffer};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy)]
pub(super) enum Transport {
    Loop,
    Tcp,
}

/// The target's folder in configfs.
const TARGET: &str = "/sys/kernel/config/nvmet";

/// The name of the target.
const NAME: &str = "chrmem-test";

/// The disk, connected until dropped.
pub(super) struct Disk {
    disk: Option<OwnedFd>,
    /// Its node.
    pub(super) node: PathBuf,
    _target: Target,
}

impl Disk {
    pub(super) fn connect(transport: Transport) -> Self {
        let target = Target::new(transport);
        let options = match transport {
            Transport::Loop => format!("transport=loop,nqn={NAME}"),
            Transport::Tcp => {
                format!("transport=tcp,traddr=127.0.0.1,trsvcid=4420,nr_io_queues=1,nqn={NAME}")
            }
        };
        let fabrics = open_node("/dev/nvme-fabrics", OFlags::RDWR).expect("/dev/nvme-fabrics");
        assert_eq!(
            rustix::io::write(&fabrics, options.as_bytes()),
            Ok(options.len())
        );
        let flags = OFlags::RDWR | OFlags::DIRECT;
        let (node, disk) = wait_for("the disk", || {
            let entries = fs::read_dir("/sys/class/block").expect("/sys");
            let names = entries.flatten().map(|it| it.file_name());
            let mut names = names.filter_map(|it| it.into_string().ok());
            let name = names.find(|it| it.starts_with("nvme") && !it.contains('c'))?;
            let node = Path::new("/dev").join(name);
            match open_node(&node, flags) {
                Ok(disk) => Some((node, disk)),
                // The node is there before the disk is.
                Err(Errno::NOENT | Errno::NXIO) => None,
                Err(error) => panic!("{node:?}: {error}"),
            }
        });
        Self {
            disk: Some(disk),
            node,
            _target: target,
        }
    }

    /// Writes to the disk directly from the memory, and reads into it.
    pub(super) fn transfer(&self, memory: &Memory) -> Outcome {
        let disk = self.disk.as_ref().expect("the disk");
        let own = Buffer::new(SIZE);
        let before = memory.fill(10);
        assert_eq!(pwrite(disk, memory.span(0, SIZE), 0)?, SIZE);
        assert_eq!(pread(disk, own.span(0, SIZE), 0), Ok(SIZE));
        assert!(own.read(0..SIZE) == before, "written to the disk");
        let expected = bytes(11);
        own.write(0, &expected);
        assert_eq!(pwrite(disk, own.span(0, SIZE), 0), Ok(SIZE));
        let read = pread(disk, memory.span(0, SIZE), 0);
        if !memory.is_writable() {
            assert_eq!(read, Err(Errno::FAULT));
            assert!(memory.read() == before, "written");
            return Ok(READS);
        }
        assert_eq!(read?, SIZE);
        assert!(memory.read() == expected, "read from the disk");
        Ok(PASS)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.disk = None;
        for entry in fs::read_dir("/sys/class/nvme").expect("/sys").flatten() {
            fs::write(entry.path().join("delete_controller"), "1").expect("the end of the disk");
        }
    }
}

/// The target, until dropped.
struct Target {
    _modules: Vec<Module>,
    _ram: Ram,
}

impl Target {
    fn new(transport: Transport) -> Self {
        let ram = Ram::new();
        let (name, modules) = match transport {
            Transport::Loop => ("loop", &["nvme-loop"][..]),
            Transport::Tcp => ("tcp", &["nvme-tcp", "nvmet-tcp"][..]),
        };
        let modules = modules.iter().map(|it| Module::load(it, &[])).collect();
        make("subsystems/chrmem-test");
        set("subsystems/chrmem-test/attr_allow_any_host", "1");
        make("subsystems/chrmem-test/namespaces/1");
        set(
            "subsystems/chrmem-test/namespaces/1/device_path",
            "/dev/ram0",
        );
        set("subsystems/chrmem-test/namespaces/1/enable", "1");
        make("ports/1");
        set("ports/1/addr_trtype", name);
        if let Transport::Tcp = transport {
            set("ports/1/addr_adrfam", "ipv4");
            set("ports/1/addr_traddr", "127.0.0.1");
            set("ports/1/addr_trsvcid", "4420");
        }
        let subsystem = Path::new(TARGET).join("subsystems/chrmem-test");
        let link = Path::new(TARGET).join("ports/1/subsystems/chrmem-test");
        std::os::unix::fs::symlink(subsystem, link).expect("a link");
        Self {
            _modules: modules,
            _ram: ram,
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let link = Path::new(TARGET).join("ports/1/subsystems/chrmem-test");
        fs::remove_file(link).expect("a link");
        for folder in [
            "ports/1",
            "subsystems/chrmem-test/namespaces/1",
            "subsystems/chrmem-test",
        ] {
            let folder = Path::new(TARGET).join(folder);
            fs::remove_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        }
    }
}

fn make(folder: &str) {
    let folder = Path::new(TARGET).join(folder);
    fs::create_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
}

fn set(setting: &str, value: &str) {
    let path = Path::new(TARGET).join(setting);
    fs::write(&path, value).unwrap_or_else(|error| panic!("{path:?}: {error}"));
}
