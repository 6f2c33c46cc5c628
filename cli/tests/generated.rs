// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the command makes of its own arguments: completions and manual pages.

use std::fs;
use std::process::{Command, Output};

fn chrmem(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chrmem"))
        .args(arguments)
        .output()
        .expect("chrmem runs")
}

/// The subcommands that the help lists.
fn subcommands() -> Vec<String> {
    let help = String::from_utf8(chrmem(&["--help"]).stdout).expect("text");
    let (_, list) = help.split_once("Commands:\n").expect("a list");
    let (list, _) = list.split_once("\n\n").expect("its end");
    list.lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn completions_know_every_subcommand() {
    let names = subcommands();
    assert!(names.contains(&"create".to_owned()), "{names:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = chrmem(&["completions", shell]);
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).expect("text");
        for name in &names {
            assert!(script.contains(name), "{shell}: no {name}");
        }
    }
    assert_eq!(chrmem(&["completions", "csh"]).status.code(), Some(2));
}

#[test]
fn every_subcommand_s_help_has_an_example_and_is_written_down() {
    let written = include_str!("cmd/help.trycmd");
    for name in subcommands().iter().filter(|name| *name != "help") {
        let help = String::from_utf8(chrmem(&[name, "--help"]).stdout).expect("text");
        let (_, examples) = help.split_once("\nExample").expect(name);
        assert!(examples.contains("chrmem "), "{name}: {examples}");
        let line = format!("$ chrmem {name} --help\n");
        assert!(written.contains(&line), "{name} is not in help.trycmd");
    }
}

#[test]
fn bash_understands_its_completions() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chrmem.bash");
    fs::write(&path, chrmem(&["completions", "bash"]).stdout).expect("room");
    let script = format!(
        "source {}; COMP_WORDS=(chrmem cre); COMP_CWORD=1; _chrmem chrmem cre chrmem; \
         echo ${{COMPREPLY[@]}}",
        path.display()
    );
    let output = Command::new("bash").args(["-c", &script]).output();
    let output = output.expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "create\n");
}

#[test]
fn each_subcommand_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    assert!(chrmem(&["man", path]).status.success());
    let page = |name: &str| {
        let path = folder.path().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let sections = |page: &str| -> Vec<String> {
        let headings = page.lines().filter_map(|line| line.strip_prefix(".SH "));
        headings.map(|it| it.replace('"', "")).collect()
    };
    // `help` is of clap's making.
    for name in subcommands().iter().filter(|name| *name != "help") {
        let page = page(&format!("chrmem-{name}.1"));
        let found = sections(&page);
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXIT STATUS",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            let count = found.iter().filter(|it| *it == section).count();
            assert_eq!(count, 1, "{name}: {section} in {found:?}");
        }
        assert!(
            page.contains(&format!("chrmem {name}").replace('-', "\\-")),
            "{page}"
        );
    }
    let all = page("chrmem.1");
    assert_eq!(String::from_utf8_lossy(&chrmem(&["man"]).stdout), all);
    assert_eq!(
        sections(&all),
        [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "SUBCOMMANDS",
            "EXIT STATUS",
            "FILES",
            "SEE ALSO"
        ]
    );
    // Statuses and files as the help and the page of the device have them.
    let help = String::from_utf8(chrmem(&["--help"]).stdout).expect("text");
    let (_, statuses) = help.split_once("Exit status:\n").expect("a list");
    assert_eq!(statuses.lines().count(), 4, "{statuses}");
    for line in statuses.lines() {
        let (status, meaning) = line.trim().split_once(' ').expect("two columns");
        let meaning = meaning.trim().replace('-', "\\-");
        let entry = format!("\\fB{status}\\fR\n{meaning}\n");
        assert!(all.contains(&entry), "{entry}: {all}");
    }
    let device = include_str!("../../dist/man/chrmem.4");
    let (_, files) = all.split_once(".SH FILES\n").expect("a section");
    let (files, _) = files.split_once(".SH").expect("its end");
    let paths: Vec<_> = files
        .lines()
        .filter_map(|line| line.strip_prefix("\\fB/"))
        .collect();
    assert_eq!(paths.len(), 3, "{files}");
    for path in paths {
        let (path, _) = path.split_once("\\fR").expect("its end");
        let entry = format!(".It Pa /{}", path.replace('\\', ""));
        assert!(device.contains(&entry), "{entry}");
    }
    let (_, others) = all.split_once(".SH \"SEE ALSO\"\n").expect("a section");
    for name in subcommands().iter().filter(|name| *name != "help") {
        assert!(
            others.contains(&format!("chrmem\\-{name}\\fR(1)")),
            "{name}: {others}"
        );
    }
    assert!(others.contains("chrmem\\fR(4)"), "{others}");
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let output = chrmem(&["man", "/nowhere"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint.contains("cannot write the pages into /nowhere"),
        "{complaint}"
    );
}

#[test]
fn each_subcommand_has_an_example() {
    for name in subcommands() {
        if name != "help" {
            let help = String::from_utf8(chrmem(&[&name, "--help"]).stdout).expect("text");
            let (_, example) = help
                .split_once("xample")
                .unwrap_or_else(|| panic!("{help}"));
            assert!(example.contains(&format!("chrmem {name}")), "{help}");
        }
    }
}
