// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command `chrmem` on real devices.

#[path = "../../../cli/tests/support/schema.rs"]
mod schema;

use crate::driver::{self, in_bytes, NODE, SIZE};
use crate::sys::{Map, PAGE, PAGE64};
use rustix::io::Errno;
use rustix::process::{kill_process, Pid, Signal};
use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcgetattr, tcsetwinsize, Termios, Winsize};
use serde_json::{json, Value};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

crate::tests! {
    info_describes_the_device
    create_makes_what_it_is_told
    create_leaves_nothing_behind_where_it_fails
    create_says_what_to_do
    destroy_is_for_what_create_made
    destroy_takes_each_name_for_one_device
    destroy_leaves_mappings_alone
    list_has_every_device
    a_device_is_called_by_path_or_name
    read_shows_bytes_and_where_they_are
    read_prints_bytes_as_they_are
    write_takes_text_hexadecimal_files_and_streams
    write_begins_nothing_that_does_not_fit
    fill_and_clear_take_ranges
    read_only_windows_and_holes_are_said
    cdi_describes_devices_only
    wait_ends_with_a_change
    the_example_of_wait_works
    wait_ends_in_time_or_with_the_device
    changes_tells_what_was_stored
    changes_follows
    maps_tells_who_maps_what_where
    maps_needs_no_names_that_are_text
    maps_draws_destroyed_devices_and_files
    doctor_finds_what_is_wrong_and_its_cures_work
    doctor_tells_others_why_they_may_not
    bench_prints_what_its_schema_has
    watch_shows_changes_and_restores_the_terminal
    watch_counts_the_stores_into_a_tracked_window
    watch_ends_with_control_c_and_outlives_its_device
    watch_restores_the_terminal_also_after_a_signal
    watch_needs_a_terminal_and_a_device
    cat_prints_any_range_of_a_device
}

/// Runs the command. Its arguments may have numbers of pages, such as `2pages`.
pub(crate) fn chrmem(arguments: &[&str]) -> Output {
    Command::new("chrmem")
        .args(arguments.iter().map(|it| in_bytes(it)))
        .output()
        .expect("chrmem runs")
}

/// What the command printed, if it had no complaint.
pub(crate) fn printed(arguments: &[&str]) -> String {
    let output = chrmem(arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), complaint.as_str()),
        (Some(0), ""),
        "{arguments:?}"
    );
    String::from_utf8(output.stdout).expect("text")
}

/// How the command prints the size of so many pages.
fn kib(pages: usize) -> String {
    format!("{}K", pages * PAGE / 1024)
}

