// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem cat` on files.

use proptest::prelude::*;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use tempfile::NamedTempFile;

/// Bytes that are not the same on any two pages.
fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| (at % 251) as u8 ^ (at / 4096) as u8)
        .collect()
}

/// A file with bytes in it.
fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("room");
    file
}

/// The command, not yet run.
fn command(file: &NamedTempFile, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chrmem"));
    command.arg("cat").arg(file.path()).args(arguments);
    command
}

/// What the command said.
fn cat(file: &NamedTempFile, arguments: &[&str]) -> Output {
    command(file, arguments).output().expect("chrmem runs")
}

/// What the command printed, if it had no complaint.
fn printed(file: &NamedTempFile, arguments: &[&str]) -> Vec<u8> {
    let output = cat(file, arguments);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), complaint.as_str()), (Some(0), ""));
    output.stdout
}

/// What the command complained of.
fn complaint(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    complaint
}

#[test]
fn prints_all_of_a_file_or_what_was_asked_for() {
    let bytes = pattern((3 << 20) + 17);
    let file = file(&bytes);
    assert!(printed(&file, &[]) == bytes);
    assert!(printed(&file, &["1"]) == bytes[1..]);
    assert!(printed(&file, &["0x1001", "4K"]) == bytes[4097..4097 + 4096]);
    assert!(printed(&file, &["1M", "2M"]) == bytes[1 << 20..3 << 20]);
    assert!(printed(&file, &["1048575", "2"]) == bytes[1_048_575..1_048_577]);
}

#[test]
fn nothing_is_not_past_the_end() {
    let empty = file(b"");
    assert_eq!(printed(&empty, &[]), b"");
    assert_eq!(printed(&empty, &["0", "0"]), b"");
    let some = file(b"some");
    assert_eq!(printed(&some, &["4"]), b"");
    assert_eq!(printed(&some, &["4", "0"]), b"");
    assert_eq!(printed(&some, &["3"]), b"e");
}

#[test]
fn the_end_is_told_before_anything_is_printed() {
    let file = file(&pattern(5000));
    for (arguments, saying) in [
        (&["5001"][..], "offset 5001 is past the end of "),
        (
            &["5000", "1"],
            "1 bytes from offset 5000 on run past the end of ",
        ),
        (
            &["0", "5001"],
            "5001 bytes from offset 0 on run past the end of ",
        ),
        (&["0xffffffffffffffff"], "is past the end of "),
        (&["1", "0xffffffffffffffff"], "run past the end of "),
    ] {
        let output = cat(&file, arguments);
        let complaint = complaint(&output);
        assert!(complaint.contains(saying), "{arguments:?}: {complaint}");
        assert!(complaint.ends_with(", at 5000\n"), "{complaint}");
        assert_eq!(output.stdout, b"");
    }
}

/// What is printed of a file that becomes shorter meanwhile, and what is complained of.
fn printed_while_shortened(bytes: &[u8], left: usize) -> (Vec<u8>, String) {
    let file = file(bytes);
    let mut child = command(&file, &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("chrmem runs");
    let mut out = child.stdout.take().expect("a pipe");
    let mut printed = vec![0; 1000];
    out.read_exact(&mut printed).expect("the beginning");
    // It waits for the pipe to be emptied, in the midst of its first megabyte.
    file.as_file().set_len(left as u64).expect("a shorter file");
    out.read_to_end(&mut printed).expect("the rest");
    let output = child.wait_with_output().expect("it ends");
    (printed, complaint(&output))
}

#[test]
fn a_file_that_becomes_shorter_is_an_error_and_no_signal() {
    let bytes = pattern(8 << 20);
    for left in [512 << 10, (512 << 10) + 7, 100, 0] {
        let (printed, complaint) = printed_while_shortened(&bytes, left);
        let size = format!("was truncated to {left} bytes while it was copied: ");
        assert!(complaint.contains(&size), "{size}: {complaint}");
        let told = format!(": {} bytes are written", printed.len());
        assert!(complaint.contains(&told), "{told}: {complaint}");
        // What went into the pipe before the file was cut is the file's. Of what went after that, only
        // the end of a last page is not.
        let zeroes = left..left.next_multiple_of(4096);
        for (at, byte) in printed.iter().enumerate() {
            let zero = *byte == 0 && zeroes.contains(&at);
            assert!(*byte == bytes[at] || zero, "{left}: byte {at} is {byte}");
        }
        let may_be_zeroes = complaint.contains("may be zeroes");
        assert_eq!(may_be_zeroes, printed.len() > left, "{complaint}");
    }
}

/// What the last page has behind the end of the file is not the file's.
#[test]
fn a_last_page_that_becomes_shorter_is_an_error_too() {
    let bytes = pattern(1 << 20);
    let left = (1 << 20) - 7;
    let (printed, complaint) = printed_while_shortened(&bytes, left);
    let told = format!(
        "was truncated to {left} bytes while it was copied: {} bytes are written, the last of which may be zeroes",
        printed.len()
    );
    assert!(complaint.contains(&told), "{told}: {complaint}");
    assert!(printed[..left] == bytes[..left]);
}

#[test]
fn who_has_seen_enough_hears_no_complaint() {
    let file = file(&pattern(8 << 20));
    let mut child = command(&file, &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("chrmem runs");
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 1000]).expect("the beginning");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), complaint.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_an_error() {
    let file = file(&pattern(10));
    let full = File::create("/dev/full").expect("/dev/full");
    let output = command(&file, &[])
        .stdout(full)
        .output()
        .expect("chrmem runs");
    let complaint = complaint(&output);
    assert!(complaint.contains("No space left on device"), "{complaint}");
}

