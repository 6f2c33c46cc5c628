// SPDX-License-Identifier: MIT OR Apache-2.0

//! Devices made at run time: folders, their files, and what they take and refuse.

use crate::driver::{self, get, in_bytes, open_node, pattern, put, unload};
use crate::folder::{make_folder, refused, Folder};
use crate::node::MadeByHand;
use crate::sys::{Map, PAGE, PAGE64};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

crate::tests! {
    a_device_is_made_used_destroyed_and_forgotten
    a_device_of_the_shell
    folders_have_files_and_defaults
    settings_take_what_they_should
    settings_refuse_all_else
    settings_that_are_no_text
    settings_of_a_live_device_are_busy
    names_that_can_be_had
    names_that_cannot_be_had
    live_is_0_or_1
    a_device_needs_windows
    to_build_or_destroy_twice_does_nothing
    removing_a_live_device_s_folder_destroys_it
    a_live_device_keeps_a_window_whose_folder_went
    folders_hold_nothing_else
    a_folder_keeps_the_driver
    files_of_a_folder_that_went_do_nothing
    others_than_root_can_look_at_most
    the_same_name_at_once_is_another_device
    plain_devices_have_no_folder
    many_devices
    no_more_devices_than_there_can_be
}

fn a_device_is_made_used_destroyed_and_forgotten() {
    let folder = Folder::new("test");
    assert!(!folder.is_live());
    folder.window("one", "size=2pages");
    assert!(!folder.is_live());
    folder.build();
    assert!(folder.is_live());
    let node = fs::metadata(folder.node()).expect("a node");
    assert!(node.file_type().is_char_device());
    assert_eq!(node.permissions().mode() & 0o7777, 0o600);
    assert_eq!((node.uid(), node.gid()), (0, 0));
    let fd = folder.open();
    assert_eq!(get(&fd, 0, 2 * PAGE), [0; 2 * PAGE]);
    put(&fd, 0, &pattern(2 * PAGE));
    let map = Map::shared(&fd, 2 * PAGE).expect("a mapping");
    assert_eq!(map.read(0..2 * PAGE), pattern(2 * PAGE));
    assert_eq!(
        folder.shown().windows,
        [in_bytes("0 one 0 2pages pages cached rw")]
    );
    drop((fd, map));
    folder.destroy();
    assert!(!folder.is_live());
    // What it was is what it can be again, or something else.
    folder.change("one", "size=1page");
    folder.build();
    assert_eq!(get(folder.open(), 0, PAGE), [0; PAGE]);
    assert_eq!(folder.shown().size, PAGE64);
    folder.destroy();
    assert_eq!(folder.remove(), Err(Errno::NOTEMPTY));
    assert_eq!(folder.remove_window("one"), Ok(()));
    assert_eq!(folder.remove(), Ok(()));
    assert!(!folder.path().exists() && !folder.is_seen());
}

