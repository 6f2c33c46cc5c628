// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use chrmem::Errno;
use ratatui::backend::TestBackend;
use ratatui::style::Modifier;
use ratatui::Terminal;
use std::cell::RefCell;

/// A device of two windows with a hole between them.
struct Fake {
    bytes: RefCell<Vec<u8>>,
    generation: RefCell<u64>,
    end: RefCell<Option<Errno>>,
    /// What has changed in tracked windows since the last look.
    changes: RefCell<Vec<Range<u64>>>,
    /// What that look was asked.
    since: RefCell<u64>,
}

impl Fake {
    fn new() -> Self {
        let mut bytes = vec![0; 0x3000];
        bytes[..16].copy_from_slice(b"hello, user!\0\x01\xff\n");
        bytes[0x2000..].fill(0x2a);
        Self {
            bytes: RefCell::new(bytes),
            generation: RefCell::new(7),
            end: RefCell::new(None),
            changes: RefCell::default(),
            since: RefCell::default(),
        }
    }

    fn put(&self, offset: usize, byte: u8) {
        self.bytes.borrow_mut()[offset] = byte;
    }
}

impl Memory for Fake {
    fn read(&self, offset: u64, target: &mut [u8]) -> chrmem::Result<usize> {
        let offset = offset as usize;
        // Short, as at the end of a window.
        let length = target.len().min(5);
        target[..length].copy_from_slice(&self.bytes.borrow()[offset..offset + length]);
        Ok(length)
    }

    fn changes(&self, since: u64) -> chrmem::Result<chrmem::Changes> {
        let mut changes = chrmem::Changes::default();
        changes.generation = self.since.replace(since) + 10;
        changes.ranges = self.changes.take();
        Ok(changes)
    }

    fn counts(&self) -> chrmem::Result<(u64, Option<u64>)> {
        match *self.end.borrow() {
            Some(errno) => Err(chrmem::Error::Refused {
                tried: "ask".to_owned(),
                errno,
            }),
            None => Ok((*self.generation.borrow(), Some(2))),
        }
    }
}

fn watch() -> Watch {
    let part = |window: &str, range, writable| Part {
        window: window.to_owned(),
        range,
        writable,
        tracked: false,
    };
    let parts = vec![
        part("header", 0..0x1000, false),
        part("frames", 0x2000..0x3000, true),
    ];
    Watch::new("/dev/chrmem-camera".to_owned(), parts)
}

#[test]
fn a_tracked_window_is_read_where_it_has_changed() {
    let (mut watch, memory, now) = (watch(), Fake::new(), Instant::now());
    watch.parts[0].tracked = true;
    let mut terminal = terminal(80, 20);
    show(&mut watch, &memory, &mut terminal, now);
    memory.put(1, b'E');
    show(&mut watch, &memory, &mut terminal, now);
    assert_eq!(watch.bytes[&1].byte, b'e');
    memory.changes.borrow_mut().push(0..0x1000);
    show(&mut watch, &memory, &mut terminal, now);
    assert_eq!(watch.bytes[&1].byte, b'E');
    assert_eq!(watch.bytes[&1].changed, Some(now));
    // Each look is told what the one before was complete up to.
    assert_eq!((watch.since, *memory.since.borrow()), (20, 10));
    // Elsewhere, each look reads.
    watch.parts[0].tracked = false;
    memory.put(2, b'L');
    show(&mut watch, &memory, &mut terminal, now);
    assert_eq!(watch.bytes[&2].byte, b'L');
}

fn terminal(columns: u16, lines: u16) -> Terminal<TestBackend> {
    Terminal::new(TestBackend::new(columns, lines)).expect("a terminal")
}

/// Looks and draws.
fn show(watch: &mut Watch, memory: &Fake, terminal: &mut Terminal<TestBackend>, now: Instant) {
    watch.resize(terminal.size().expect("a size"));
    watch.look(memory, now);
    terminal
        .draw(|frame| draw(watch, frame, now))
        .expect("it draws");
}

/// What is on the screen, line by line.
fn screen(terminal: &Terminal<TestBackend>) -> Vec<String> {
    let text = terminal.backend().to_string();
    text.lines()
        .map(|line| line.trim_matches('"').trim_end().to_owned())
        .collect()
}

/// The places of all cells with a modifier.
fn with(terminal: &Terminal<TestBackend>, modifier: Modifier) -> Vec<(u16, u16)> {
    let buffer = terminal.backend().buffer();
    let area = buffer.area;
    let places = (0..area.height).flat_map(|y| (0..area.width).map(move |x| (x, y)));
    places
        .filter(|place| buffer[*place].modifier.contains(modifier))
        .collect()
}

#[test]
fn the_screen_has_the_device_its_windows_and_bytes() {
    let (mut watch, memory, mut terminal) = (watch(), Fake::new(), terminal(80, 10));
    show(&mut watch, &memory, &mut terminal, Instant::now());
    insta::assert_snapshot!(screen(&terminal).join("\n"));
}

#[test]
fn lines_are_as_wide_as_the_terminal_lets_them() {
    for (columns, bytes) in [(40, 8), (79, 8), (80, 16), (147, 16), (148, 32), (300, 32)] {
        let (mut watch, memory, mut terminal) = (watch(), Fake::new(), terminal(columns, 8));
        show(&mut watch, &memory, &mut terminal, Instant::now());
        let second = screen(&terminal)[4].clone();
        let offset = format!("{bytes:010x}");
        assert!(second.starts_with(&offset), "{columns}: {second}");
        let first = &screen(&terminal)[3];
        assert!(first.chars().count() <= usize::from(columns));
        if columns >= 80 {
            assert!(first.contains("hello, u ser!·•×•"), "{columns}: {first}");
        }
    }
}

