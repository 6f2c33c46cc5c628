// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command `chrmem` on real devices.

use crate::driver::{self, NODE, SIZE};
use crate::sys::Map;
use rustix::io::Errno;
use serde_json::{json, Value};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

crate::tests! {
    info_describes_the_device
    create_makes_what_it_is_told
    create_leaves_nothing_behind_where_it_fails
    create_says_what_to_do
    destroy_is_for_what_create_made
    destroy_leaves_mappings_alone
    list_has_every_device
    a_device_is_called_by_path_or_name
}

/// Runs the command.
fn chrmem(arguments: &[&str]) -> Output {
    Command::new("chrmem")
        .args(arguments)
        .output()
        .expect("chrmem runs")
}

/// What the command printed, if it had no complaint.
fn printed(arguments: &[&str]) -> String {
    let output = chrmem(arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), complaint.as_str()),
        (Some(0), ""),
        "{arguments:?}"
    );
    String::from_utf8(output.stdout).expect("text")
}

/// The words of each line that the command printed.
fn words(arguments: &[&str]) -> Vec<Vec<String>> {
    printed(arguments)
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// What the command printed as JSON.
fn parsed(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).expect("JSON")
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
        &["size", "4K"],
        &["generation", &generation.to_string()],
        &["mappings", "1"],
        &["windows", "1"],
        &[],
        &[
            "INDEX", "NAME", "OFFSET", "SIZE", "MEMORY", "CACHE", "ACCESS", "ADDRESS",
        ],
        &["0", "buffer", "0x0", "4K", "pages", "cached", "rw", "-"],
    ];
    assert_eq!(words(&["info"]), expected);
    drop(map);
    let window = json!({
        "index": 0, "name": "buffer", "offset": 0, "size": 4096, "memory": "pages",
        "cache": "cached", "access": "rw", "address": null,
    });
    let expected = json!({
        "node": NODE, "version": 1, "size": 4096, "generation": generation, "mappings": 0,
        "windows": [window],
    });
    assert_eq!(parsed(&["info", "--json"]), expected);
}

fn create_makes_what_it_is_told() {
    let _camera = Created::new(
        "camera",
        &[
            "header:4K,access=ro,fill=0x2a",
            "name=frames,size=1MiB,offset=0x1000000,memory=contiguous,cache=noncached",
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
            json!([4096, 1 << 20, 1 << 16]),
            json!(["pages", "contiguous", "dma"]),
            json!(["cached", "noncached", "cached"]),
            json!(["ro", "rw", "rw"]),
        ]
    );
    assert_eq!(info["size"], json!(0x110_0000 + (1 << 16)));
    assert!(info["windows"][1]["address"].is_u64(), "{info}");
    let mut header = [0; 4096];
    let camera = chrmem::Device::open_read_only("/dev/chrmem-camera").expect("the device");
    assert_eq!(camera.read_at(0, &mut header).expect("its bytes"), 4096);
    assert_eq!(header, [42; 4096]);
}