#[test]
fn who_cannot_be_told_is_told_by_the_status() {
    let status = Command::new(env!("CARGO_BIN_EXE_chrmem"))
        .args(["cat", "/nowhere/file"])
        .stderr(File::create("/dev/full").expect("/dev/full"))
        .status();
    assert_eq!(status.expect("chrmem runs").code(), Some(1));
}

#[test]
fn it_writes_files_too() {
    let bytes = pattern(3 << 20);
    let (from, to) = (file(&bytes), NamedTempFile::new().expect("a file"));
    let status = command(&from, &["5"])
        .stdout(to.reopen().expect("the file"))
        .status();
    assert!(status.expect("chrmem runs").success());
    assert!(fs::read(to.path()).expect("the file") == bytes[5..]);
}

/// The output of the command for a file by its path, run by a shell.
fn shell(script: &str) -> Output {
    Command::new("timeout")
        .args(["20", "sh", "-c", script])
        .env("CHRMEM", env!("CARGO_BIN_EXE_chrmem"))
        .output()
        .expect("sh runs")
}

#[test]
fn a_file_that_cannot_be_mapped_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("fifo");
    let fifo = fifo.display();
    for (script, expected) in [
        ("$CHRMEM cat /dev/zero 7 70000 | tr '\\0' z | tail -c 3; $CHRMEM cat /dev/zero 7 70000 | wc -c", "zzz70000\n".to_owned()),
        ("$CHRMEM cat /dev/zero | head -c 2M | wc -c", "2097152\n".to_owned()),
        ("$CHRMEM cat /dev/null", String::new()),
        ("$CHRMEM cat /proc/sys/kernel/ostype", "Linux\n".to_owned()),
        ("$CHRMEM cat /proc/sys/kernel/ostype 1 2", "in".to_owned()),
        ("$CHRMEM cat /proc/sys/kernel/ostype 6; $CHRMEM cat /proc/sys/kernel/ostype 0 0", String::new()),
        ("$CHRMEM cat /sys/kernel/mm/transparent_hugepage/hpage_pmd_size", fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").expect("sysfs")),
        ("echo hello | $CHRMEM cat /dev/stdin 1 3", "ell".to_owned()),
        (&format!("mkfifo {fifo}; echo hello > {fifo} & $CHRMEM cat {fifo} 1"), "ello\n".to_owned()),
    ] {
        let output = shell(script);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), complaint.as_str()), (Some(0), ""), "{script}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{script}");
    }
}

#[test]
fn what_a_file_does_not_have_is_an_error() {
    for (script, saying) in [
        (
            "$CHRMEM cat /proc/sys/kernel/ostype 7",
            "offset 7 is past the end of /proc/sys/kernel/ostype",
        ),
        (
            "echo hello | $CHRMEM cat /dev/stdin 7",
            "offset 7 is past the end of /dev/stdin, at 6",
        ),
        (
            "echo hello | $CHRMEM cat /dev/stdin 1 7",
            "/dev/stdin ends after 5 of 7 bytes from offset 1 on, which are written",
        ),
        (
            "$CHRMEM cat /nowhere/file",
            "cannot open /nowhere/file: No such file",
        ),
        ("$CHRMEM cat /proc", "/proc is a directory\n"),
        ("$CHRMEM cat .", ". is a directory\n"),
        (
            "$CHRMEM cat /proc/self/mem 0 1",
            "cannot read /proc/self/mem: Input/output error",
        ),
    ] {
        let output = shell(script);
        let complaint = complaint(&output);
        assert!(complaint.contains(saying), "{script}: {complaint}");
        assert!(!complaint.contains("hint:"), "{script}: {complaint}");
    }
}

#[test]
fn a_file_is_not_copied_into_itself() {
    let bytes = pattern(3 << 20);
    let file = file(&bytes);
    for redirection in [">>", "1<>"] {
        let output = shell(&format!(
            "$CHRMEM cat {0} {redirection} {0}",
            file.path().display()
        ));
        let complaint = complaint(&output);
        assert!(complaint.contains(" is also the output"), "{complaint}");
        assert!(fs::read(file.path()).expect("the file") == bytes);
    }
    // Nothing is written into it, and it is not a file that is copied.
    let output = shell(&format!(
        "$CHRMEM cat {0} {1} >> {0}",
        file.path().display(),
        bytes.len()
    ));
    assert!(output.status.success());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn exactly_the_bytes_that_were_asked_for(
        size in 0..20_000_usize,
        offset in 0..21_000_usize,
        length in prop::option::of(0..21_000_usize),
    ) {
        let bytes = pattern(size);
        let file = file(&bytes);
        let (offset_text, length_text) = (offset.to_string(), length.map(|it| it.to_string()));
        let mut arguments = vec![offset_text.as_str()];
        arguments.extend(length_text.as_deref());
        let output = cat(&file, &arguments);
        let end = length.map_or(size.max(offset), |length| offset + length);
        match bytes.get(offset..end) {
            Some(expected) => {
                prop_assert_eq!(output.status.code(), Some(0));
                prop_assert!(output.stdout == expected);
            }
            None => {
                prop_assert_eq!(output.status.code(), Some(1));
                prop_assert!(output.stdout.is_empty());
            }
        }
    }
}