/// As the documentation has it, in the words of a shell.
fn a_device_of_the_shell() {
    let script = in_bytes(
        "
        cd /sys/kernel/config/chrmem
        mkdir camera camera/windows/header camera/windows/frames
        echo 1page > camera/windows/header/size
        echo 16M > camera/windows/frames/size
        echo 0x1000000 > camera/windows/frames/offset
        echo 1 > camera/live
        ls /dev/chrmem-camera
        cat /sys/kernel/debug/chrmem/chrmem-camera
        echo 0 > camera/live
        rmdir camera/windows/* camera
        ls",
    );
    let output = Command::new("sh").args(["-euc", &script]).output();
    let output = output.expect("sh runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{complaint}"
    );
    assert_eq!(
        printed,
        in_bytes(
            "/dev/chrmem-camera\nsize:\t33554432\ngeneration:\t0\nmappings:\t0 0\n\
         window:\t0 header 0 1page pages cached rw\n\
         window:\t1 frames 16777216 16777216 pages cached rw\n"
        )
    );
}

/// The files of a folder, in order, with what is in them.
fn files(path: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("text");
            let text = match entry.file_type().expect("a type").is_dir() {
                true => "a folder".to_owned(),
                false => fs::read_to_string(entry.path()).expect("text"),
            };
            (name, text)
        })
        .collect();
    files.sort();
    files
}

fn folders_have_files_and_defaults() {
    let folder = Folder::new("test");
    let of = |expected: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = expected.iter();
        owned.map(|(a, b)| ((*a).into(), (*b).into())).collect()
    };
    assert_eq!(
        files(&folder.path()),
        of(&[("live", "0\n"), ("windows", "a folder")])
    );
    assert_eq!(files(&folder.path().join("windows")), of(&[]));
    folder.make_window("one").expect("a window");
    assert_eq!(
        files(&folder.path_of("one")),
        of(&[
            ("access", "rw\n"),
            ("address", "none\n"),
            ("cache", "cached\n"),
            ("device", "none\n"),
            ("fill", "0\n"),
            ("memory", "pages\n"),
            ("node", "any\n"),
            ("offset", "auto\n"),
            ("size", "0\n"),
            ("track", "0\n"),
        ])
    );
}

fn settings_take_what_they_should() {
    let folder = Folder::new("test");
    folder.make_window("one").expect("a window");
    for (attribute, written, shown) in [
        ("size", "4096", "4096"),
        ("size", "1", "1"),
        ("size", "0", "0"),
        ("size", "0x1000", "4096"),
        ("size", "0XfF", "255"),
        ("size", "4K", "4096"),
        ("size", "3k", "3072"),
        ("size", "2M", "2097152"),
        ("size", "1m", "1048576"),
        ("size", "5G", "5368709120"),
        ("size", "1g", "1073741824"),
        ("size", "2T", "2199023255552"),
        ("size", "1t", "1099511627776"),
        ("size", "007", "7"),
        ("size", "18446744073709551615", "18446744073709551615"),
        ("size", "0xffffffffffffffff", "18446744073709551615"),
        ("size", " \t8192 \n\n", "8192"),
        ("offset", "0", "0"),
        ("offset", "16M", "16777216"),
        ("offset", "0x8000000000000000", "9223372036854775808"),
        ("offset", "auto", "auto"),
        ("memory", "contiguous", "contiguous"),
        ("memory", "dma", "dma"),
        ("memory", "physical\n", "physical"),
        ("memory", "pages", "pages"),
        ("cache", "writecombine", "writecombine"),
        ("cache", "noncached", "noncached"),
        ("cache", "cached", "cached"),
        ("access", "ro", "ro"),
        ("access", "rw", "rw"),
        ("address", "0xfe000000", "0xfe000000"),
        ("address", "4G", "0x100000000"),
        ("address", "0", "0x0"),
        ("address", "none", "none"),
        ("device", "0000:00:04.0", "0000:00:04.0"),
        ("device", "abcd:EF:1f.7", "abcd:ef:1f.7"),
        ("device", "0:1:2.3", "0000:01:02.3"),
        ("device", "none", "none"),
        ("node", "0", "0"),
        ("node", "0xffffffff", "4294967295"),
        ("node", "any", "any"),
        ("fill", "255", "255"),
        ("fill", "0x2a", "42"),
        ("fill", "0", "0"),
        ("track", "1", "1"),
        ("track", "0x0", "0"),
    ] {
        assert_eq!(folder.set("one", attribute, written), Ok(()), "{written:?}");
        assert_eq!(
            folder.get("one", attribute),
            shown,
            "{attribute}={written:?}"
        );
    }
}

fn settings_refuse_all_else() {
    let folder = Folder::new("test");
    folder.window("one", "size=3M offset=5K fill=7 address=9K device=1:2:3.4");
    folder.change("one", "memory=dma cache=noncached access=ro");
    let before = files(&folder.path_of("one"));
    let numbers = [
        "\n",
        "-1",
        "+1",
        "1 2",
        "0x",
        "0x ",
        "0xg",
        "x10",
        "1KK",
        "1KB",
        "0x1K",
        "K",
        "1.5K",
        "1e3",
        "1_000",
        "lots",
        "18446744073709551616",
        "0x10000000000000000",
        "16777216T",
        "99999999999999999999999999",
        "\u{ff11}",
        "1\u{a0}",
        "4096\n4096",
        "4096,8192",
        "%d",
        "\\0",
    ];
    let names = [
        "\n",
        "0",
        "Pages",
        "page",
        "pagess",
        "pages cached",
        "rw ro",
        "wo",
        "r",
        "\u{e9}",
    ];
    let devices = [
        "\n",
        "00:04.0",
        "0000:00:04",
        "0000:00:04.8",
        "0000:00:20.0",
        "0000:100:04.0",
        "10000:00:04.0",
        "0000:00:04.0.0",
        "0000:00:04.0:",
        ":00:04.0",
        "0000::04.0",
        "0000:00:.0",
        "0000:00:04.",
        "0000:00:0g.0",
        "0000:00:-4.0",
        "0000:00:+4.0",
        "0x0:00:04.0",
        "auto",
        "eth0",
    ];
    let bad_for = |attribute: &str| -> Vec<&str> {
        match attribute {
            "memory" | "cache" | "access" => names.to_vec(),
            "device" => devices.to_vec(),
            "track" => [&numbers[..], &["2", "1K", "yes"]].concat(),
            "fill" => [&numbers[..], &["256", "1K", "0x100"]].concat(),
            "offset" => [&numbers[..], &["none", "Auto"]].concat(),
            "address" => [&numbers[..], &["auto", "None"]].concat(),
            _ => [&numbers[..], &["auto", "none"]].concat(),
        }
    };
    for (attribute, _) in &before {
        for value in bad_for(attribute) {
            // What the log does not show as it is.
            let shown = match value.trim().contains(['\n', '\\']) || !value.is_ascii() {
                true => "",
                false => value.trim(),
            };
            let quoted = format!("\"{shown}");
            let words = ["chrmem-test", "window one", attribute, &quoted];
            refused(Errno::INVAL, &words, || folder.set("one", attribute, value));
        }
    }
    assert_eq!(files(&folder.path_of("one")), before);
    // Where there are no bytes, the file system does not even ask the driver.
    assert_eq!(folder.set("one", "size", ""), Err(Errno::FAULT));
    assert_eq!(files(&folder.path_of("one")), before);
}

fn settings_that_are_no_text() {
    let folder = Folder::new("test");
    folder.window("one", "size=3M");
    let words = ["chrmem-test", "window one", "size"];
    for value in [&b"\xff"[..], b"4096\0", b"\0", b"4096\x80", b"\xc3\x28"] {
        refused(Errno::INVAL, &words, || folder.set("one", "size", value));
    }
    let long = [b'1'; 4000];
    let words = [&words[..], &["111111"]].concat();
    refused(Errno::INVAL, &words, || folder.set("one", "size", long));
    assert_eq!(folder.get("one", "size"), "3145728");
    let padded = [&[b' '; 4000][..], b"8K"].concat();
    assert_eq!(folder.set("one", "size", padded), Ok(()));
    assert_eq!(folder.get("one", "size"), "8192");
}

fn settings_of_a_live_device_are_busy() {
    let folder = Folder::live("test", &[("one", "size=1page"), ("two", "size=1page")]);
    let (one, two) = (files(&folder.path_of("one")), files(&folder.path_of("two")));
    let words = ["chrmem-test", "live"];
    for (attribute, value) in &one {
        // The same, something else, and what it never takes.
        for value in [value.as_str(), "8192", "auto", "rubbish"] {
            refused(Errno::BUSY, &words, || folder.set("one", attribute, value));
        }
    }
    refused(Errno::BUSY, &words, || folder.make_window("three"));
    assert_eq!(files(&folder.path_of("one")), one);
    assert_eq!(files(&folder.path_of("two")), two);
    folder.destroy();
    folder.change("one", "size=2pages");
    folder.window("three", "size=1page");
    folder.build();
    assert_eq!(folder.shown().size, 4 * PAGE64);
}

fn names_that_can_be_had() {
    let long = "n".repeat(56);
    for name in [
        "a", "0", "...", "-", "_", "A.b_c-9", ".hidden", "live", "windows", "chrmem0", &long,
    ] {
        let folder = Folder::live(name, &[(name, "size=1page")]);
        assert!(folder.is_live());
        assert_eq!(folder.device().window(0).expect("WINDOW").name, name);
        let line = format!("0 {name} 0 {PAGE} pages cached rw");
        assert_eq!(folder.shown().windows, [line]);
    }
}

fn names_that_cannot_be_had() {
    let folder = Folder::new("test");
    let windows = folder.path().join("windows");
    let root = folder.path();
    let root = root.parent().expect("a folder above");
    let long = [57, 200, 255].map(|len| "n".repeat(len));
    let bad: [&[u8]; 14] = [
        b"a\nb",
        b"\n",
        b" ",
        b"a b",
        b"a\tb",
        b"a\\b",
        b"a:b",
        b"a%sb",
        b"%n",
        b"*",
        b"\x7f",
        b"\xff",
        "\u{e9}".as_bytes(),
        b"a,b",
    ];
    let bad = bad
        .into_iter()
        .chain(long.iter().map(|name| name.as_bytes()));
    for name in bad {
        let name = OsStr::from_bytes(name);
        refused(Errno::INVAL, &["name of a device", "56"], || {
            make_folder(&root.join(name))
        });
        refused(Errno::INVAL, &["name of a window", "56"], || {
            make_folder(&windows.join(name))
        });
    }
    // What the file system answers by itself.
    for (name, errno) in [
        ("a/b", Errno::NOENT),
        ("..", Errno::EXIST),
        (".", Errno::EXIST),
        (&"n".repeat(256), Errno::NAMETOOLONG),
    ] {
        for place in [root, &windows] {
            assert_eq!(make_folder(&place.join(name)), Err(errno), "{name}");
        }
    }
    assert_eq!(Folder::make("test").err(), Some(Errno::EXIST));
    folder.make_window("one").expect("a window");
    assert_eq!(folder.make_window("one"), Err(Errno::EXIST));
    assert_eq!(files(root).len(), 1);
    assert_eq!(files(&windows).len(), 1);
}

fn live_is_0_or_1() {
    let folder = Folder::new("test");
    folder.window("one", "size=1page");
    for text in [
        "\n",
        "2",
        "-1",
        "10",
        "0x2",
        "1 1",
        "yes",
        "true",
        "on",
        "18446744073709551617",
    ] {
        refused(Errno::INVAL, &["chrmem-test", "live"], || {
            folder.set_live(text)
        });
        assert!(!folder.is_live());
    }
    for (text, live) in [
        ("1", true),
        ("0\n", false),
        ("1\n", true),
        (" 0 ", false),
        ("0x1", true),
    ] {
        assert_eq!(folder.set_live(text), Ok(()));
        assert_eq!(folder.is_live(), live, "{text:?}");
    }
    refused(Errno::INVAL, &["chrmem-test", "live"], || {
        folder.set_live("2")
    });
    assert!(folder.is_live());
}

fn a_device_needs_windows() {
    let folder = Folder::new("test");
    folder.cannot_be_built(Errno::INVAL, &["no windows"]);
    folder.window("one", "size=1page");
    folder.remove_window("one").expect("rmdir");
    folder.cannot_be_built(Errno::INVAL, &["no windows"]);
}

fn to_build_or_destroy_twice_does_nothing() {
    let folder = Folder::live("test", &[("one", "size=1page")]);
    let fd = folder.open();
    put(&fd, 0, b"still here");
    let number = fs::metadata(folder.node()).expect("a node").rdev();
    for _ in 0..3 {
        folder.build();
    }
    assert_eq!(get(&fd, 0, 10), b"still here");
    assert_eq!(fs::metadata(folder.node()).expect("a node").rdev(), number);
    for _ in 0..3 {
        folder.destroy();
    }
    assert!(!folder.is_live());
}

fn removing_a_live_device_s_folder_destroys_it() {
    let folder = Folder::live("test", &[("one", "size=1page")]);
    let fd = folder.open();
    let map = Map::shared(&fd, PAGE).expect("a mapping");
    assert_eq!(folder.remove(), Err(Errno::NOTEMPTY));
    assert!(folder.is_live());
    assert_eq!(folder.remove_window("one"), Ok(()));
    assert!(folder.is_live());
    assert_eq!(folder.remove(), Ok(()));
    assert!(!folder.is_seen());
    assert_eq!(
        rustix::io::pread(&fd, &mut [0; 8][..], 0),
        Err(Errno::NODEV)
    );
    map.write(0, b"still mapped");
    assert_eq!(map.read(0..12), b"still mapped");
}

fn a_live_device_keeps_a_window_whose_folder_went() {
    let folder = Folder::live("test", &[("one", "size=1page"), ("two", "size=1page")]);
    put(folder.open(), PAGE64, b"two");
    assert_eq!(folder.remove_window("two"), Ok(()));
    assert_eq!(get(folder.open(), PAGE64, 3), b"two");
    assert_eq!(folder.shown().windows.len(), 2);
    assert_eq!(folder.make_window("two"), Err(Errno::BUSY));
    folder.destroy();
    folder.build();
    assert_eq!(
        folder.shown().windows,
        [in_bytes("0 one 0 1page pages cached rw")]
    );
}

fn folders_hold_nothing_else() {
    let folder = Folder::new("test");
    folder.make_window("one").expect("a window");
    for place in [folder.path(), folder.path_of("one")] {
        assert_eq!(make_folder(&place.join("more")), Err(Errno::PERM));
    }
    let windows = folder.path().join("windows");
    assert_eq!(rustix::fs::rmdir(&windows), Err(Errno::PERM));
    for file in [
        folder.path().join("live"),
        folder.path_of("one").join("size"),
    ] {
        assert_eq!(rustix::fs::unlink(&file), Err(Errno::PERM), "{file:?}");
        let made = rustix::fs::open(
            file.with_file_name("more"),
            OFlags::CREATE | OFlags::WRONLY,
            rustix::fs::Mode::RUSR,
        );
        assert_eq!(made.err(), Some(Errno::ACCESS), "{file:?}");
    }
    let moved = rustix::fs::rename(folder.path_of("one"), folder.path_of("two"));
    assert_eq!(moved, Err(Errno::PERM));
}

fn a_folder_keeps_the_driver() {
    assert_eq!(driver::users(), Some(0));
    let folder = Folder::new("test");
    assert_eq!(unload(), Err(Errno::AGAIN));
    folder.window("one", "size=1page");
    folder.build();
    assert_eq!(unload(), Err(Errno::AGAIN));
    folder.destroy();
    assert_eq!(unload(), Err(Errno::AGAIN));
    drop(folder);
    // An open file of configfs as well.
    let folder = Folder::new("test");
    let live = open_node(folder.path().join("live"), OFlags::RDONLY).expect("a file");
    drop(folder);
    assert_eq!(unload(), Err(Errno::AGAIN));
    drop(live);
    assert_eq!(driver::users(), Some(0));
    driver::without(|| ());
}

fn files_of_a_folder_that_went_do_nothing() {
    let folder = Folder::new("test");
    folder.window("one", "size=1page");
    let live = open_node(folder.path().join("live"), OFlags::RDWR).expect("a file");
    let size = open_node(folder.path_of("one").join("size"), OFlags::RDWR).expect("a file");
    folder.remove_window("one").expect("rmdir");
    assert_eq!(rustix::io::write(&size, b"8192"), Err(Errno::NOENT));
    folder.remove().expect("rmdir");
    // No device comes of it that has no folder to go with.
    assert_eq!(rustix::io::write(&live, b"1"), Err(Errno::NOENT));
    assert_eq!(
        rustix::io::pread(&live, &mut [0; 8][..], 0),
        Err(Errno::NOENT)
    );
    assert!(!folder.is_seen());
    // Nor where there is another one by that name.
    let folder = Folder::new("test");
    folder.window("one", "size=1page");
    assert_eq!(rustix::io::write(&live, b"1"), Err(Errno::NOENT));
    assert_eq!(rustix::io::write(&size, b"8192"), Err(Errno::NOENT));
    assert!(!folder.is_live());
    assert_eq!(folder.get("one", "size"), PAGE.to_string());
}

fn others_than_root_can_look_at_most() {
    let folder = Folder::live("test", &[("one", "size=1page")]);
    let as_nobody = |script: String| {
        let mut sh = Command::new("sh");
        let output = sh.args(["-c", &script]).uid(65534).gid(65534).output();
        let output = output.expect("sh runs");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && complaint.contains("Permission denied"),
            "{script}: {complaint}"
        );
    };
    let path = folder.path().display().to_string();
    as_nobody(format!("mkdir {path}2"));
    as_nobody(format!("mkdir {path}/windows/two"));
    as_nobody(format!("rmdir {path}/windows/one"));
    as_nobody(format!("echo 0 > {path}/live"));
    as_nobody(format!("echo 8192 > {path}/windows/one/size"));
    as_nobody(format!("head -c1 {}", folder.node()));
    assert!(folder.is_live());
}

fn the_same_name_at_once_is_another_device() {
    let folder = Folder::live("test", &[("one", "size=1page")]);
    let mut olds = Vec::new();
    for round in 1..=5_u8 {
        let fd = folder.open();
        assert_eq!(get(&fd, 0, PAGE), [0; PAGE]);
        let map = Map::shared(&fd, PAGE).expect("a mapping");
        map.write(0, &[round; PAGE]);
        olds.push((round, fd, map));
        folder.destroy();
        folder.build();
        let new = folder.open();
        for (round, fd, map) in &olds {
            let answer = rustix::io::pread(fd, &mut [0; 8][..], 0);
            assert_eq!(answer, Err(Errno::NODEV));
            assert_eq!(map.read(0..PAGE), [*round; PAGE]);
        }
        put(&new, 0, &[0x55; 100]);
        let map = Map::shared(&new, PAGE).expect("a mapping");
        assert_eq!(map.read(0..100), [0x55; 100]);
        put(&new, 0, &[0; 100]);
        assert_eq!(folder.shown().mappings.0, 1);
    }
}

fn plain_devices_have_no_folder() {
    assert!(files(Path::new("/sys/kernel/config/chrmem")).is_empty());
    // And are not in the way of one with a name that sounds like theirs.
    let folder = Folder::live("chrmem0", &[("one", "size=1page")]);
    put(folder.open(), 0, b"mine");
    assert_ne!(get(driver::open(), 0, 4), b"mine");
    folder.destroy();
    drop(driver::open());
}

fn many_devices() {
    let folders: Vec<Folder> = (0..100)
        .map(|number| Folder::live(&format!("many{number}"), &[("one", "size=1page")]))
        .collect();
    for (number, folder) in folders.iter().enumerate() {
        put(folder.open(), 0, &number.to_ne_bytes());
    }
    for (number, folder) in folders.iter().enumerate() {
        assert_eq!(get(folder.open(), 0, 8), number.to_ne_bytes());
    }
    // Numbers that were given back are given again.
    let number = fs::metadata(folders[50].node()).expect("a node").rdev();
    let old = MadeByHand::new("/tmp/old_memdev", rustix::fs::minor(number));
    folders[50].destroy();
    let gone = old.open(OFlags::RDWR);
    assert_eq!(gone.err(), Some(Errno::NXIO));
    let folder = Folder::live("one-more", &[("one", "size=2pages")]);
    assert_eq!(fs::metadata(folder.node()).expect("a node").rdev(), number);
    let same = old.open(OFlags::RDWR).expect("the new device");
    put(&same, PAGE64, b"second page");
    assert_eq!(get(folder.open(), PAGE64, 11), b"second page");
}

fn no_more_devices_than_there_can_be() {
    driver::with("devices=4095", || {
        let last = Folder::live("last", &[("one", "size=1page")]);
        let folder = Folder::new("test");
        folder.window("one", "size=1page");
        folder.cannot_be_built(Errno::NOSPC, &["4096"]);
        last.destroy();
        folder.build();
        last.cannot_be_built(Errno::NOSPC, &["4096"]);
    });
}
