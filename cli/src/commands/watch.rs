// SPDX-License-Identifier: MIT OR Apache-2.0

//! `chrmem watch`

use crate::address::Address;
use crate::watch::{draw, Watch, Wish};
use crate::{duration, hint, size};
use anyhow::{anyhow, bail, Context, Result};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;
use rustix::termios::tcgetwinsize;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::flag;
use std::io::{stdin, stdout, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What `--help` ends with.
pub(crate) const EXAMPLE: &str = "\
Keys:
  q, Esc, Ctrl-C        quit
  arrows, j, k          a line up or down
  Page Up, Page Down    a page up or down
  Home, End             to the start or the end
  Tab, Shift-Tab        to the next window or the one before
  Space                 stand still, go on

Example:
  chrmem watch camera:header --interval 50ms";

/// So long at most until signals are looked for, and until bytes that have changed fade.
const SLICE: Duration = Duration::from_millis(200);

/// What can be typed after `chrmem watch`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where: DEVICE, DEVICE:WINDOW, or DEVICE:WINDOW+OFFSET
    #[arg(value_name = "PLACE", default_value = "chrmem0")]
    place: Address,
    /// How many bytes [default: all up to the end of the window]
    #[arg(short = 'n', long, value_name = "SIZE", value_parser = size::parse, allow_hyphen_values = true)]
    length: Option<u64>,
    /// How often to look
    #[arg(short, long, value_name = "TIME", default_value = "100ms", value_parser = duration::parse, allow_hyphen_values = true)]
    interval: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let device = arguments.place.open_read_only()?;
    let place = arguments.place.locate(&device, arguments.length)?;
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(hint::with(
            anyhow!("watch needs a terminal"),
            "`chrmem read` shows the bytes once, `chrmem wait` waits for a change",
        ));
    }
    // Serial consoles are so. Nothing would be drawn.
    let size = tcgetwinsize(stdout()).context("cannot ask for the terminal's size")?;
    if size.ws_row == 0 || size.ws_col == 0 {
        return Err(hint::with(
            anyhow!("the terminal does not tell its size"),
            "`stty rows 24 columns 80` gives it one",
        ));
    }
    let node = arguments.place.path().display().to_string();
    let mut watch = Watch::new(node, place.parts);
    let mut terminal = ratatui::try_init().context("cannot set up the terminal")?;
    let result = show(&mut watch, &device, arguments.interval, &mut terminal);
    ratatui::try_restore().context("cannot restore the terminal")?;
    result
}

/// Shows the device until the user has seen enough, or somebody else has.
fn show(
    watch: &mut Watch,
    device: &chrmem::Device,
    interval: Duration,
    terminal: &mut DefaultTerminal,
) -> Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        flag::register(signal, ended.clone()).context("cannot wait for signals")?;
    }
    let mut next = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        let now = Instant::now();
        watch.resize(terminal.size()?);
        if now >= next {
            watch.look(device, now);
            next = now.checked_add(interval).unwrap_or(now + SLICE);
        }
        terminal.draw(|frame| draw(watch, frame, now))?;
        // However slow the terminal is: without any time for it, no key would be read.
        let rest = next.saturating_duration_since(Instant::now());
        if event::poll(rest.clamp(Duration::from_millis(1), SLICE))? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match wish(key) {
                    Some(Key::Quit) => return Ok(()),
                    Some(Key::Wish(wish)) => watch.wish(wish),
                    None => {}
                },
                // Of a new size, the next drawing takes note.
                _ => {}
            }
            // There may be something else to be seen.
            next = now;
        }
    }
    bail!("ended by a signal")
}

/// What a key is for.
enum Key {
    Quit,
    Wish(Wish),
}

/// What a key is for, if it is for anything.
fn wish(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(Key::Wish(match key.code {
        KeyCode::Char('c') if control => return Some(Key::Quit),
        KeyCode::Char('q') | KeyCode::Esc => return Some(Key::Quit),
        KeyCode::Up | KeyCode::Char('k') => Wish::Up,
        KeyCode::Down | KeyCode::Char('j') => Wish::Down,
        KeyCode::PageUp => Wish::PageUp,
        KeyCode::PageDown => Wish::PageDown,
        KeyCode::Home => Wish::Start,
        KeyCode::End => Wish::End,
        KeyCode::Tab => Wish::NextWindow,
        KeyCode::BackTab => Wish::PreviousWindow,
        KeyCode::Char(' ') => Wish::Pause,
        _ => return None,
    }))
}
