// SPDX-License-Identifier: MIT OR Apache-2.0

//! The guide's examples on the lab's hardware do what docs/hardware.md says.

use std::fs;
use std::process::Command;

crate::tests! {
    the_second_lesson_s_buffers
    a_device_moves_bytes
    the_host_shares_a_bar
}

/// What an example printed; it must succeed.
fn printed(interpreter: &str, name: &str, program: &str) -> String {
    let path = format!("/tmp/{name}");
    fs::write(&path, program).expect(&path);
    let output = Command::new(interpreter)
        .arg(&path)
        .output()
        .expect(interpreter);
    fs::remove_file(&path).expect(&path);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

/// Checks that the guide shows these lines of an example's output, one after the other.
fn in_the_guide(lines: &str) {
    let guide = include_str!("../../../docs/hardware.md");
    assert!(guide.contains(lines), "not in docs/hardware.md: {lines}");
}

fn the_second_lesson_s_buffers() {
    let program = include_str!("../../../examples/hardware/lesson.sh");
    let text = printed("sh", "lesson.sh", program);
    let said = "0 buf0 \n65536 buf1 \n16777216 start\n4096 No such device or address\n";
    assert!(text.ends_with(said), "{text}");
    in_the_guide(said);
}

fn a_device_moves_bytes() {
    let program = include_str!("../../../examples/hardware/edu.py");
    let text = printed("python3", "edu.py", program);
    let said = "edu 0x010000ed\nstored by a program, moved by the device\n";
    assert!(text.ends_with(said), "{text}");
    in_the_guide(said);
}

fn the_host_shares_a_bar() {
    let program = include_str!("../../../examples/hardware/ivshmem.py");
    let text = printed("python3", "ivshmem.py", program);
    let said = "written by the host\nstored by the guest\n";
    assert!(text.ends_with(said), "{text}");
    in_the_guide(said);
}
