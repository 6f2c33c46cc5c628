// SPDX-License-Identifier: GPL-2.0

//! Devices made at run time, in `/sys/kernel/config/chrmem`.
//!
//! `mkdir chrmem/NAME` makes a device that is not there yet, with a file `live` and a folder
//! `windows`; `mkdir windows/WINDOW` gives it a window. Writing 1 to `live` builds the device,
//! `/dev/chrmem-NAME`, all at once or not at all, and 0 destroys it.
//!
//! Lock order: [`DeviceFolder::state`] before [`WindowFolder::settings`]. Neither is held while a device is built or
//! destroyed, which can take long: configfs has a lock of its own while it asks for a folder to be made or
//! removed, and all others would wait with it.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use core::fmt::Write;
use kernel::{
    fmt,
    new_condvar,
    new_mutex,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        CondVar,
        Mutex, //
    }, //
};

use crate::{
    abi,
    abstractions::{
        cache::Cache,
        capability,
        configfs::{
            Directory,
            Named,
            Nothing, //
        },
        dma,
    },
    device::Device,
    layout::{
        self,
        Defect,
        Extent, //
    },
    list,
    memory::{
        self,
        Kind,
        Memory,
        Request,
        CACHES, //
    },
    number,
    registry::{
        Published,
        Registry, //
    },
    track::Stamps,
    window::{
        Access,
        Window, //
    },
};

/// `chrmem`: all devices made at run time.
pub(crate) struct Root {
    registry: Arc<Registry>,
}

impl Root {
    /// The folder that puts its devices into `registry`.
    pub(crate) fn new(registry: Arc<Registry>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { registry }, GFP_KERNEL)?)
    }
}

