// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loading the driver: its parameters, good and bad, and a machine that has not enough.

use crate::driver::{self, get, load, major, put, shown_of, unload_soon, users};
use crate::kmsg::Mark;
use crate::node::MadeByHand;
use crate::plan::END_MAX;
use crate::scale::scaled;
use crate::sys::{PAGE, PAGE64};
use crate::{memory, sys};
use chrmem::Device;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

crate::tests! {
    devices_are_apart
    no_device_is_a_number_too
    sizes_are_whole_pages
    fresh_memory_is_zero_after_its_first_hundredth
    bad_parameters
    the_limit_is_for_all_together
    more_than_the_machine_has
    memory_that_runs_out_half_way
    many_devices_of_one_load
    an_announced_device_can_be_opened
}

/// How many devices there can be.
const MOST: usize = 4096;

/// Asserts that nothing of the driver is there.
pub(crate) fn nothing_is_left() {
    assert_eq!((users(), major()), (None, None));
    for path in [
        "/sys/class/chrmem",
        "/sys/kernel/debug/chrmem",
        "/sys/module/chrmem",
    ] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    assert_eq!(nodes(), [""; 0]);
}

/// The driver's nodes, in order.
fn nodes() -> Vec<String> {
    let entries = fs::read_dir("/dev").expect("/dev");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let mut names: Vec<String> = names
        .flatten()
        .filter(|name| name.starts_with("chrmem"))
        .collect();
    names.sort();
    names
}

/// Asserts that loading fails so, leaves nothing, and says why in one line of the log, in which
/// all of `words` are.
fn cannot_be_loaded(parameters: &str, errno: Errno, words: &[&str]) {
    let log = Mark::now();
    assert_eq!(load(parameters), Err(errno), "{parameters}");
    let lines = log.driver();
    assert_eq!(lines.len(), 1, "{parameters}: {lines:?}");
    assert!(
        words.iter().all(|word| lines[0].contains(word)),
        "{parameters}: {lines:?}"
    );
    nothing_is_left();
}

fn devices_are_apart() {
    driver::with("devices=3 size=2pages", || {
        assert_eq!(nodes(), ["chrmem0", "chrmem1", "chrmem2"]);
        let devices = [0, 1, 2].map(|minor| Device::open(format!("/dev/chrmem{minor}")));
        let devices = devices.map(|device| device.expect("a device"));
        for (number, device) in (1_u8..).zip(&devices) {
            put(device, 0, &[number; 2 * PAGE]);
            (0..number).for_each(|_| device.notify().expect("NOTIFY"));
        }
        for (number, device) in (1_u8..).zip(&devices) {
            assert_eq!(get(device, 0, 2 * PAGE), [number; 2 * PAGE]);
            let info = device.info().expect("INFO");
            assert_eq!(
                (info.size, info.generation),
                (2 * PAGE64, u64::from(number) + 1)
            );
        }
        let map = sys::Map::shared(&devices[1], 2 * PAGE).expect("a mapping");
        let mapped = ["chrmem0", "chrmem1", "chrmem2"].map(|name| shown_of(name).mappings);
        assert_eq!(mapped, [(0, 0), (1, 1), (0, 0)]);
        assert_eq!(map.read(0..8), [2; 8]);
        devices[1].clear().expect("MEM_CLEAR");
        assert_eq!(get(&devices[0], 0, 8), [1; 8]);
        assert_eq!(get(&devices[2], 0, 8), [3; 8]);
    });
}

fn no_device_is_a_number_too() {
    driver::with("devices=0", || {
        assert_eq!(nodes(), [""; 0]);
        let node = MadeByHand::new("/tmp/no_memdev", 0);
        assert_eq!(node.open(OFlags::RDONLY).err(), Some(Errno::NXIO));
    });
}

fn sizes_are_whole_pages() {
    for (asked, size) in [
        (1, PAGE64),
        (PAGE64 - 1, PAGE64),
        (PAGE64, PAGE64),
        (PAGE64 + 1, 2 * PAGE64),
        (3 * PAGE64 - 1, 3 * PAGE64),
    ] {
        driver::with(&format!("size={asked}"), || {
            let device = Device::open(driver::NODE).expect(driver::NODE);
            assert_eq!(device.info().expect("INFO").size, size);
            assert_eq!(device.window(0).expect("WINDOW").range(), 0..size);
            assert_eq!(shown_of("chrmem0").size, size);
            assert_eq!(
                sys::seek(&device, 0, libc::SEEK_END as u32),
                Ok(size as usize)
            );
            let bytes = get(&device, 0, size as usize);
            let filled = size as usize / 100;
            assert_eq!(bytes[..filled], vec![b'*'; filled]);
            assert_eq!(bytes[filled..], vec![0; size as usize - filled]);
        });
    }
}

fn fresh_memory_is_zero_after_its_first_hundredth() {
    const SIZE: usize = 32 << 20;
    driver::without(|| {
        // Much of what the driver will get was somebody's just now.
        memory::dirty(0xaa);
        load(&format!("size={SIZE}")).expect("load");
        let bytes = get(driver::open(), 0, SIZE);
        let filled = SIZE / 100;
        assert!(bytes[..filled] == vec![b'*'; filled]);
        assert!(bytes[filled..] == vec![0; SIZE - filled]);
        unload_soon().expect("unload");
    });
}

