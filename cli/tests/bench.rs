// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem bench` on reports that were saved.

#[path = "support/schema.rs"]
mod schema;

use serde_json::{json, Value};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A saved report, in which mapping costs `factor` a byte.
fn report(unit: &str, factor: f64) -> Value {
    let figure = |who: &str, size: u64, cost: f64| {
        json!({
            "what": "map, touch, unmap", "who": who, "size": size, "threads": null,
            "median": cost, "low": cost, "high": cost, "repetitions": 9,
        })
    };
    let figures: Vec<_> = [4096_u64, 1 << 20]
        .into_iter()
        .flat_map(|size| {
            let cost = size as f64 * factor;
            [
                figure("chrmem", size, cost),
                figure("memfd", size, cost * 2.0),
            ]
        })
        .collect();
    json!([{
        "unit": unit, "kernel": "7.3.4", "processor": "an emulated one", "processors": 2,
        "memory": 1 << 30, "figures": figures, "notes": ["udmabuf: there is none"],
    }])
}

fn bench(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chrmem"))
        .arg("bench")
        .args(arguments)
        .current_dir(dir)
        .output()
        .expect("chrmem runs")
}

#[test]
fn the_schema_has_reports() {
    let dir = tempfile::tempdir().expect("a directory");
    let saved = report("instructions", 2.0);
    schema::check("bench", &saved);
    fs::write(dir.path().join("a.json"), saved.to_string()).expect("room");
    let output = bench(
        dir.path(),
        &["--from", "a.json", "--from", "a.json", "--json"],
    );
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    schema::check("bench", &printed);
    assert_eq!(printed.as_array().map(Vec::len), Some(2));
    assert_eq!(printed[0]["figures"], saved[0]["figures"]);
}

/// The names of the pictures in a directory.
fn pictures(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn each_report_has_its_own_pictures() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    for (name, report) in [
        ("a.json", report("instructions", 2.0)),
        ("b.json", report("nanoseconds", 3.0)),
    ] {
        fs::write(dir.join(name), report.to_string()).expect("room");
    }
    for name in ["one", "both"] {
        fs::create_dir(dir.join(name)).expect("a directory");
    }
    let output = bench(dir, &["--from", "a.json", "--svg", "one"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(pictures(&dir.join("one")), ["goals.svg", "mapping.svg"]);
    let output = bench(
        dir,
        &["--from", "a.json", "--from", "b.json", "--svg", "both"],
    );
    assert!(output.status.success(), "{output:?}");
    let names = [
        "goals-1.svg",
        "goals-2.svg",
        "mapping-1.svg",
        "mapping-2.svg",
    ];
    assert_eq!(pictures(&dir.join("both")), names);
    let text = |name: &str| fs::read_to_string(dir.join("both").join(name)).expect(name);
    assert!(text("mapping-1.svg").contains("chrmem, 4 KiB: 8 192<"));
    assert!(text("mapping-2.svg").contains("chrmem, 4 KiB: 12 288<"));
}
