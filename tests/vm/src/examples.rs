// SPDX-License-Identifier: MIT OR Apache-2.0

//! The examples in other languages do what they say.

use crate::driver::{generation, get, open, put, NODE, SIZE};
use crate::poll::wait_until_asleep;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

crate::tests! {
    c_compiles_without_a_warning_and_takes_the_tour
    python_shares_an_array
    rust_has_a_typed_window
    rust_streams_between_processes
    rust_waits_with_tokio
}

/// Where programs find what a page of the documentation names: examples and headers.
const LAB: &str = "/lab";

/// What a shell command in [`LAB`] printed, which must have no complaint.
fn printed(command: &str) -> String {
    let output = shell(command).output().expect("sh runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{command}: {}: {complaint}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

/// A shell command in [`LAB`].
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-euc", command]).current_dir(LAB);
    shell
}

fn c_compiles_without_a_warning_and_takes_the_tour() {
    printed(
        "gcc -std=c11 -Wall -Wextra -pedantic -Werror -Iuapi/include -o /tmp/tour examples/c/tour.c",
    );
    put(open(), 0, &vec![b'x'; SIZE]);
    assert_eq!(
        printed(&format!("/tmp/tour {NODE}")),
        format!(
            "{SIZE} bytes in 1 windows\n\
         window 0, buffer: {SIZE} bytes at 0, pages\n\
         stored: stored in C\n\
         cleared from byte 6 on: stored\n\
         woken: hello from another process\n"
        )
    );
    assert_eq!(get(open(), 0, 27), b"hello from another process\0");
    assert_eq!(get(open(), 27, SIZE - 27), vec![0; SIZE - 27]);
    // Without a device, it says so.
    let output = shell("/tmp/tour /dev/null").output().expect("it runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(
        complaint.starts_with("error: cannot ask for the description of the device: "),
        "{complaint}"
    );
    fs::remove_file("/tmp/tour").expect("the program");
}

fn python_shares_an_array() {
    put(open(), 0, &vec![b'x'; SIZE]);
    let samples = SIZE / 16;
    // Sample 101 is the first above 10: on channel 1, with flag 1.
    assert_eq!(
        printed(&format!(
            "python3 -W error examples/python/samples.py {NODE}"
        )),
        format!(
            "window buffer: {samples} samples, 0 with a time\n\
         1 change, {} with a time\n\
         {} samples above 10, the first on channel 1\n\
         in the device: 01000100\n",
            samples - 1,
            samples - 101
        )
    );
    // The last one has time 1.
    assert_eq!(get(open(), SIZE as u64 - 8, 8), 1_f64.to_le_bytes());
}

fn rust_has_a_typed_window() {
    put(open(), 0, &vec![0; SIZE]);
    let (samples, loudest) = (
        SIZE / 16 - 1,
        match SIZE {
            4096 => "channel 4 with 0.9997929",
            _ => "channel 5 with 0.99999845",
        },
    );
    for visitor in 1..3 {
        assert_eq!(
            printed(&format!("examples/rust/typed {NODE}")),
            format!("visitor number {visitor}; {samples} samples, the loudest on {loudest}\n")
        );
    }
    assert_eq!(get(open(), 0, 8), b"smpl\x02\0\0\0");
}

fn rust_streams_between_processes() {
    // Longer than the ring, so that the sender has to wait for room.
    let lines: String = (0..2000).map(|it| format!("line {it}\n")).collect();
    fs::write("/tmp/lines", &lines).expect("a file");
    put(open(), 0, &vec![0; SIZE]);
    let receiver = shell(&format!("exec examples/rust/ring receive {NODE}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the receiver runs");
    // The receiver makes the ring.
    let deadline = Instant::now() + Duration::from_secs(60);
    while get(open(), 0, 8) == [0; 8] {
        assert!(Instant::now() < deadline, "there is no ring");
        sleep(Duration::from_millis(5));
    }
    printed(&format!("examples/rust/ring send {NODE} < /tmp/lines"));
    let output = receiver.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
    fs::remove_file("/tmp/lines").expect("the file");
}

fn rust_waits_with_tokio() {
    let mut waiter = shell(&format!("exec examples/rust/async {NODE}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the waiter runs");
    let mut lines = BufReader::new(waiter.stdout.take().expect("a pipe")).lines();
    // It waits from soon after it has mapped the device.
    let maps = format!("/proc/{}/maps", waiter.id());
    while !fs::read_to_string(&maps).expect(&maps).contains(NODE) {
        sleep(Duration::from_millis(5));
    }
    wait_until_asleep(waiter.id() as i32);
    for text in ["one", "two", "three"] {
        // Two system calls would be two changes.
        put(open(), 0, format!("{text}\0").as_bytes());
        assert_eq!(
            lines.next().expect("a line").expect("text"),
            format!("generation {}, starts with `{text}`", generation())
        );
    }
    assert!(waiter.wait().expect("it ends").success());
    assert!(lines.next().is_none());
}