/// The words of each line that the command printed.
fn words(arguments: &[&str]) -> Vec<Vec<String>> {
    printed(arguments)
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// What the command printed as JSON: what its schema says.
fn parsed(arguments: &[&str]) -> Value {
    let output = serde_json::from_str(&printed(arguments)).expect("JSON");
    if arguments.contains(&"--json") {
        schema::check(arguments[0], &output);
    }
    output
}

/// What the command said when it failed: error and hint.
fn complaint(arguments: &[&str]) -> String {
    let output = chrmem(arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {complaint}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    complaint
}

/// The command failed and said all of these.
fn fails(arguments: &[&str], sayings: &[&str]) {
    let complaint = complaint(arguments);
    for saying in sayings {
        assert!(
            complaint.contains(saying),
            "{arguments:?}: no {saying:?} in {complaint}"
        );
    }
}

/// A device made by the command, destroyed when dropped.
struct Created(&'static str);

impl Created {
    fn new(name: &'static str, windows: &[&str]) -> Self {
        let arguments = [&["create", name], windows].concat();
        assert_eq!(printed(&arguments), format!("/dev/chrmem-{name}\n"));
        Self(name)
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        let output = chrmem(&["destroy", self.0]);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        // A second panic would hide what the first one says.
        if !std::thread::panicking() {
            assert!(output.status.success(), "{complaint}");
            assert!(!Path::new(&format!("/dev/chrmem-{}", self.0)).exists());
        }
    }
}

/// The names in the driver's configfs folder.
fn folders() -> Vec<String> {
    fs::read_dir("/sys/kernel/config/chrmem")
        .expect("configfs")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect()
}

fn info_describes_the_device() {
    let map = Map::shared(driver::open(), SIZE).expect("a mapping");
    let generation = driver::generation();
    let expected: [&[&str]; 8] = [
        &["version", "1"],
        &["size", &kib(1)],
        &["generation", &generation.to_string()],
        &["mappings", "1"],
        &["windows", "1"],
        &[],
        &[
            "INDEX", "NAME", "OFFSET", "SIZE", "MEMORY", "CACHE", "ACCESS", "ADDRESS",
        ],
        &["0", "buffer", "0x0", &kib(1), "pages", "cached", "rw", "-"],
    ];
    assert_eq!(words(&["info"]), expected);
    drop(map);
    let window = json!({
        "index": 0, "name": "buffer", "offset": 0, "size": PAGE, "memory": "pages",
        "cache": "cached", "access": "rw", "address": null, "tracked": false, "revocable": false, "gone": false,
    });
    let expected = json!({
        "node": NODE, "version": 1, "size": PAGE, "generation": generation, "mapping_count": 0,
        "windows": [window],
    });
    assert_eq!(parsed(&["info", "--json"]), expected);
}

fn create_makes_what_it_is_told() {
    // On arm64, all RAM is cached but DMA memory.
    let (cache, dma_cache) = match cfg!(target_arch = "aarch64") {
        true => ("cached", "writecombine"),
        false => ("noncached", "cached"),
    };
    let _camera = Created::new(
        "camera",
        &[
            "header:1page,access=ro,fill=0x2a",
            &format!("name=frames,size=1MiB,offset=0x1000000,memory=contiguous,cache={cache}"),
            "ring,size=64K,memory=dma",
        ],
    );
    let info = parsed(&["info", "camera", "--json"]);
    let known: Vec<_> = ["name", "offset", "size", "memory", "cache", "access"]
        .iter()
        .map(|key| {
            let windows = info["windows"].as_array().expect("a list");
            windows.iter().map(|window| window[key].clone()).collect()
        })
        .map(Value::Array)
        .collect();
    assert_eq!(
        known,
        [
            json!(["header", "frames", "ring"]),
            json!([0, 0x100_0000, 0x110_0000]),
            json!([PAGE, 1 << 20, 1 << 16]),
            json!(["pages", "contiguous", "dma"]),
            json!(["cached", cache, dma_cache]),
            json!(["ro", "rw", "rw"]),
        ]
    );
    assert_eq!(info["size"], json!(0x110_0000 + (1 << 16)));
    assert!(info["windows"][1]["address"].is_u64(), "{info}");
    let mut header = [0; PAGE];
    let camera = chrmem::Device::open_read_only("/dev/chrmem-camera").expect("the device");
    assert_eq!(camera.read_at(0, &mut header).expect("its bytes"), PAGE);
    assert_eq!(header, [42; PAGE]);
}

fn create_leaves_nothing_behind_where_it_fails() {
    for (windows, sayings) in [
        (
            &["a:1page", "b:100"][..],
            &[
                "cannot build x: Invalid argument",
                "window b: ",
                "whole number of pages",
            ][..],
        ),
        (
            &["a:2pages", "b:1page,offset=1page"],
            &["Invalid argument", "window b: it overlaps"],
        ),
        (&["a:1M", "b:4T"], &["Cannot allocate memory", "window b: "]),
        (&["a:0"], &["Invalid argument", "window a: "]),
        (
            &["a:1page", "b:1page,device=0000:ff:1f.7"],
            &["No such device", "there is no PCI device 0000:ff:1f.7"],
        ),
        (
            &["a:1page", "b:1page,device=here"],
            &["cannot write here to ", "/device: Invalid argument"],
        ),
        (
            &["a:1page,memory=physical"],
            &["Invalid argument", "window a: "],
        ),
        (&["a:1page", "a:1page"], &["two windows are called a"]),
    ] {
        let arguments = [&["create", "x"], windows].concat();
        fails(&arguments, sayings);
        assert_eq!(folders(), [""; 0]);
        assert!(!Path::new("/dev/chrmem-x").exists());
    }
    // The RAM that the kernel has is somebody's.
    let ram = fs::read_to_string("/proc/iomem").expect("/proc");
    let ram = ram.lines().find(|line| line.ends_with("System RAM"));
    let (start, _) = ram.expect("RAM").trim().split_once('-').expect("a range");
    let window = format!("a:1page,address=0x{start}");
    let arguments = ["create", "x", &window];
    fails(&arguments, &["Operation not permitted", "window a: "]);
    // Whoever is root already.
    assert!(!complaint(&arguments).contains("sudo"));
    assert_eq!(folders(), [""; 0]);
}

fn create_says_what_to_do() {
    let camera = Created::new("camera", &["a:1page"]);
    let taken = [
        "there is a device `camera` already",
        "hint: choose another name",
    ];
    fails(&["create", "camera", "b:1page"], &taken);
    assert_eq!(words(&["info", "camera"])[7][1], "a");
    drop(camera);

    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["chrmem", "create", "x", "a:64K"])
        .output()
        .expect("setpriv");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint.contains("Permission denied")
            && complaint.contains("hint: configfs belongs to root"),
        "{complaint}"
    );

    for (arguments, saying) in [
        (&["create", "x", "a"][..], "it has no size"),
        (&["create", "x"], "required arguments were not provided"),
        (&["create", "a/b", "a:1page"], "`a/b` is not a valid name"),
        (
            &["create", "x", "a:1page,colour=red"],
            "no setting `colour`",
        ),
    ] {
        let output = chrmem(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains(saying), "{complaint}");
    }

    driver::without(|| {
        let load = ["hint: load", "modprobe chrmem"];
        for arguments in [
            &["create", "x", "a:1page"][..],
            &["destroy", "x"],
            &["list"],
            &["list", "--json"],
            &["maps"],
            &["maps", "--json"],
            &["cdi"],
        ] {
            fails(arguments, &load);
        }
        // The module needs configfs, and modprobe loads it.
        shell("umount /sys/kernel/config");
        fails(&["create", "x", "a:1page"], &load);
        shell("mount -t configfs none /sys/kernel/config");
    });
    let unmount = |how: &[&str]| {
        let status = Command::new(how[0]).args(&how[1..]).status();
        assert!(status.expect("it runs").success(), "{how:?}");
    };
    unmount(&["umount", "/sys/kernel/config"]);
    let without = complaint_of_create();
    unmount(&["mount", "-t", "configfs", "none", "/sys/kernel/config"]);
    assert!(without.contains("hint: mount configfs: `"), "{without}");
}

/// What create says where it cannot be.
fn complaint_of_create() -> String {
    complaint(&["create", "x", "a:1page"])
}

fn destroy_is_for_what_create_made() {
    fails(
        &["destroy", "chrmem0"],
        &[
            "no device `chrmem0` that was made by create",
            "rmmod chrmem",
        ],
    );
    let camera = Created::new("camera", &["a:1page"]);
    // All of them or none.
    fails(
        &["destroy", "camera", "x"],
        &["no device `x`", "chrmem list"],
    );
    assert_eq!(folders(), ["camera"]);
    for name in ["", ".", "..", "../chrmem", "camera/windows", "/dev/null"] {
        fails(&["destroy", name], &["that was made by create"]);
    }
    drop(camera);
    for name in ["one", "/dev/chrmem-one", "chrmem-one"] {
        std::mem::forget(Created::new("one", &["a:1page", "b:1page"]));
        assert_eq!(printed(&["destroy", name]), "");
        assert_eq!(folders(), [""; 0]);
    }
    // What create did not finish, by hand or because it was killed.
    fs::create_dir("/sys/kernel/config/chrmem/half").expect("a folder");
    fs::create_dir("/sys/kernel/config/chrmem/half/windows/a").expect("a folder");
    let taken = ["there is a device `half` already", "chrmem destroy half"];
    fails(&["create", "half", "b:1page"], &taken);
    assert_eq!(printed(&["destroy", "half"]), "");
    assert_eq!(folders(), [""; 0]);
}

fn destroy_takes_each_name_for_one_device() {
    let create = |name| std::mem::forget(Created::new(name, &["a:1page"]));
    create("camera");
    create("chrmem-camera");
    assert_eq!(printed(&["destroy", "/dev/chrmem-camera"]), "");
    assert_eq!(folders(), ["chrmem-camera"]);
    create("camera");
    assert_eq!(printed(&["destroy", "chrmem-camera"]), "");
    assert_eq!(folders(), ["chrmem-camera"]);
    // Where no node is called so, it is the device's own name.
    assert_eq!(printed(&["destroy", "chrmem-camera"]), "");
    create("camera");
    create("other");
    let twice = ["destroy", "camera", "/dev/chrmem-camera", "other"];
    assert_eq!(printed(&twice), "");
    assert_eq!(folders(), [""; 0]);
}

fn destroy_leaves_mappings_alone() {
    std::mem::forget(Created::new("camera", &["a:1page,fill=7"]));
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/chrmem-camera");
    let file = file.expect("the device");
    let map = Map::shared(&file, PAGE).expect("a mapping");
    assert_eq!(printed(&["destroy", "camera"]), "");
    assert_eq!(map.read(0..PAGE), [7; PAGE]);
    let answer = rustix::io::pread(&file, &mut [0; 4], 0);
    assert_eq!(answer, Err(Errno::NODEV));
}

fn list_has_every_device() {
    let _camera = Created::new(
        "camera",
        &[
            "a:1page", "b:2pages", "c:1M", "d:1page", "e:1page", "f:1page",
        ],
    );
    let map = Map::shared(driver::open(), SIZE).expect("a mapping");
    fs::create_dir("/sys/kernel/config/chrmem/half").expect("a folder");
    let generation = driver::generation().to_string();
    let (one, two) = (kib(1), kib(2));
    let whole = 1024 + 6 * PAGE / 1024;
    let camera = format!("/dev/chrmem-camera {whole}K 0 0 a:{one} b:{two} c:1M d:{one} and 2 more");
    let expected = [
        "DEVICE SIZE GENERATION MAPPINGS WINDOWS",
        &format!("/dev/chrmem0 {one} {generation} 1 buffer:{one}"),
        &camera,
        "half - - - (not live; 0 windows prepared)",
    ];
    let lines = words(&["list"]).into_iter().map(|line| line.join(" "));
    assert_eq!(lines.collect::<Vec<_>>(), expected);
    let list = parsed(&["list", "--json"]);
    fs::remove_dir("/sys/kernel/config/chrmem/half").expect("a folder");
    drop(map);
    assert_eq!(list[0]["node"], NODE);
    assert_eq!(list[0]["name"], Value::Null);
    assert_eq!(list[0]["mapping_count"], 1);
    assert_eq!(list[1]["name"], "camera");
    assert_eq!(list[1]["windows"][5]["name"], "f");
    assert_eq!(list[2]["node"], Value::Null);
    assert_eq!(list[2]["name"], "half");
    assert_eq!(list[2]["windows"], Value::Null);
    assert_eq!(list.as_array().expect("a list").len(), 3);
}

fn a_device_is_called_by_path_or_name() {
    let _camera = Created::new("camera", &["lens:2pages"]);
    for name in [
        "camera",
        "chrmem-camera",
        "/dev/chrmem-camera",
        "/dev/../dev/chrmem-camera",
    ] {
        assert_eq!(words(&["info", name])[7][1], "lens", "{name}");
    }
    for name in ["chrmem0", "/dev/chrmem0"] {
        assert_eq!(words(&["info", name])[7][1], "buffer", "{name}");
    }
    fails(
        &["info", "camcorder"],
        &["cannot open /dev/chrmem-camcorder: No such file"],
    );
    fails(
        &["info", "chrmem77"],
        &["cannot open /dev/chrmem77: No such file"],
    );
    // Where root may not open it either.
    shell("mkdir /tmp/nodev; mount -t tmpfs -o nodev none /tmp/nodev");
    let major = driver::major().expect("the driver");
    shell(&format!("mknod /tmp/nodev/x c {major} 0"));
    let complaint = complaint(&["info", "/tmp/nodev/x"]);
    shell("umount /tmp/nodev; rmdir /tmp/nodev");
    assert!(
        complaint.contains("Permission denied") && complaint.contains("nodev"),
        "{complaint}"
    );
    assert!(!complaint.contains("sudo"), "{complaint}");
}

/// Runs a shell script that must succeed: what it printed.
fn shell(script: &str) -> Vec<u8> {
    let output = Command::new("sh").args(["-euc", script]).output();
    let output = output.expect("sh runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {complaint}");
    output.stdout
}

fn read_shows_bytes_and_where_they_are() {
    let _camera = Created::new("camera", &["a:1page", "b:1page,offset=64K,fill=0x2a"]);
    let camera = chrmem::Device::open("/dev/chrmem-camera").expect("the device");
    camera.write_at(65536 + 16, b"hello, hexyl").expect("room");
    for via in ["mmap", "read"] {
        let shown = printed(&["read", "camera:b+16", "--length", "16", "--via", via]);
        let line =
            "│00010010│ 68 65 6c 6c 6f 2c 20 68 ┊ 65 78 79 6c 2a 2a 2a 2a │hello, h┊exyl****│";
        assert_eq!(shown.lines().nth(1), Some(line), "{shown}");
        assert_eq!(shown.lines().count(), 3, "{shown}");
        // No colours for who is no terminal.
        assert!(!shown.contains('\x1b'), "{shown}");
    }
    let all = printed(&["read", "camera"]);
    let headings: Vec<_> = all.lines().filter(|line| line.ends_with(':')).collect();
    assert_eq!(headings, ["a:", "b:"]);
}

fn read_prints_bytes_as_they_are() {
    const SIZE: usize = 3 << 20;
    let _camera = Created::new("camera", &["a:1page", "b:3M,memory=contiguous", "c:1page"]);
    let camera = chrmem::Device::open("/dev/chrmem-camera").expect("the device");
    let pattern = driver::pattern(SIZE);
    let mapping = camera.map(PAGE64..PAGE64 + SIZE as u64).expect("a mapping");
    mapping.copy_from(0, &pattern).expect("room");
    // A page, and a byte before and behind it.
    let (last, more) = (format!("camera:b+{}", PAGE - 1), (PAGE + 2).to_string());
    for via in ["mmap", "read"] {
        let output = chrmem(&["read", "camera:b", "--raw", "--via", via]);
        assert!(output.stdout == pattern, "{} bytes", output.stdout.len());
        let output = chrmem(&["read", &last, "-n", &more, "--raw", "--via", via]);
        assert!(output.stdout == pattern[PAGE - 1..2 * PAGE + 1]);
        let output = chrmem(&["read", "camera", "--raw", "--via", via]);
        assert_eq!(output.stdout.len(), SIZE + 2 * PAGE);
        assert!(output.stdout[PAGE..PAGE + SIZE] == pattern);
    }
    // Who has seen enough of it is no reason to complain.
    for how in ["--raw", "--via=read"] {
        let script = format!("chrmem read camera:b {how} 2>&1 | head -c 100 | wc -c");
        assert_eq!(shell(&script), b"100\n");
    }
}

fn write_takes_text_hexadecimal_files_and_streams() {
    let _camera = Created::new("camera", &["a:1page", "b:2M"]);
    let read = |place: &str| chrmem(&["read", place, "--raw"]).stdout;
    for via in ["write", "mmap"] {
        printed(&["clear", "camera"]);
        assert_eq!(printed(&["write", "camera:a+4", "text", "--via", via]), "");
        printed(&["write", "camera:a", "--hex", "00 ff:7F", "--via", via]);
        assert_eq!(read("camera:a")[..10], *b"\x00\xff\x7f\0text\0\0");
        // Across the windows' border, as they touch.
        let border = |before: usize| format!("camera:+{}", PAGE - before);
        printed(&["write", &border(2), "over", "--via", via]);
        assert_eq!(read(&border(3))[..6], *b"\0over\0");
        let script = format!(
            "head -c 2M /dev/urandom > /tmp/random
             chrmem write camera:b --file /tmp/random --via {via}
             chrmem read camera:b --raw | cmp - /tmp/random
             head -c 2M /dev/urandom | tee /tmp/random | chrmem write camera:b --via {via}
             chrmem read camera:b --raw | cmp - /tmp/random
             printf short | chrmem write camera:b+2097147 --file - --via {via}
             chrmem read camera:b+2097147 --raw
             rm /tmp/random"
        );
        assert_eq!(shell(&script), b"short");
    }
    // Nothing is not a mistake of a script.
    shell("chrmem write camera:a ''; chrmem write camera:a < /dev/null");
    // Files that do not say how long they are.
    shell("chrmem write camera:a --file /proc/version; chrmem read camera:a --raw | grep -a Linux");
}

fn write_begins_nothing_that_does_not_fit() {
    let _camera = Created::new("camera", &["a:1page", "b:1page,offset=64K"]);
    fails(
        &["write", &format!("camera:a+{}", PAGE - 1), "ab"],
        &[&format!(
            "2 bytes from offset {} on run past the end, which is at {PAGE}",
            PAGE - 1
        )],
    );
    fs::write("/tmp/large", [1; PAGE + 1]).expect("/tmp");
    fails(
        &["write", "camera:a", "--file", "/tmp/large"],
        &[&format!("{} bytes from offset 0", PAGE + 1)],
    );
    // From the device's first window into the hole behind it.
    fails(
        &["write", "camera", "--file", "/tmp/large"],
        &[&format!("no memory at {PAGE:#x}")],
    );
    assert_eq!(chrmem(&["read", "camera:a", "--raw"]).stdout, [0; PAGE]);
    // Of a stream, what has room is there.
    let script = "! chrmem write camera:a < /tmp/large 2>&1; rm /tmp/large";
    let said = shell(script);
    let expected =
        format!("error: the input is too long: only its first {PAGE} bytes are written\n");
    assert_eq!(said, expected.as_bytes());
    assert_eq!(chrmem(&["read", "camera:a", "--raw"]).stdout, [1; PAGE]);
    assert_eq!(chrmem(&["read", "camera:b", "--raw"]).stdout, [0; PAGE]);
}

fn fill_and_clear_take_ranges() {
    let _camera = Created::new("camera", &["a:1page", "b:1page,offset=64K"]);
    let read = || chrmem(&["read", "camera:a", "--raw"]).stdout;
    for via in ["write", "mmap"] {
        assert_eq!(printed(&["fill", "camera", "0xee", "--via", via]), "");
        assert_eq!(read(), [0xee; PAGE]);
        assert_eq!(chrmem(&["read", "camera:b", "--raw"]).stdout, [0xee; PAGE]);
        assert_eq!(
            printed(&["fill", "camera:a+100", "*", "-n", "50", "--via", via]),
            ""
        );
        let mut expected = [0xee; PAGE];
        expected[100..150].fill(b'*');
        assert_eq!(read(), expected);
        assert_eq!(printed(&["clear", "camera:a+120", "--length", "4"]), "");
        expected[120..124].fill(0);
        assert_eq!(read(), expected);
        assert_eq!(printed(&["clear", "camera:a"]), "");
        assert_eq!(read(), [0; PAGE]);
        assert_eq!(chrmem(&["read", "camera:b", "--raw"]).stdout, [0xee; PAGE]);
        assert_eq!(printed(&["clear", "camera"]), "");
        assert_eq!(chrmem(&["read", "camera:b", "--raw"]).stdout, [0; PAGE]);
    }
}

fn read_only_windows_and_holes_are_said() {
    let _camera = Created::new(
        "camera",
        &[
            "a:1page,fill=1",
            "b:1page,access=ro,fill=2",
            "c:1page,offset=64K,fill=3",
        ],
    );
    let read_only = ["the window b is read-only"];
    let last = PAGE - 1;
    for arguments in [
        &["write", "camera:b", "x"][..],
        &["write", "camera:b", "x", "--via", "mmap"],
        &["write", &format!("camera:a+{last}"), "xx", "--via", "mmap"],
        &["write", &format!("camera:+{last}"), "xx"],
        &["fill", "camera", "9"],
        &["fill", "camera:b", "9", "-n", "1"],
        &["clear", "camera:b"],
    ] {
        // What is addressed in a window cannot leave it.
        let sayings = if arguments[1].starts_with("camera:a") {
            ["run past the end"]
        } else {
            read_only
        };
        fails(arguments, &sayings);
    }
    for arguments in [
        &["read", "camera", "--raw"][..],
        &["read", "camera:+0"],
        &["read", "camera:+2pages", "-n", "1"],
        &["clear", "camera:+1page"],
    ] {
        fails(
            arguments,
            &[&format!(
                "there is no memory at {:#x}: no window has it",
                2 * PAGE
            )],
        );
    }
    let found: Vec<_> = ["camera:a", "camera:b", "camera:c"]
        .map(|place| chrmem(&["read", place, "--raw", "-n", "1"]).stdout)
        .concat();
    assert_eq!(found, [1, 2, 3]);
}

fn cdi_describes_devices_only() {
    let _camera = Created::new("camera", &["a:1page"]);
    let paths = |arguments: &[&str]| -> Vec<String> {
        let spec = parsed(&[&["cdi"], arguments].concat());
        let devices = spec["devices"].as_array().expect("a list").iter();
        let nodes = devices.filter(|it| it["name"] != "all");
        nodes
            .map(|it| &it["containerEdits"]["deviceNodes"][0]["path"])
            .map(|path| path.as_str().expect("text").to_owned())
            .collect()
    };
    let camera = "/dev/chrmem-camera";
    assert_eq!(paths(&[]), [NODE, camera]);
    assert_eq!(paths(&["camera", camera, "chrmem-camera"]), [camera]);
    // Wherever it is printed, containers look for the device from the root.
    let relative = shell("cd /dev; chrmem cdi ./chrmem-camera");
    assert_eq!(relative, shell("chrmem cdi camera"));
    shell("ln -s /dev/chrmem-camera /tmp/link");
    assert_eq!(paths(&["/tmp/link"]), [camera]);
    shell("rm /tmp/link");
    for (name, saying) in [
        ("/dev/null", "/dev/null is not a chrmem device"),
        ("/etc/passwd", "/etc/passwd is not a chrmem device"),
        ("nowhere", "cannot find /dev/chrmem-nowhere: No such file"),
    ] {
        fails(&["cdi", "camera", name], &[saying, "hint: `chrmem list`"]);
    }
}

fn wait_ends_with_a_change() {
    let _camera = Created::new("camera", &["a:1page"]);
    for change in [
        &["notify", "camera"][..],
        &["clear", "camera"],
        &["reset", "camera"],
        &["write", "camera", "x"],
    ] {
        let before = parsed(&["info", "camera", "--json"])["generation"].as_u64();
        let waiting = Command::new("chrmem")
            .args(["wait", "camera", "--timeout=60s"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("chrmem runs");
        // Asleep in poll, it has seen the generation.
        let state = format!("/proc/{}/wchan", waiting.id());
        while !fs::read_to_string(&state).expect("/proc").contains("poll") {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(printed(change), "");
        let output = waiting.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let after = format!("{}\n", before.expect("a number") + 1);
        assert_eq!(String::from_utf8_lossy(&output.stdout), after, "{change:?}");
    }
    // A change that was there before is not missed by who knows what was there before that.
    assert_eq!(printed(&["wait", "camera", "--since", "3"]), "4\n");
}

/// The loop that `--help` shows, as somebody types it into a shell.
fn the_example_of_wait_works() {
    let _camera = Created::new("camera", &["a:1page"]);
    let help = printed(&["wait", "--help"]);
    let start = help.find("generation=").expect("an example");
    let (example, _) = help[start..].split_at(help[start..].find("done").expect("a loop") + 4);
    let mut shell = Command::new("timeout")
        .args(["100", "sh", "-uc", example])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout runs");
    let mut lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
    for text in ["one", "two"] {
        // It misses no change, whenever it comes to look.
        assert_eq!(printed(&["write", "camera", text]), "");
        let row = |line: &String| line.contains("00000000") && line.contains(text);
        let shown = lines.by_ref().map(|line| line.expect("text")).find(row);
        assert!(shown.is_some(), "{example} does not show {text}");
    }
    // It passes this on to all that it started.
    kill_process(Pid::from_child(&shell), Signal::TERM).expect("it goes on");
    shell.wait().expect("it ends");
    let mut complaint = String::new();
    let mut stderr = shell.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut complaint).expect("text");
    assert_eq!(complaint, "", "{example}");
}

fn wait_ends_in_time_or_with_the_device() {
    std::mem::forget(Created::new("camera", &["a:1page"]));
    let start = Instant::now();
    let times_out = |arguments: &[&str]| {
        let output = chrmem(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = "error: timed out: the generation is still 0\n";
        assert_eq!(
            (output.status.code(), complaint.as_str()),
            (Some(124), expected)
        );
        assert_eq!(output.stdout, b"");
    };
    times_out(&["wait", "camera", "--timeout", "300ms"]);
    assert!(start.elapsed().as_millis() >= 300);
    times_out(&["wait", "camera", "--timeout=0", "--since=0"]);
    let script = "chrmem wait camera > /tmp/said 2>&1 & sleep 0.3
                  chrmem destroy camera
                  wait $! && exit 1
                  cat /tmp/said; rm /tmp/said";
    let said = String::from_utf8(shell(script)).expect("text");
    assert!(
        said.contains("No such device") && said.contains("hint: the device was destroyed"),
        "{said}"
    );
}

/// A process that has mapped ranges of devices and sleeps: device, offset, size, writable.
struct Mapper(std::process::Child);

impl Mapper {
    fn new(ranges: &[(&str, u64, u64, bool)]) -> Self {
        let program = r#"
import mmap, os, sys, time
for device, offset, size, writable in eval(sys.argv[1]):
    fd = os.open(device, os.O_RDWR if writable else os.O_RDONLY)
    prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    globals()["keep%d" % len(globals())] = mmap.mmap(fd, size, offset=offset, prot=prot)
    os.close(fd)
print("mapped", flush=True)
time.sleep(1000)
"#;
        let ranges: Vec<_> = ranges
            .iter()
            .map(|(device, offset, size, writable)| {
                format!("({device:?}, {offset}, {size}, {})", u8::from(*writable))
            })
            .collect();
        let mut child = Command::new("python3")
            .args(["-c", program, &format!("[{},]", ranges.join(", "))])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut said = [0; 7];
        Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut said).expect("it maps");
        assert_eq!(said, *b"mapped\n");
        Self(child)
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

fn changes_tells_what_was_stored() {
    let _camera = Created::new(
        "camera",
        &[
            "header:1page",
            "frames:16pages,track=1",
            "more:2pages,track=1",
        ],
    );
    let camera = chrmem::Device::open("/dev/chrmem-camera").expect("the device");
    let frames = camera.map(PAGE64..17 * PAGE64).expect("a mapping");
    assert_eq!(
        parsed(&["changes", "camera", "--json"])["changes"],
        json!([])
    );
    frames.copy_from(PAGE + 904, b"x").expect("room");
    frames.copy_from(2 * PAGE + 808, b"x").expect("room");
    let range = |window: &str, offset: u64, size: u64| json!({ "window": window, "offset": offset, "size": size });
    let look = parsed(&["changes", "camera", "--json"]);
    assert_eq!(
        look["changes"],
        json!([range("frames", 2 * PAGE64, 2 * PAGE64)])
    );
    let since = look["generation"].to_string();
    let nothing = format!("generation {since}\n");
    assert_eq!(printed(&["changes", "camera", "--since", &since]), nothing);
    assert_eq!(printed(&["write", "camera:more", "x"]), "");
    frames.copy_from(0, b"x").expect("room");
    let text = printed(&["changes", "camera", "--since", &since]);
    let (lines, generation) = text.split_at(text.find("generation").expect("the last line"));
    let size = kib(1);
    assert_eq!(lines, format!("frames+0x0 {size}\nmore+0x0 {size}\n"));
    assert_ne!(generation, nothing);
    // A part of a page, of a window.
    let part = format!("camera:frames+{}", PAGE + 904);
    let look = parsed(&["changes", &part, "-n100", "--json"]);
    assert_eq!(
        look["changes"],
        json!([range("frames", 2 * PAGE64 + 904, 100)])
    );
    let look = parsed(&["changes", "camera:more", "--json", "--since", &since]);
    assert_eq!(look["changes"], json!([range("more", 17 * PAGE64, PAGE64)]));
    fails(
        &["changes", "camera:header"],
        &[
            "cannot look for changes",
            "/dev/chrmem-camera",
            "hint: ",
            "track=1",
        ],
    );
    fails(&["changes", "chrmem0"], &["hint: ", "track=1"]);
    fails(&["changes", "camera", "--since=10000"], &["hint: ", "anew"]);
    let table = words(&["info", "camera"]);
    let last = |row: &Vec<String>| row.last().cloned();
    let tracked: Vec<_> = table.iter().rev().take(4).filter_map(last).collect();
    assert_eq!(tracked, ["yes", "yes", "no", "TRACKED"]);
    let windows = &parsed(&["info", "camera", "--json"])["windows"];
    assert_eq!(
        (&windows[0]["tracked"], &windows[1]["tracked"]),
        (&json!(false), &json!(true))
    );
}

fn changes_follows() {
    std::mem::forget(Created::new("camera", &["frames:16pages,track=1"]));
    let camera = chrmem::Device::open("/dev/chrmem-camera").expect("the device");
    let frames = camera.map(..).expect("a mapping");
    let mut following = Command::new("chrmem")
        .args(["changes", "camera", "--follow", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("chrmem runs");
    let mut lines = BufReader::new(following.stdout.take().expect("a pipe")).lines();
    for page in [3, 3, 9] {
        frames.copy_from(page * PAGE, b"x").expect("room");
        let line = lines.next().expect("a line").expect("text");
        let look: Value = serde_json::from_str(&line).expect("JSON");
        schema::check("changes", &look);
        let expected = json!([{ "window": "frames", "offset": page * PAGE, "size": PAGE }]);
        assert_eq!(look["changes"], expected);
    }
    assert_eq!(printed(&["destroy", "camera"]), "");
    let output = following.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint.contains("hint: the device was destroyed"),
        "{complaint}"
    );
}

fn maps_tells_who_maps_what_where() {
    let _camera = Created::new(
        "camera",
        &["header:1page", "frames:1M,offset=16M", "ring:64K"],
    );
    let _by_hand = crate::node::MadeByHand::new("/dev/by_hand", 0);
    let camera = "/dev/chrmem-camera";
    let writer = Mapper::new(&[
        (camera, 0, PAGE64, true),
        (camera, 17 << 20, 2 * PAGE64, true),
    ]);
    let reader = Mapper::new(&[
        (camera, 16 << 20, 1 << 20, false),
        ("/dev/by_hand", 0, PAGE64, false),
    ]);
    let all = parsed(&["maps", "--json"]);
    let writing = writer.0.id();
    let of = |device: &Value| -> Vec<Value> {
        let mappings = device["mappings"].as_array().expect("a list");
        mappings
            .iter()
            .map(|it| {
                assert_eq!(it["process"], "python3");
                let writer = it["pid"] == writing;
                let (window, offset) = (&it["window"], &it["offset"]);
                json!([writer, window, offset, it["size"], it["permissions"]])
            })
            .collect()
    };
    assert_eq!(all[0]["node"], NODE);
    assert_eq!(of(&all[0]), [json!([false, "buffer", 0, PAGE, "r--s"])]);
    assert_eq!(all[1]["node"], camera);
    assert_eq!(
        all[1]["windows"],
        parsed(&["info", "camera", "--json"])["windows"]
    );
    assert_eq!(
        of(&all[1]),
        [
            json!([true, "header", 0, PAGE, "rw-s"]),
            json!([true, "ring", 17 << 20, 2 * PAGE, "rw-s"]),
            json!([false, "frames", 16 << 20, 1 << 20, "r--s"]),
        ]
    );
    // The addresses are those that the process itself has.
    let maps = fs::read_to_string(format!("/proc/{}/maps", reader.0.id())).expect("/proc");
    let address = all[1]["mappings"][2]["address"].as_u64().expect("a number");
    assert!(maps.contains(&format!(
        "{address:x}-{:x} r--s 01000000",
        address + (1 << 20)
    )));
    // One device, by the name of another node of it.
    let one = parsed(&["maps", "by_hand", "--json"]);
    assert_eq!(one.as_array().map(Vec::len), Some(1));
    assert_eq!(one[0]["node"], NODE);
    drop(writer);
    assert_eq!(of(&parsed(&["maps", "camera", "--json"])[0]).len(), 1);
}

fn maps_needs_no_names_that_are_text() {
    let _camera = Created::new("camera", &["a:1page"]);
    let node = "/dev/chrmem-camera";
    let other = OsStr::from_bytes(b"/tmp/\xff");
    fs::write(other, [0; PAGE]).expect("/tmp");
    let map = |path: &Path| {
        let file = File::options().read(true).write(true).open(path);
        Map::shared(file.expect("a file"), PAGE).expect("a mapping")
    };
    let _maps = (map(node.as_ref()), map(other.as_ref()));
    fs::remove_file(other).expect("/tmp");
    let found = parsed(&["maps", "camera", "--json"]);
    assert_eq!(found[0]["mappings"][0]["pid"], std::process::id());
    // A device without a node is not the one that cannot be found.
    fs::remove_file(node).expect("/dev");
    fails(&["maps", "nowhere"], &["/dev/chrmem-nowhere"]);
}

fn maps_draws_destroyed_devices_and_files() {
    std::mem::forget(Created::new("old", &["a:2pages"]));
    let mapper = Mapper::new(&[("/dev/chrmem-old", PAGE64, PAGE64, true)]);
    printed(&["destroy", "old"]);
    // Another device of that name is another device.
    let _new = Created::new("old", &["b:1page"]);
    let picture = printed(&["maps"]);
    let lines: Vec<_> = picture.lines().collect();
    let at = lines
        .iter()
        .position(|line| *line == "/dev/chrmem-old, destroyed: 1 mapping");
    let line = lines[at.unwrap_or_else(|| panic!("{picture}")) + 1];
    let pid = mapper.0.id().to_string();
    assert!(
        line.starts_with("python3") && line.contains(&pid),
        "{picture}"
    );
    assert!(
        line.contains(&format!("{} at {PAGE:#x}", kib(1))),
        "{picture}"
    );
    assert!(lines.contains(&"/dev/chrmem-old: 0 mappings"), "{picture}");
    assert!(!picture.contains('\x1b'), "{picture}");
    let both = parsed(&["maps", "old", "--json"]);
    assert_eq!(
        (&both[0]["destroyed"], &both[1]["destroyed"]),
        (&json!(false), &json!(true))
    );
    printed(&["maps", "--svg", "/tmp/maps.svg"]);
    shell("python3 -c 'import xml.dom.minidom as d; d.parse(\"/tmp/maps.svg\")'; rm /tmp/maps.svg");
    fails(&["maps", "nowhere"], &["cannot open /dev/chrmem-nowhere"]);
    fails(&["maps", "/dev/null"], &["is not a chrmem device"]);
    fails(
        &["maps", "--svg", "/nowhere/x.svg"],
        &["cannot write /nowhere/x.svg"],
    );
}

/// What the doctor finds wrong, with the cure of each.
fn wrong() -> Vec<(String, String)> {
    let output = chrmem(&["doctor", "--json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    schema::check("doctor", &findings);
    let wrong: Vec<_> = findings
        .as_array()
        .expect("a list")
        .iter()
        .filter(|it| it["state"] == "wrong")
        .map(|it| {
            let text = |key: &str| it[key].as_str().expect("text").to_owned();
            (text("what"), text("cure"))
        })
        .collect();
    let expected = i32::from(!wrong.is_empty());
    assert_eq!(output.status.code(), Some(expected), "{findings}");
    wrong
}

/// Does what a cure says, as root already.
fn take(cure: &str) {
    shell(&cure.replace("sudo ", ""));
}

fn doctor_finds_what_is_wrong_and_its_cures_work() {
    assert_eq!(wrong(), []);
    assert!(printed(&["doctor"]).contains("ok     module       loaded\n"));

    fs::remove_file(NODE).expect("the node");
    let found = wrong();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "there is no node /dev/chrmem0");
    take(&found[0].1);
    assert_eq!(wrong(), []);
    printed(&["info"]);

    shell("umount /sys/kernel/config");
    let found = wrong();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0.starts_with("not mounted"), "{found:?}");
    take(&found[0].1);
    assert_eq!(wrong(), []);

    driver::without(|| {
        let found = wrong();
        assert!(
            found
                .iter()
                .any(|(what, _)| what.starts_with("neither loaded")),
            "{found:?}"
        );
        fails_aloud(&["doctor"], "WRONG  module");
        // Made by hand, it does not go with the driver.
        fs::remove_file(NODE).expect("the node");
    });
}

/// The command failed, and printed this nevertheless.
fn fails_aloud(arguments: &[&str], saying: &str) {
    let output = chrmem(arguments);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains(saying), "{printed}");
}

fn doctor_tells_others_why_they_may_not() {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["chrmem", "doctor"])
        .output()
        .expect("setpriv");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("cannot open /dev/chrmem0: permission denied"),
        "{printed}"
    );
    assert!(printed.contains("to do: run it with sudo"), "{printed}");
}

fn bench_prints_what_its_schema_has() {
    let unit = ["--unit", "nanoseconds"];
    let reports = parsed(
        &[
            &["bench", "--only", "calls", "--quick", "--json"],
            &unit[..],
        ]
        .concat(),
    );
    assert_eq!(reports[0]["unit"], "nanoseconds");
    let figures = reports[0]["figures"].as_array().expect("a list");
    assert!(figures.iter().any(|it| it["what"] == "ioctl"), "{reports}");
}

/// `chrmem watch` in a terminal of its own.
struct Watching {
    terminal: OwnedFd,
    /// The other side of the terminal.
    inside: File,
    child: std::process::Child,
    /// All that was drawn so far.
    drawn: Arc<Mutex<Vec<u8>>>,
    before: Termios,
}

impl Watching {
    fn new(arguments: &[&str]) -> Self {
        Self::in_terminal(arguments, 80, 24)
    }

    fn in_terminal(arguments: &[&str], columns: u16, lines: u16) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).expect("grantpt");
        unlockpt(&terminal).expect("unlockpt");
        let name = ptsname(&terminal, Vec::new()).expect("its name");
        let inside = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(name.to_str().expect("text"))
            .expect("its other side");
        let side = || Stdio::from(inside.try_clone().expect("a file"));
        resize(&terminal, columns, lines);
        let before = tcgetattr(&inside).expect("its settings");
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", "chrmem", "watch"])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("setsid runs");
        let drawn = Arc::new(Mutex::new(Vec::new()));
        let (to, mut from) = (
            drawn.clone(),
            File::from(terminal.try_clone().expect("a file")),
        );
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut chunk) {
                to.lock().expect("a lock").extend(&chunk[..length]);
            }
        });
        Self {
            terminal,
            inside,
            child,
            drawn,
            before,
        }
    }

    /// Waits until something is drawn, and forgets all that was drawn up to then.
    fn sees(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut drawn = self.drawn.lock().expect("a lock");
            let at = drawn
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            if let Some(at) = at {
                drawn.drain(..at + text.len());
                return;
            }
            let last = drawn.len().saturating_sub(2000);
            let so_far = String::from_utf8_lossy(&drawn[last..]).into_owned();
            drop(drawn);
            assert!(Instant::now() < deadline, "no {text:?} in {so_far:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types something.
    fn types(&self, text: &str) {
        rustix::io::write(&self.terminal, text.as_bytes()).expect("it takes keys");
    }

    /// It gives the screen back and ends with this status.
    fn ends(self, status: i32) {
        self.sees("\x1b[?1049l");
        self.leaves_the_terminal_as_it_was(status);
    }

    /// It ends with this status, and the terminal is as it was.
    fn leaves_the_terminal_as_it_was(mut self, status: i32) {
        assert_eq!(self.child.wait().expect("it ends").code(), Some(status));
        let after = tcgetattr(&self.inside).expect("its settings");
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
    }
}

/// Gives a terminal so many columns and lines.
fn resize(terminal: &OwnedFd, columns: u16, lines: u16) {
    let size = Winsize {
        ws_row: lines,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("a size");
}

fn watch_shows_changes_and_restores_the_terminal() {
    let _camera = Created::new(
        "camera",
        &["header:1page", "frames:64K,offset=1M,fill=0x61"],
    );
    let camera = chrmem::Device::open("/dev/chrmem-camera").expect("the device");
    camera.write_at(0, b"hello, watcher").expect("room");
    let watching = Watching::new(&["camera", "--interval=20ms"]);
    watching.sees("\x1b[?1049h");
    watching.sees("/dev/chrmem-camera");
    watching.sees(&format!("── header, {} ─", kib(1)));
    // What lies between is drawn already, or not at all.
    watching.sees("hello, w");
    watching.sees("atcher");
    // What is stored through a mapping is seen too, lit up: reversed.
    let mapping = camera.map(..PAGE64).expect("a mapping");
    mapping.copy_from(0, b"J").expect("room");
    watching.sees("\x1b[7m");
    watching.sees("4a");
    camera.notify().expect("notify");
    watching.sees("\x1b[7m");
    watching.types("\t");
    watching.sees("aaaaaaaa");
    // More room, more bytes in a line.
    resize(&watching.terminal, 160, 50);
    watching.sees("0000100000");
    watching.sees("0000100020");
    watching.types("q");
    watching.ends(0);
}

fn watch_counts_the_stores_into_a_tracked_window() {
    let _camera = Created::new("camera", &["frames:64K,track=1"]);
    let camera = chrmem::Device::open("/dev/chrmem-camera").expect("the device");
    let mapping = camera.map(..).expect("a mapping");
    let watching = Watching::new(&["camera", "--interval=20ms"]);
    watching.sees("── frames, 64K ─");
    watching.sees("00000000");
    // Twice: after the first, the page was looked at.
    for text in [&b"J"[..], b"K"] {
        let before = camera.info().expect("INFO").generation;
        mapping.copy_from(0, text).expect("room");
        watching.sees("\x1b[7m");
        watching.sees(&format!("{:x}", text[0]));
        assert!(camera.info().expect("INFO").generation > before);
    }
    watching.types("q");
    watching.ends(0);
}

fn watch_ends_with_control_c_and_outlives_its_device() {
    std::mem::forget(Created::new("camera", &["header:1page,fill=0x61"]));
    let watching = Watching::new(&["camera"]);
    watching.sees("aaaaaaaa");
    printed(&["destroy", "camera"]);
    watching.sees(" the device was destroyed ");
    watching.types("\x03");
    watching.ends(0);
}

fn watch_restores_the_terminal_also_after_a_signal() {
    let watching = Watching::new(&["--interval=1000s"]);
    watching.sees(&format!("── buffer, {} ─", kib(1)));
    // The child is `setsid`, which may have needed a process of its own to become a leader.
    shell("kill -TERM $(pidof chrmem)");
    watching.sees("\x1b[?1049l");
    watching.sees("error: ended by a signal");
    watching.leaves_the_terminal_as_it_was(1);
}

fn watch_needs_a_terminal_and_a_device() {
    fails(&["watch"], &["watch needs a terminal", "chrmem read"]);
    fails(&["watch", "nowhere"], &["cannot open /dev/chrmem-nowhere"]);
    fails(&["watch", "chrmem0:x"], &["no window `x`"]);
    let without_size = Watching::in_terminal(&["chrmem0"], 0, 0);
    without_size.sees("hint: `stty rows 24 columns 80`");
    without_size.leaves_the_terminal_as_it_was(1);
}

fn cat_prints_any_range_of_a_device() {
    let last = PAGE - 1;
    let pattern = driver::pattern(SIZE);
    driver::put(driver::open(), 0, &pattern);
    assert_eq!(chrmem(&["cat", NODE]).stdout, pattern);
    assert_eq!(
        chrmem(&["cat", NODE, "100", "50"]).stdout,
        pattern[100..150]
    );
    assert_eq!(
        chrmem(&["cat", NODE, &format!("{last:#x}")]).stdout,
        pattern[last..]
    );
    fails(
        &["cat", NODE, &last.to_string(), "2"],
        &[&format!("run past the end of /dev/chrmem0, at {PAGE}")],
    );
    // What one mapping cannot have, because no window does.
    let _camera = Created::new("camera", &["a:1page,fill=1", "b:1page,offset=64K,fill=2"]);
    let camera = "/dev/chrmem-camera";
    assert_eq!(chrmem(&["cat", camera, "64K"]).stdout, [2; PAGE]);
    let output = chrmem(&["cat", camera]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("hint: `chrmem read --raw`"),
        "{complaint}"
    );
}
