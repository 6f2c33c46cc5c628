// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who maps what of which device.

pub(crate) mod canvas;
#[cfg(test)]
mod fixture;
pub(crate) mod svg;
pub(crate) mod text;

use crate::describe::Window;
use crate::sysfs;
use anyhow::{Context, Result};
use procfs::process::{all_processes, MMapPath, MemoryMap, MemoryMaps, Process};
use procfs::{Current, Devices, FromRead, ProcError, ProcResult};
use rustix::fs::{major, minor, FileType, Stat};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A device and who maps it.
#[derive(Debug, Serialize)]
pub(crate) struct Mapped {
    /// Its node.
    pub(crate) node: String,
    /// Whether it was destroyed: only its mappings are left.
    pub(crate) destroyed: bool,
    /// Its windows, in order, where they are known.
    windows: Option<Vec<Window>>,
    /// Its mappings: those of a process together.
    pub(crate) mappings: Vec<Mapping>,
}

/// A range of a process's addresses that is a range of the device.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mapping {
    /// The process's number.
    pub(crate) pid: i32,
    /// What it is called.
    pub(crate) process: String,
    /// The first address.
    pub(crate) address: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Where in the device it starts.
    pub(crate) offset: u64,
    /// As in /proc: rw-s.
    pub(crate) permissions: String,
    /// The window that it is of, where it is known.
    pub(crate) window: Option<String>,
}

impl Mapped {
    /// Its windows, in order; none where they are not known.
    pub(crate) fn windows(&self) -> &[Window] {
        self.windows.as_deref().unwrap_or_default()
    }
}

impl Mapping {
    /// Offsets of the device.
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.size)
    }

    /// Whether the process can store into it.
    pub(crate) fn is_writable(&self) -> bool {
        self.permissions.contains('w')
    }
}

/// What there is to be seen.
pub(crate) struct Survey {
    /// The devices: those there are, then those that were destroyed.
    pub(crate) devices: Vec<Mapped>,
    /// How many processes could not be looked into.
    pub(crate) hidden: usize,
}

/// A device as a mapping tells of it: which of those there are, or the path of one that was
/// destroyed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Node(String),
    Destroyed(String),
}

/// Looks into all processes.
pub(crate) fn survey() -> Result<Survey> {
    let mut finder = Finder::new()?;
    let mut found: BTreeMap<Key, Vec<Mapping>> = BTreeMap::new();
    let mut hidden = 0;
    for process in all_processes().context("cannot list processes")? {
        // Processes come and go.
        let Ok(process) = process else { continue };
        let Ok(maps) = maps(&process) else {
            // The kernel's own threads have no memory to look into.
            hidden += usize::from(
                process.is_alive()
                    && process
                        .exe()
                        .is_err_and(|error| matches!(error, ProcError::PermissionDenied(_))),
            );
            continue;
        };
        for map in maps {
            if let Some(key) = finder.find(&process, &map) {
                found.entry(key).or_default().push(mapping(&process, &map));
            }
        }
    }
    let mut devices = Vec::new();
    for node in sysfs::nodes()? {
        let mappings = found.remove(&Key::Node(node.clone())).unwrap_or_default();
        devices.push(Mapped::new(format!("/dev/{node}"), mappings));
    }
    for (key, mappings) in found {
        let (Key::Node(path) | Key::Destroyed(path)) = key;
        devices.push(Mapped::without_device(path, mappings));
    }
    Ok(Survey { devices, hidden })
}

/// What a process has mapped. Names of files are bytes, which need not be text.
fn maps(process: &Process) -> ProcResult<MemoryMaps> {
    let mut bytes = Vec::new();
    process
        .open_relative("maps")?
        .read_to_end(&mut bytes)
        .map_err(ProcError::from)?;
    MemoryMaps::from_read(String::from_utf8_lossy(&bytes).as_bytes())
}

impl Mapped {
    /// A device that is there.
    fn new(node: String, mappings: Vec<Mapping>) -> Self {
        let windows = chrmem::Device::open_read_only(&node)
            .and_then(|device| device.windows())
            .ok()
            .map(|windows| windows.into_iter().map(Window::from).collect());
        Self::with(node, false, windows, mappings)
    }

    /// A device that was destroyed.
    fn without_device(path: String, mappings: Vec<Mapping>) -> Self {
        Self::with(path, true, None, mappings)
    }

