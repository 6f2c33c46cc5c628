// SPDX-License-Identifier: MIT OR Apache-2.0

//! The examples in other languages do what they say.

use crate::driver::{get, open, put, NODE, SIZE};
use std::fs;
use std::process::Command;

crate::tests! {
    c_compiles_without_a_warning_and_takes_the_tour
    python_shares_an_array
}

/// A folder for what is compiled.
const FOLDER: &str = "/tmp/chrmem-examples";

/// What a shell command in [`FOLDER`] printed, which must have no complaint.
fn printed(command: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", command])
        .current_dir(FOLDER)
        .output()
        .expect("sh runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{command}: {}: {complaint}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

fn c_compiles_without_a_warning_and_takes_the_tour() {
    fs::create_dir_all(format!("{FOLDER}/linux")).expect(FOLDER);
    for (file, text) in [
        ("tour.c", include_str!("../../../examples/c/tour.c")),
        (
            "linux/chrmem.h",
            include_str!("../../../uapi/include/linux/chrmem.h"),
        ),
    ] {
        fs::write(format!("{FOLDER}/{file}"), text).expect(FOLDER);
    }
    printed("gcc -std=c11 -Wall -Wextra -pedantic -Werror -I. -o tour tour.c");
    put(open(), 0, &vec![b'x'; SIZE]);
    assert_eq!(
        printed(&format!("./tour {NODE}")),
        "4096 bytes in 1 windows\n\
         window 0, buffer: 4096 bytes at 0, pages\n\
         stored: stored in C\n\
         cleared from byte 6 on: stored\n\
         woken: hello from another process\n"
    );
    assert_eq!(get(open(), 0, 27), b"hello from another process\0");
    assert_eq!(get(open(), 27, SIZE - 27), vec![0; SIZE - 27]);
    // Without a device, it says so.
    let output = Command::new(format!("{FOLDER}/tour"))
        .arg("/dev/null")
        .output()
        .expect("it runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(
        complaint.starts_with("error: cannot ask for the description of the device: "),
        "{complaint}"
    );
    fs::remove_dir_all(FOLDER).expect(FOLDER);
}

fn python_shares_an_array() {
    fs::create_dir_all(FOLDER).expect(FOLDER);
    let program = include_str!("../../../examples/python/samples.py");
    fs::write(format!("{FOLDER}/samples.py"), program).expect(FOLDER);
    put(open(), 0, &vec![b'x'; SIZE]);
    // Sample 101 is the first above 10: on channel 1, with flag 1.
    assert_eq!(
        printed(&format!("python3 -W error samples.py {NODE}")),
        "window buffer: 256 samples, 0 with a time\n\
         1 change, 255 with a time\n\
         155 samples above 10, the first on channel 1\n\
         in the device: 01000100\n"
    );
    // The last one has time 1.
    assert_eq!(get(open(), SIZE as u64 - 8, 8), 1_f64.to_le_bytes());
    fs::remove_dir_all(FOLDER).expect(FOLDER);
}
