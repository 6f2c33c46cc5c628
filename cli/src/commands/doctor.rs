// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem doctor`

use crate::colour;
use crate::doctor::{examine, Finding, Machine, State};
use crate::json;
use anstyle::{AnsiColor, Style};
use anyhow::{bail, Result};
use clap::Args;
use std::io::Write;

/// What can be typed after `chrmem doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Doctor, out: &mut impl Write) -> Result<()> {
    let findings = examine(&Machine::this());
    if arguments.json {
        json::print(&findings, out)?;
    } else {
        write!(out, "{}", colour::strip_unless_wanted(&shown(&findings)))?;
    }
    let wrong = findings
        .iter()
        .filter(|it| it.state == State::Wrong)
        .count();
    match wrong {
        0 => Ok(()),
        1 => bail!("1 thing is wrong"),
        _ => bail!("{wrong} things are wrong"),
    }
}

/// The findings, each with its cure below it.
fn shown(findings: &[Finding]) -> String {
    let bold = Style::new().bold();
    let mut text = String::new();
    for Finding {
        about,
        state,
        what,
        cure,
    } in findings
    {
        let (word, style) = match state {
            State::Ok => ("ok", AnsiColor::Green.on_default()),
            State::Note => ("note", AnsiColor::Yellow.on_default()),
            State::Wrong => ("WRONG", AnsiColor::Red.on_default().bold()),
        };
        text += &format!("{style}{word:5}{style:#}  {about:11}  {what}\n");
        if let Some(cure) = cure {
            text += &format!("{:20}{bold}to do:{bold:#} {cure}\n", "");
        }
    }
    text
}