    /// A device, its mappings in order and with the windows that they are of.
    pub(crate) fn with(
        node: String,
        destroyed: bool,
        windows: Option<Vec<Window>>,
        mut mappings: Vec<Mapping>,
    ) -> Self {
        for mapping in &mut mappings {
            mapping.window = windows
                .iter()
                .flatten()
                .find(|window| window.range().contains(&mapping.offset))
                .map(|window| window.name.clone());
        }
        mappings.sort_by_key(|it| (it.pid, it.offset, it.address));
        Self {
            node,
            destroyed,
            windows,
            mappings,
        }
    }
}

/// Tells whether a mapping is of a device, and remembers the answers.
struct Finder {
    /// The driver's major number.
    major: Option<u32>,
    known: HashMap<(i32, i32, u64, PathBuf), Option<Key>>,
}

impl Finder {
    fn new() -> Result<Self> {
        let devices = Devices::current().context("cannot read /proc/devices")?;
        let entry = devices
            .char_devices
            .into_iter()
            .find(|entry| entry.name == "chrmem_dev");
        Ok(Self {
            major: entry.map(|entry| entry.major),
            known: HashMap::new(),
        })
    }

    /// The device that a mapping is of.
    fn find(&mut self, process: &Process, map: &MemoryMap) -> Option<Key> {
        let MMapPath::Path(path) = &map.pathname else {
            return None;
        };
        let (major, minor) = map.dev;
        let identity = (major, minor, map.inode, path.clone());
        let driver = self.major?;
        self.known
            .entry(identity)
            .or_insert_with(|| device_of(process, map, path, driver))
            .clone()
    }
}

/// The device that a mapping of the file `path` is of, if the file is a node of the driver.
fn device_of(process: &Process, map: &MemoryMap, path: &Path, driver: u32) -> Option<Key> {
    let (start, end) = map.address;
    // This is the file itself, whatever its path leads to by now, but only root may look at it.
    let file = format!("/proc/{}/map_files/{start:x}-{end:x}", process.pid());
    let about = rustix::fs::stat(file)
        .or_else(|_| rustix::fs::stat(path))
        .ok()
        .filter(|about| is_node(about, driver, map.inode));
    let shown = path.to_string_lossy();
    match (about, shown.strip_suffix(" (deleted)")) {
        (Some(_), Some(gone)) => Some(Key::Destroyed(gone.to_owned())),
        (Some(about), None) => {
            let link = format!("/sys/dev/char/{driver}:{}", minor(about.st_rdev));
            match std::fs::read_link(link) {
                Ok(link) => Some(Key::Node(link.file_name()?.to_string_lossy().into_owned())),
                Err(_) => Some(Key::Destroyed(shown.into_owned())),
            }
        }
        (None, _) => None,
    }
}

/// Whether a file is the node of a device of the driver.
fn is_node(about: &Stat, driver: u32, inode: u64) -> bool {
    FileType::from_raw_mode(about.st_mode) == FileType::CharacterDevice
        && major(about.st_rdev) == driver
        && about.st_ino == inode
}

/// A mapping as it is told.
fn mapping(process: &Process, map: &MemoryMap) -> Mapping {
    let (start, end) = map.address;
    let name = process.stat().map(|stat| stat.comm).unwrap_or_default();
    Mapping {
        pid: process.pid(),
        process: name,
        address: start,
        size: end - start,
        offset: map.offset,
        permissions: map.perms.as_str(),
        window: None,
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::devices;
    use crate::schema::{check, errors};
    use serde_json::{json, Value};

    #[test]
    fn the_schema_allows_what_is_printed_and_nothing_else() {
        let printed = serde_json::to_value(devices()).expect("JSON");
        check("maps", &printed);
        assert_eq!(printed[2]["windows"], Value::Null);
        let refused = |change: &dyn Fn(&mut Value)| {
            let mut changed = printed.clone();
            change(&mut changed);
            assert_ne!(errors("maps", &changed), [""; 0]);
        };
        refused(&|it| it[0]["more"] = json!(1));
        refused(&|it| it[0]["mappings"][0]["window"] = json!(7));
        refused(&|it| it[0]["mappings"] = json!(3));
        refused(&|it| drop(it[1].as_object_mut().map(|it| it.remove("destroyed"))));
        refused(&|it| it[1]["windows"][0]["address"] = json!(-1));
    }
}