fn bad_parameters() {
    driver::without(|| {
        for (parameters, words) in [
            ("size=0", &["size=0"]),
            ("size=18446744073709551615", &["size=18446744073709551615"]),
            ("size=9223372036854775808", &["size=9223372036854775808"]),
            ("size=9223372036854775807", &["size=9223372036854775807"]),
            ("devices=4097", &["devices=4097"]),
            ("devices=4294967295", &["devices=4294967295"]),
            // The kernel's own words.
            ("devices=4294967296", &["devices"]),
            ("devices=-1", &["devices"]),
            ("size=lots", &["size"]),
            ("size=", &["size"]),
            ("log_mappings=256", &["log_mappings"]),
        ] {
            cannot_be_loaded(parameters, Errno::INVAL, words);
        }
    });
}

fn the_limit_is_for_all_together() {
    let [one, two, three] = [1, 2, 3].map(|pages| (pages * PAGE).to_string());
    let limit = |pages: usize| format!("limit={}", pages * PAGE - 1);
    driver::without(|| {
        for (parameters, limit, word) in [
            ("", limit(1), one.as_str()),
            (&format!("size={}", PAGE + 1), limit(2), &two),
            ("devices=3", limit(3), &three),
            (
                &format!("devices=4096 size={END_MAX}"),
                "limit=1".into(),
                "bytes",
            ),
        ] {
            let parameters = format!("{parameters} {limit}");
            cannot_be_loaded(&parameters, Errno::DQUOT, &[&limit, word]);
        }
    });
    driver::with("devices=3 limit=3pages", || assert_eq!(nodes().len(), 3));
}

fn more_than_the_machine_has() {
    driver::without(|| {
        let before = memory::free();
        for size in [
            1 << 40,
            (1 << 63) - PAGE64,
            memory::total().next_multiple_of(PAGE64),
        ] {
            let text = size.to_string();
            cannot_be_loaded(&format!("size={size}"), Errno::NOMEM, &[&text]);
        }
        assert!(
            memory::free() + (8 << 20) > before,
            "{before} bytes free, then {}",
            memory::free()
        );
    });
}

fn memory_that_runs_out_half_way() {
    driver::without(|| {
        let before = memory::free();
        // Each of the devices can be had, all of them cannot.
        const DEVICES: u64 = 64;
        let size = (2 * memory::total() / DEVICES).next_multiple_of(PAGE64);
        let parameters = format!("devices={DEVICES} size={size}");
        cannot_be_loaded(&parameters, Errno::NOMEM, &["chrmem", &size.to_string()]);
        let after = memory::free();
        assert!(
            after + (8 << 20) > before,
            "{before} bytes free, then {after}"
        );
    });
}

/// In the plain boot, as many as there can be.
fn many_devices_of_one_load() {
    let count = scaled(MOST);
    driver::with(&format!("devices={count}"), || {
        assert_eq!(nodes().len(), count);
        let last = format!("/dev/chrmem{}", count - 1);
        let last = Device::open(last).expect("the last device");
        last.reset().expect("RESET");
        assert_eq!(get(&last, 0, 12), b"hello, user!");
        assert_eq!(get(driver::open(), 0, 12), [b'*'; 12]);
    });
}

/// What udev does, at once: opens what the kernel says was added.
const LISTENER: &str = r#"
import collections, errno, os, socket
events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
events.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)
events.bind((0, 1))
events.settimeout(60)
print("ready", flush=True)
answers = collections.Counter()
while sum(answers.values()) < COUNT:
    head = events.recv(8192).split(b"\0")[0].decode()
    if head.startswith("add@/devices/virtual/chrmem/chrmem"):
        try:
            os.close(os.open("/dev/" + os.path.basename(head), os.O_RDWR))
            answers["opened"] += 1
        except OSError as error:
            answers[errno.errorcode[error.errno]] += 1
print(dict(answers))
"#;

/// Has the kernel not run `modprobe` for a number that nobody has, which takes so long that somebody may have it then; until dropped.
struct NoModprobe(String);

impl NoModprobe {
    const FILE: &str = "/proc/sys/kernel/modprobe";

    fn new() -> Self {
        let before = fs::read_to_string(Self::FILE).expect(Self::FILE);
        fs::write(Self::FILE, "\n").expect(Self::FILE);
        Self(before)
    }
}

impl Drop for NoModprobe {
    fn drop(&mut self) {
        fs::write(Self::FILE, &self.0).expect(Self::FILE);
    }
}

fn an_announced_device_can_be_opened() {
    const COUNT: usize = 300;
    let _no_modprobe = NoModprobe::new();
    let mut listener = Command::new("python3")
        .args(["-c", &LISTENER.replace("COUNT", &COUNT.to_string())])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut lines = BufReader::new(listener.stdout.take().expect("its output")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!(line(), "ready");
    driver::with(&format!("devices={COUNT}"), || {
        assert_eq!(line(), format!("{{'opened': {COUNT}}}"));
        assert!(listener.wait().expect("its end").success());
    });
}
