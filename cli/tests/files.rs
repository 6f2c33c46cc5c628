// SPDX-License-Identifier: MIT OR Apache-2.0

//! Commands where there are no devices.

#[path = "support/schema.rs"]
mod schema;

use std::process::{Command, Output};

/// What the command says; it has 20 seconds.
fn chrmem(arguments: &[&str]) -> Output {
    Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_chrmem")])
        .args(arguments)
        .output()
        .expect("chrmem runs")
}

#[test]
fn a_fifo_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let fifo = dir.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    let fifo = fifo.to_str().expect("text");
    for arguments in [
        &["info", fifo][..],
        &["read", fifo],
        &["watch", fifo],
        &["wait", fifo],
        &["notify", fifo],
        &["write", fifo, "text"],
        &["fill", fifo, "0"],
        &["clear", fifo],
        &["reset", fifo],
        &["demo", fifo],
    ] {
        let output = chrmem(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {complaint}");
        assert!(
            complaint.contains("is not a chrmem device\nhint: `chrmem list`"),
            "{arguments:?}: {complaint}"
        );
    }
}

#[test]
fn the_schema_has_what_the_doctor_finds() {
    let output = chrmem(&["doctor", "--json"]);
    let printed = serde_json::from_slice(&output.stdout).expect("JSON");
    schema::check("doctor", &printed);
    assert_ne!(schema::errors("list", &printed), [""; 0]);
}