impl Directory for Root {
    const ATTRIBUTES: &'static [&'static CStr] = &[];
    type Child = DeviceFolder;
    type Default = Nothing;

    fn make(this: &Arc<Self>, name: &CStr) -> Result<Arc<DeviceFolder>> {
        check_name("device", name)?;
        Arc::pin_init(
            try_pin_init!(DeviceFolder {
                registry: this.registry.clone(),
                name: CString::try_from_fmt(fmt!("chrmem-{name}"))?,
                state <- new_mutex!(
                    State {
                        windows: KVec::new(),
                        live: Live::Off,
                    },
                    "DeviceFolder::state"
                ),
                settled <- new_condvar!("DeviceFolder::settled"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    fn remove(&self, child: &Arc<DeviceFolder>) {
        // Nobody is in its `store`: configfs has waited for that.
        let live = core::mem::replace(&mut child.state.lock().live, Live::Off);
        drop(live);
    }
}

/// `chrmem/NAME`: a device, there or not.
#[pin_data]
pub(crate) struct DeviceFolder {
    registry: Arc<Registry>,
    /// The name of the node.
    name: CString,
    #[pin]
    state: Mutex<State>,
    /// Told when the device is not changing any more.
    #[pin]
    settled: CondVar,
}

struct State {
    /// In the order in which they were made.
    windows: KVec<Arc<WindowFolder>>,
    live: Live,
}

/// Whether the device is there.
enum Live {
    Off,
    /// It is being built or destroyed.
    Changing,
    On {
        _published: Published,
    },
}

impl State {
    /// Refuses a change of a device that is live.
    fn check_off(&self, name: &CStr) -> Result {
        let why = match self.live {
            Live::Off => return Ok(()),
            Live::Changing => "is just being built or destroyed: wait until that is done",
            Live::On { .. } => "is live: write 0 to live",
        };
        pr_err!("{name}: it {why} before changing its windows\n");
        Err(EBUSY)
    }
}

impl Directory for DeviceFolder {
    const ATTRIBUTES: &'static [&'static CStr] = &[c"live"];
    type Child = Nothing;
    type Default = WindowsFolder;

    fn default(this: &Arc<Self>) -> Result<Option<Named<WindowsFolder>>> {
        let device = this.clone();
        let folder = Arc::new(WindowsFolder { device }, GFP_KERNEL_ACCOUNT)?;
        Ok(Some((c"windows", folder)))
    }

    fn show(&self, _: usize, to: &mut dyn Write) -> core::fmt::Result {
        let live = matches!(self.state.lock().live, Live::On { .. });
        to.write_char(if live { '1' } else { '0' })
    }

    fn store(&self, _: usize, text: &[u8]) -> Result {
        match core::str::from_utf8(text).ok().and_then(number::parse) {
            Some(0) => self.unpublish(),
            Some(1) => self.publish(),
            _ => {
                pr_err!("{}: live: not 0 or 1: \"{}\"\n", &*self.name, shown(text));
                Err(EINVAL)
            }
        }
    }
}

impl DeviceFolder {
    /// Builds the device, if it is not there yet.
    fn publish(&self) -> Result {
        let mut state = self.settled_state()?;
        if matches!(state.live, Live::On { .. }) {
            return Ok(());
        }
        let mut plan = KVec::with_capacity(state.windows.len(), GFP_KERNEL_ACCOUNT)?;
        for folder in &state.windows {
            let settings = *folder.settings.lock();
            plan.push((folder.clone(), settings), GFP_KERNEL)?;
        }
        state.live = Live::Changing;
        drop(state);
        let built = self.build(&plan);
        match built.and_then(|device| Published::new(&self.registry, device)) {
            Ok(_published) => self.settle(Live::On { _published }),
            Err(error) => {
                self.settle(Live::Off);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Destroys the device, if it is there.
    fn unpublish(&self) -> Result {
        let mut state = self.settled_state()?;
        let live = core::mem::replace(&mut state.live, Live::Changing);
        drop(state);
        // Until it is gone, no new device of this name can come.
        drop(live);
        self.settle(Live::Off);
        Ok(())
    }

    /// The state, once nobody builds or destroys the device. Fails with `EINTR` if a signal comes before that.
    fn settled_state(&self) -> Result<Guard<'_, State, MutexBackend>> {
        let mut state = self.state.lock();
        while matches!(state.live, Live::Changing) {
            if self.settled.wait_interruptible(&mut state) {
                return Err(EINTR);
            }
        }
        Ok(state)
    }

    /// Says that the device is built or destroyed.
    fn settle(&self, live: Live) {
        self.state.lock().live = live;
        self.settled.notify_all();
    }

    /// Makes the device of its windows and their settings.
    fn build(&self, plan: &[(Arc<WindowFolder>, Settings)]) -> Result<Arc<Device>> {
        if plan.is_empty() {
            pr_err!("{}: it has no windows\n", &*self.name);
            return Err(EINVAL);
        }
        let mut places = KVec::with_capacity(plan.len(), GFP_KERNEL_ACCOUNT)?;
        let mut end = 0;
        for (folder, settings) in plan {
            let extent = folder.extent(settings, end)?;
            end = extent.end();
            places.push(Some((extent, folder, settings)), GFP_KERNEL)?;
        }
        // In order of offset. Not `sort`, which is larger than all of this file.
        let mut extents = KVec::with_capacity(plan.len(), GFP_KERNEL_ACCOUNT)?;
        let mut ordered = KVec::with_capacity(plan.len(), GFP_KERNEL_ACCOUNT)?;
        while let Some((extent, folder, settings)) = places
            .iter_mut()
            .filter(|place| place.is_some())
            .min_by_key(|place| place.as_ref().map(|(extent, ..)| extent.offset))
            .and_then(Option::take)
        {
            extents.push(extent, GFP_KERNEL)?;
            ordered.push((folder, settings), GFP_KERNEL)?;
        }
        layout::check(&extents).map_err(|defect| {
            if let Some((folder, _)) = ordered.get(defect.window()) {
                folder.refuse(defect);
            }
            EINVAL
        })?;
        // Only now is memory asked for.
        let mut windows = KVec::with_capacity(plan.len(), GFP_KERNEL_ACCOUNT)?;
        for (extent, (folder, settings)) in extents.iter().zip(ordered) {
            let window = folder.build(settings, &self.registry, *extent)?;
            windows.push(window, GFP_KERNEL)?;
        }
        let name = CString::try_from_fmt(fmt!("{}", &*self.name))?;
        Device::new(&self.registry, name, windows, extents)
    }
}

/// `chrmem/NAME/windows`.
pub(crate) struct WindowsFolder {
    device: Arc<DeviceFolder>,
}

impl Directory for WindowsFolder {
    const ATTRIBUTES: &'static [&'static CStr] = &[];
    type Child = WindowFolder;
    type Default = Nothing;

    fn make(this: &Arc<Self>, name: &CStr) -> Result<Arc<WindowFolder>> {
        check_name("window", name)?;
        let mut state = this.device.state.lock();
        state.check_off(&this.device.name)?;
        let window = Arc::pin_init(
            try_pin_init!(WindowFolder {
                device: this.device.clone(),
                name: CString::try_from_fmt(fmt!("{name}"))?,
                settings <- new_mutex!(Settings::default(), "WindowFolder::settings"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        state.windows.push(window.clone(), GFP_KERNEL_ACCOUNT)?;
        Ok(window)
    }

    fn remove(&self, child: &Arc<WindowFolder>) {
        // A live device keeps the window until it is destroyed.
        let mut state = self.device.state.lock();
        list::take(&mut state.windows, |window| Arc::ptr_eq(window, child));
    }
}

/// `chrmem/NAME/windows/WINDOW`.
#[pin_data]
pub(crate) struct WindowFolder {
    device: Arc<DeviceFolder>,
    name: CString,
    #[pin]
    settings: Mutex<Settings>,
}

/// What a window is to be.
#[derive(Clone, Copy)]
struct Settings {
    /// Where; if not given, right after the window made before it.
    offset: Option<u64>,
    size: u64,
    kind: Kind,
    cache: Cache,
    access: Access,
    address: Option<u64>,
    device: Option<PciAddress>,
    node: Option<u32>,
    fill: u8,
    track: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            offset: None,
            size: 0,
            kind: Kind::Pages,
            cache: Cache::Cached,
            access: Access::ReadWrite,
            address: None,
            device: None,
            node: None,
            fill: 0,
            track: false,
        }
    }
}

impl WindowFolder {
    const OFFSET: usize = 0;
    const SIZE: usize = 1;
    const MEMORY: usize = 2;
    const CACHE: usize = 3;
    const ACCESS: usize = 4;
    const ADDRESS: usize = 5;
    const DEVICE: usize = 6;
    const FILL: usize = 7;
    const TRACK: usize = 8;
    const NODE: usize = 9;
}

impl Directory for WindowFolder {
    const ATTRIBUTES: &'static [&'static CStr] = &[
        c"offset", c"size", c"memory", c"cache", c"access", c"address", c"device", c"fill",
        c"track", c"node",
    ];
    type Child = Nothing;
    type Default = Nothing;

    fn show(&self, attribute: usize, to: &mut dyn Write) -> core::fmt::Result {
        let settings = self.settings.lock();
        match attribute {
            Self::OFFSET => match settings.offset {
                Some(offset) => write!(to, "{offset}"),
                None => to.write_str("auto"),
            },
            Self::SIZE => write!(to, "{}", settings.size),
            Self::MEMORY => to.write_str(name_of(&Kind::ALL, settings.kind)),
            Self::CACHE => to.write_str(name_of(&CACHES, settings.cache)),
            Self::ACCESS => to.write_str(name_of(&Access::ALL, settings.access)),
            Self::ADDRESS => match settings.address {
                Some(address) => write!(to, "{address:#x}"),
                None => to.write_str("none"),
            },
            Self::DEVICE => match settings.device {
                Some(device) => to.write_fmt(fmt!("{device}")),
                None => to.write_str("none"),
            },
            Self::FILL => write!(to, "{}", settings.fill),
            Self::TRACK => write!(to, "{}", u8::from(settings.track)),
            Self::NODE => match settings.node {
                Some(node) => write!(to, "{node}"),
                None => to.write_str("any"),
            },
            _ => Ok(()),
        }
    }

    fn store(&self, attribute: usize, text: &[u8]) -> Result {
        let state = self.device.state.lock();
        state.check_off(&self.device.name)?;
        let text_of = core::str::from_utf8(text).ok();
        let set = text_of.and_then(|text| self.settings.lock().set(attribute, text));
        set.ok_or_else(|| {
            let name = Self::ATTRIBUTES.get(attribute).copied().unwrap_or(c"");
            let path = self.path();
            pr_err!("{path}: not a value of {name}: \"{}\"\n", shown(text));
            EINVAL
        })
    }
}

impl Settings {
    /// Sets what file `attribute` of a [`WindowFolder`] is about; `None` if `text` is not a value.
    fn set(&mut self, attribute: usize, text: &str) -> Option<()> {
        match attribute {
            WindowFolder::OFFSET => self.offset = optional(text, "auto", number::parse)?,
            WindowFolder::SIZE => self.size = number::parse(text)?,
            WindowFolder::MEMORY => self.kind = named(&Kind::ALL, text)?,
            WindowFolder::CACHE => self.cache = named(&CACHES, text)?,
            WindowFolder::ACCESS => self.access = named(&Access::ALL, text)?,
            WindowFolder::ADDRESS => self.address = optional(text, "none", number::parse)?,
            WindowFolder::DEVICE => self.device = optional(text, "none", PciAddress::parse)?,
            WindowFolder::NODE => {
                let parse = |text: &str| u32::try_from(number::parse(text)?).ok();
                self.node = optional(text, "any", parse)?;
            }
            WindowFolder::FILL => self.fill = u8::try_from(number::parse(text)?).ok()?,
            WindowFolder::TRACK => {
                self.track = match number::parse(text)? {
                    0 => false,
                    1 => true,
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
    }
}

impl Settings {
    /// The stamps of a window of `size` bytes, if it is to be tracked.
    fn stamps(&self, size: u64) -> Result<Option<Stamps>> {
        if !self.track {
            return Ok(None);
        }
        Stamps::new(usize::try_from(size / layout::PAGE)?).map(Some)
    }
}

impl WindowFolder {
    /// What the log calls it.
    fn path(&self) -> Path<'_> {
        Path {
            device: &self.device.name,
            window: &self.name,
        }
    }

    /// Where the window is to be: at `end` if it has no offset of its own.
    fn extent(&self, settings: &Settings, end: u64) -> Result<Extent> {
        let extent = Extent {
            offset: settings.offset.unwrap_or(end),
            size: settings.size,
        };
        layout::check(&[extent]).map_err(|defect| {
            self.refuse(defect);
            EINVAL
        })?;
        Ok(extent)
    }

    /// Says in the log what is wrong with where the window is to be.
    fn refuse(&self, defect: Defect) {
        pr_err!("{}: {}\n", self.path(), defect.why());
    }

    /// Makes the window and its memory.
    fn build(
        &self,
        settings: &Settings,
        registry: &Arc<Registry>,
        extent: Extent,
    ) -> Result<Window> {
        let path = self.path();
        if settings.address.is_some_and(|it| it % layout::PAGE != 0) {
            pr_err!("{path}: address: not a whole number of pages\n");
            return Err(EINVAL);
        }
        let dma = match (settings.kind, settings.device) {
            (Kind::Dma, None) => Some(registry.dma_device()?),
            (_, Some(address)) => {
                capability::may_program_pci()
                    .map_err(|denial| memory::deny(fmt!("{path}"), denial))?;
                let device = address.find().ok_or_else(|| {
                    pr_err!("{path}: device: there is no PCI device {address}\n");
                    ENODEV
                })?;
                Some(Arc::new(device, GFP_KERNEL_ACCOUNT)?)
            }
            _ => None,
        };
        let counted = match settings.kind {
            Kind::Physical => 0,
            _ => extent.size,
        };
        let window = Window {
            name: CString::try_from_fmt(fmt!("{}", &*self.name))?,
            extent,
            _charge: registry.charge(fmt!("{path}"), counted)?,
            memory: Memory::new(
                fmt!("{path}"),
                &Request {
                    size: extent.size,
                    kind: settings.kind,
                    cache: settings.cache,
                    address: settings.address,
                    device: dma.as_ref(),
                    track: settings.track,
                    node: settings.node,
                },
            )?,
            access: settings.access,
            stamps: settings
                .stamps(extent.size)
                .inspect_err(|_| pr_err!("{path}: track: no memory for its stamps\n"))?,
        };
        if settings.fill != 0 {
            let filled = window.memory.fill(0, extent.size, settings.fill);
            filled.inspect_err(|_| pr_err!("{path}: killed before it was filled\n"))?;
        }
        Ok(window)
    }
}

/// A window as the log calls it.
struct Path<'a> {
    device: &'a CStr,
    window: &'a CStr,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!("{}: window {}", self.device, self.window))
    }
}

/// The address of a PCI device, as `lspci -D` shows it.
#[derive(Clone, Copy)]
struct PciAddress {
    domain: u16,
    bus: u8,
    slot: u8,
    function: u8,
}

impl PciAddress {
    /// Reads `DDDD:BB:SS.F`.
    fn parse(text: &str) -> Option<Self> {
        let (domain, rest) = text.split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let (slot, function) = rest.split_once('.')?;
        let hex = |text| number::digits_of(text, 16);
        Some(Self {
            domain: u16::try_from(hex(domain)?).ok()?,
            bus: u8::try_from(hex(bus)?).ok()?,
            slot: u8::try_from(hex(slot)?).ok().filter(|slot| *slot < 32)?,
            function: u8::try_from(hex(function)?)
                .ok()
                .filter(|function| *function < 8)?,
        })
    }

    /// The device with this address.
    fn find(self) -> Option<dma::Device> {
        dma::Device::pci(self.domain, self.bus, self.slot, self.function)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            slot,
            function,
        } = self;
        f.write_fmt(fmt!("{domain:04x}:{bus:02x}:{slot:02x}.{function}"))
    }
}

/// Checks a name that becomes part of a node's name or of a line of text.
fn check_name(what: &str, name: &CStr) -> Result {
    let bytes = name.to_bytes();
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    // "chrmem-" and the terminating NUL must also find room.
    if bytes.len() > abi::NAME_SIZE - 8 || !bytes.iter().all(good) {
        pr_err!(
            "the name of a {what} has at most {} letters, digits, dots, dashes and underscores\n",
            abi::NAME_SIZE - 8
        );
        return Err(EINVAL);
    }
    Ok(())
}

/// The beginning of what was written, as it can be put into the log.
fn shown(text: &[u8]) -> &BStr {
    BStr::from_bytes(text.get(..64).unwrap_or(text))
}

/// The mode with the name `text`.
fn named<T: Copy>(all: &[(T, &'static str, u32)], text: &str) -> Option<T> {
    let (mode, ..) = all.iter().find(|(_, name, _)| *name == text)?;
    Some(*mode)
}

/// The name of a mode.
fn name_of<T: Copy + PartialEq>(all: &[(T, &'static str, u32)], mode: T) -> &'static str {
    crate::window::named(all, mode).0
}

/// A value that can also be left out, which is written as `none`.
fn optional<T>(text: &str, none: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == none {
        Some(None)
    } else {
        parse(text).map(Some)
    }
}