fn create_leaves_nothing_behind_where_it_fails() {
    for (windows, sayings) in [
        (
            &["a:4K", "b:100"][..],
            &[
                "cannot build x: Invalid argument",
                "window b: ",
                "whole number of pages",
            ][..],
        ),
        (
            &["a:8K", "b:4K,offset=4K"],
            &["Invalid argument", "window b: it overlaps"],
        ),
        (&["a:1M", "b:4T"], &["Cannot allocate memory", "window b: "]),
        (&["a:0"], &["Invalid argument", "window a: "]),
        (
            &["a:4K", "b:4K,device=0000:ff:1f.7"],
            &["No such device", "there is no PCI device 0000:ff:1f.7"],
        ),
        (
            &["a:4K", "b:4K,device=here"],
            &["cannot write here to ", "/device: Invalid argument"],
        ),
        (
            &["a:4K,memory=physical"],
            &["Invalid argument", "window a: "],
        ),
        (&["a:4K", "a:4K"], &["two windows are called a"]),
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
    let window = format!("a:4K,address=0x{start}");
    fails(
        &["create", "x", &window],
        &["Operation not permitted", "window a: "],
    );
    assert_eq!(folders(), [""; 0]);
}

fn create_says_what_to_do() {
    let camera = Created::new("camera", &["a:4K"]);
    let taken = [
        "there is a device `camera` already",
        "hint: choose another name",
    ];
    fails(&["create", "camera", "b:4K"], &taken);
    assert_eq!(words(&["info", "camera"])[7][1], "a");
    drop(camera);

    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["chrmem", "create", "x", "a:4K"])
        .output()
        .expect("setpriv");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint.contains("Permission denied") && complaint.contains("hint: configfs is root's"),
        "{complaint}"
    );

    for (arguments, saying) in [
        (&["create", "x", "a"][..], "it has no size"),
        (&["create", "x"], "required arguments were not provided"),
        (&["create", "a/b", "a:4K"], "`a/b` is no name"),
        (&["create", "x", "a:4K,colour=red"], "no setting `colour`"),
    ] {
        let output = chrmem(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains(saying), "{complaint}");
    }

    driver::without(|| {
        let load = ["hint: load", "modprobe chrmem"];
        fails(&["create", "x", "a:4K"], &load);
        fails(&["list"], &load);
        fails(&["destroy", "x"], &load);
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
    complaint(&["create", "x", "a:4K"])
}

fn destroy_is_for_what_create_made() {
    fails(
        &["destroy", "chrmem0"],
        &[
            "no device `chrmem0` that was made by create",
            "rmmod chrmem",
        ],
    );
    let camera = Created::new("camera", &["a:4K"]);
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
        std::mem::forget(Created::new("one", &["a:4K", "b:4K"]));
        assert_eq!(printed(&["destroy", name]), "");
        assert_eq!(folders(), [""; 0]);
    }
    // What create did not finish, by hand or because it was killed.
    fs::create_dir("/sys/kernel/config/chrmem/half").expect("a folder");
    fs::create_dir("/sys/kernel/config/chrmem/half/windows/a").expect("a folder");
    let taken = ["there is a device `half` already", "chrmem destroy half"];
    fails(&["create", "half", "b:4K"], &taken);
    assert_eq!(printed(&["destroy", "half"]), "");
    assert_eq!(folders(), [""; 0]);
}

fn destroy_leaves_mappings_alone() {
    std::mem::forget(Created::new("camera", &["a:4K,fill=7"]));
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/chrmem-camera");
    let file = file.expect("the device");
    let map = Map::shared(&file, 4096).expect("a mapping");
    assert_eq!(printed(&["destroy", "camera"]), "");
    assert_eq!(map.read(0..4096), [7; 4096]);
    let answer = rustix::io::pread(&file, &mut [0; 4], 0);
    assert_eq!(answer, Err(Errno::NODEV));
}

fn list_has_every_device() {
    let _camera = Created::new("camera", &["a:4K", "b:8K", "c:1M", "d:4K", "e:4K", "f:4K"]);
    let map = Map::shared(driver::open(), SIZE).expect("a mapping");
    fs::create_dir("/sys/kernel/config/chrmem/half").expect("a folder");
    let generation = driver::generation().to_string();
    let camera = "/dev/chrmem-camera 1048K 0 0 a:4K b:8K c:1M d:4K and 2 more";
    let expected = [
        "DEVICE SIZE GENERATION MAPPINGS WINDOWS",
        &format!("/dev/chrmem0 4K {generation} 1 buffer:4K"),
        camera,
        "half - - - (not live; 0 windows prepared)",
    ];
    let lines = words(&["list"]).into_iter().map(|line| line.join(" "));
    assert_eq!(lines.collect::<Vec<_>>(), expected);
    let list = parsed(&["list", "--json"]);
    fs::remove_dir("/sys/kernel/config/chrmem/half").expect("a folder");
    drop(map);
    assert_eq!(list[0]["node"], NODE);
    assert_eq!(list[0]["name"], Value::Null);
    assert_eq!(list[0]["mappings"], 1);
    assert_eq!(list[1]["name"], "camera");
    assert_eq!(list[1]["windows"][5]["name"], "f");
    assert_eq!(list[2]["node"], Value::Null);
    assert_eq!(list[2]["name"], "half");
    assert_eq!(list.as_array().expect("a list").len(), 3);
}

fn a_device_is_called_by_path_or_name() {
    let _camera = Created::new("camera", &["lens:8K"]);
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
}