#[test]
fn what_changes_is_lit_up_for_a_while() {
    let (mut watch, memory, mut terminal) = (watch(), Fake::new(), terminal(80, 10));
    let start = Instant::now();
    show(&mut watch, &memory, &mut terminal, start);
    // The window at the top is marked.
    let marked = with(&terminal, Modifier::REVERSED);
    assert!(marked.iter().all(|(_, y)| *y == 1), "{marked:?}");

    memory.put(17, 0x41);
    *memory.generation.borrow_mut() = 8;
    show(&mut watch, &memory, &mut terminal, start);
    let mut lit = with(&terminal, Modifier::REVERSED);
    lit.retain(|(_, y)| *y != 1);
    // The generation; both digits of the byte, and its character.
    let generation = screen(&terminal)[0]
        .find("8  mappings")
        .expect("it is shown") as u16;
    assert_eq!(lit, [(generation, 0), (15, 4), (16, 4), (63, 4)]);
    assert!(screen(&terminal)[4].contains(" 00 41 00 "));

    show(&mut watch, &memory, &mut terminal, start + LIT);
    let lit = with(&terminal, Modifier::REVERSED);
    assert!(lit.iter().all(|(_, y)| *y == 1), "{lit:?}");
    let warm = with(&terminal, Modifier::UNDERLINED);
    assert_eq!(warm, [(generation, 0), (15, 4), (16, 4), (63, 4)]);

    show(&mut watch, &memory, &mut terminal, start + WARM);
    assert_eq!(with(&terminal, Modifier::UNDERLINED), []);
}

#[test]
fn what_comes_into_sight_has_not_changed() {
    let (mut watch, memory, mut terminal) = (watch(), Fake::new(), terminal(80, 10));
    let now = Instant::now();
    show(&mut watch, &memory, &mut terminal, now);
    memory.put(0x2000, 1);
    watch.wish(Wish::NextWindow);
    show(&mut watch, &memory, &mut terminal, now);
    let lit = with(&terminal, Modifier::REVERSED);
    assert!(lit.iter().all(|(_, y)| *y == 1), "{lit:?}");
    assert!(screen(&terminal)[3].starts_with("0000002000  01 2a"));
}

#[test]
fn keys_move_through_the_windows() {
    let (mut watch, memory, mut terminal) = (watch(), Fake::new(), terminal(80, 10));
    // Seven lines of bytes; 257 lines of each window.
    let mut top = |wish: Wish| {
        watch.wish(wish);
        show(&mut watch, &memory, &mut terminal, Instant::now());
        screen(&terminal)[2][..14].to_owned()
    };
    let header = "── hea";
    assert!(top(Wish::Up).starts_with(header));
    assert!(top(Wish::Down).starts_with("0000000000  68"));
    assert!(top(Wish::PageDown).starts_with("0000000060"));
    assert!(top(Wish::PageUp).starts_with("0000000000"));
    assert!(top(Wish::NextWindow).starts_with("── fra"));
    assert!(top(Wish::NextWindow).starts_with(header));
    assert!(top(Wish::PreviousWindow).starts_with("── fra"));
    assert!(top(Wish::Up).starts_with("0000000ff0"));
    assert!(top(Wish::End).starts_with("0000002f90  2"));
    assert!(top(Wish::PageDown).starts_with("0000002f90"));
    assert!(top(Wish::Start).starts_with(header));
}

#[test]
fn the_bytes_at_the_top_stay_there_when_the_terminal_is_resized() {
    let (mut watch, memory, mut small) = (watch(), Fake::new(), terminal(80, 10));
    show(&mut watch, &memory, &mut small, Instant::now());
    watch.wish(Wish::NextWindow);
    watch.wish(Wish::PageDown);
    show(&mut watch, &memory, &mut small, Instant::now());
    assert!(screen(&small)[2].starts_with("0000002050"));
    let mut large = terminal(160, 30);
    show(&mut watch, &memory, &mut large, Instant::now());
    assert!(screen(&large)[2].starts_with("0000002040"));
    let mut tiny = terminal(3, 2);
    show(&mut watch, &memory, &mut tiny, Instant::now());
}

#[test]
fn a_pause_stops_it() {
    let (mut watch, memory, mut terminal) = (watch(), Fake::new(), terminal(80, 10));
    show(&mut watch, &memory, &mut terminal, Instant::now());
    watch.wish(Wish::Pause);
    memory.put(0, b'j');
    show(&mut watch, &memory, &mut terminal, Instant::now());
    assert!(screen(&terminal)[3].contains("hello"));
    assert!(screen(&terminal)[9].starts_with(" paused "));
    watch.wish(Wish::Pause);
    show(&mut watch, &memory, &mut terminal, Instant::now());
    assert!(screen(&terminal)[3].contains("jello"));
}

#[test]
fn the_end_of_the_device_is_said_and_what_was_seen_stays() {
    let (mut watch, memory, mut terminal) = (watch(), Fake::new(), terminal(80, 10));
    show(&mut watch, &memory, &mut terminal, Instant::now());
    *memory.end.borrow_mut() = Some(Errno::NODEV);
    show(&mut watch, &memory, &mut terminal, Instant::now());
    assert!(screen(&terminal)[3].contains("hello"));
    assert_eq!(screen(&terminal)[9], " the device was destroyed   q quit");
}
