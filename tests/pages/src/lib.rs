// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the documentation shows, as commands to run and output to compare.
//!
//! A `console` block is a transcript. Lines that start with `# ` are typed by root in the guest, in `/lab`; in a block
//! that starts with `$ `, lines that start so are typed by a user in a checkout, and all others are output. The blocks of a
//! page are run in order, as a reader would. Three things can be said about a block:
//!
//! - `<!-- varies: WORD… -->` in the line above it: these words of its output are different each time. A line `...` of the
//!   output stands for any number of lines.
//! - `machine` behind the language: it is typed by a user of a Debian that has nothing of chrmem, who has logged in for it.
//!   `cargo xtask dist --test` does so.
//! - `tested-by=FILE` behind the language: the page does not run the block, because FILE does, which has to have each of its
//!   commands, or, in a block that is no transcript, each of its lines.

use std::fmt::Write;

/// A fenced block of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Where it starts in the page, counted from 1.
    pub line: usize,
    /// The first word behind the fence.
    pub language: String,
    /// Whether it is typed on a user's own machine.
    pub machine: bool,
    /// The file that runs it, from the top of the checkout.
    pub tested_by: Option<String>,
    /// The words of its output that are different each time.
    pub varies: Vec<String>,
    /// The lines in it.
    pub lines: Vec<String>,
}

/// Who types a transcript's commands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// Root, in the guest.
    Guest,
    /// A user, in a checkout.
    Host,
    /// A user of a machine of their own.
    Machine,
}

/// A command and what it prints.
#[derive(Debug, PartialEq)]
pub struct Step {
    /// Where it is in the page, counted from 1.
    pub line: usize,
    /// What is typed, which can be several lines.
    pub command: String,
    /// The lines that are shown below it.
    pub output: Vec<String>,
}

/// The blocks of a page, in order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut varies = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let Some(words) = text.strip_prefix("```") else {
            if let Some(words) = text
                .strip_prefix("<!-- varies:")
                .and_then(|rest| rest.strip_suffix("-->"))
            {
                varies = words.split_whitespace().map(String::from).collect();
            } else if !text.is_empty() {
                varies.clear();
            }
            continue;
        };
        let mut words = words.split_whitespace();
        blocks.push(Block {
            line: number + 1,
            language: words.next().unwrap_or_default().to_owned(),
            machine: words.clone().any(|word| word == "machine"),
            tested_by: words.find_map(|word| word.strip_prefix("tested-by=").map(String::from)),
            varies: std::mem::take(&mut varies),
            lines: lines
                .by_ref()
                .map(|(_, line)| line.get(indent..).unwrap_or_default())
                .take_while(|line| !line.starts_with("```"))
                .map(String::from)
                .collect(),
        });
    }
    blocks
}

impl Block {
    /// Who types it, if it is a transcript.
    pub fn place(&self) -> Option<Place> {
        let first = self.lines.first()?;
        match self.language.as_str() {
            "console" if self.machine => first.starts_with("$ ").then_some(Place::Machine),
            "console" if first.starts_with("# ") => Some(Place::Guest),
            "console" if first.starts_with("$ ") => Some(Place::Host),
            _ => None,
        }
    }

    /// A transcript's commands.
    pub fn steps(&self) -> Vec<Step> {
        let prompt = match self.place() {
            Some(Place::Guest) => "# ",
            Some(Place::Host | Place::Machine) => "$ ",
            None => return Vec::new(),
        };
        let mut steps: Vec<Step> = Vec::new();
        let mut lines = self.lines.iter().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(command) = line.strip_prefix(prompt) else {
                if let Some(step) = steps.last_mut() {
                    step.output.push(line.clone());
                }
                continue;
            };
            let mut command = command.to_owned();
            let end = here_document(&command);
            let goes_on = |line: &str| match &end {
                Some(end) => line != end.as_str(),
                None => line.ends_with('\\'),
            };
            let mut last: &str = if end.is_some() { "" } else { line };
            while goes_on(last) {
                let Some((_, next)) = lines.next() else { break };
                last = next;
                command.push('\n');
                command.push_str(next);
            }
            steps.push(Step {
                line: self.line + number + 1,
                command,
                output: Vec::new(),
            });
        }
        steps
    }
}

impl Step {
    /// Compares what the command printed, and whether it succeeded, with what the page shows: a complaint where they differ.
    pub fn judge(&self, printed: &str, succeeded: bool, varies: &[String]) -> Result<(), String> {
        compare(&self.output, printed, varies)?;
        if !succeeded && !self.shows_an_error() {
            return Err("it failed, and the page shows no error\n".to_owned());
        }
        Ok(())
    }

    /// Whether the page shows it fail.
    fn shows_an_error(&self) -> bool {
        self.output.iter().any(|line| {
            let line = line.to_lowercase();
            line.contains("error") || line.contains("cannot")
        })
    }
}

/// The line that ends what is typed after this command, if it says `<<'END'`.
fn here_document(command: &str) -> Option<String> {
    let (_, rest) = command.split_once("<<'")?;
    Some(rest.split_once('\'')?.0.to_owned())
}

/// Compares what was printed with what a page shows: a complaint with both where they differ.
pub fn compare(shown: &[String], printed: &str, varies: &[String]) -> Result<(), String> {
    let printed: Vec<&str> = printed.trim_end().lines().map(str::trim_end).collect();
    let shown: Vec<&str> = shown.iter().map(|line| line.trim_end()).collect();
    let shown = match shown.iter().rposition(|line| !line.is_empty()) {
        Some(last) => &shown[..=last],
        None => &[],
    };
    if matches(shown, &printed, varies) {
        return Ok(());
    }
    let mut complaint = String::new();
    for (name, lines) in [("the page shows", shown), ("this was printed", &printed)] {
        let _ = writeln!(complaint, "{name}:");
        for line in lines {
            let _ = writeln!(complaint, "    {line}");
        }
    }
    Err(complaint)
}

/// Whether the lines are the same but for what may differ.
fn matches(shown: &[&str], printed: &[&str], varies: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"...", rest)) => {
            (0..=printed.len()).any(|from| matches(rest, &printed[from..], varies))
        }
        Some((first, rest)) => printed.split_first().is_some_and(|(line, others)| {
            is_like(first, line, varies) && matches(rest, others, varies)
        }),
    }
}

/// Whether a line is as shown, but for words that vary. Blanks may be more or fewer where words do: tables are so.
fn is_like(shown: &str, printed: &str, varies: &[String]) -> bool {
    if !varies.iter().any(|word| shown.contains(word)) {
        return shown == printed;
    }
    let shown: Vec<&str> = shown.split_whitespace().collect();
    let printed: Vec<&str> = printed.split_whitespace().collect();
    shown.len() == printed.len()
        && shown
            .iter()
            .zip(printed)
            .all(|(shown, printed)| is_like_word(shown, printed, varies))
}

/// The same for a word: what varies may be a part of it, and is at least one character.
fn is_like_word(shown: &str, printed: &str, varies: &[String]) -> bool {
    let first = varies
        .iter()
        .filter_map(|word| shown.find(word.as_str()).map(|at| (at, word.len())))
        .min_by_key(|(at, len)| (*at, usize::MAX - *len));
    let Some((at, len)) = first else {
        return shown == printed;
    };
    let Some(rest) = printed.strip_prefix(&shown[..at]) else {
        return false;
    };
    rest.char_indices()
        .map(|(at, it)| at + it.len_utf8())
        .any(|end| is_like_word(&shown[at + len..], &rest[end..], varies))
}

#[cfg(test)]
mod tests {
    use super::{blocks, compare, Place};

    const PAGE: &str = "\
# A page

<!-- varies: 243 -->
```console
# grep chrmem_dev /proc/devices
243 chrmem_dev
# chrmem create x \\
    one:4K
# cat > file <<'END'
text
END
# cat file
text
```

1. So:

   ```console
   $ cargo xtask demo
   # uname
   Linux
   ```

```sh tested-by=a/b.sh
true
```

```console machine
$ sudo modprobe chrmem
```
";

    #[test]
    fn a_page_has_its_blocks() {
        let blocks = blocks(PAGE);
        let places: Vec<_> = blocks.iter().map(|block| block.place()).collect();
        assert_eq!(
            places,
            [
                Some(Place::Guest),
                Some(Place::Host),
                None,
                Some(Place::Machine)
            ]
        );
        assert_eq!(blocks[1].steps()[0].output, ["# uname", "Linux"]);
        assert_eq!(blocks[0].varies, ["243"]);
        assert_eq!(blocks[2].tested_by.as_deref(), Some("a/b.sh"));
        let steps = blocks[0].steps();
        let commands: Vec<_> = steps.iter().map(|step| step.command.as_str()).collect();
        assert_eq!(
            commands,
            [
                "grep chrmem_dev /proc/devices",
                "chrmem create x \\\n    one:4K",
                "cat > file <<'END'\ntext\nEND",
                "cat file"
            ]
        );
        assert_eq!((steps[0].line, steps[3].line), (5, 12));
        assert_eq!(steps[3].output, ["text"]);
    }

    #[test]
    fn a_command_that_fails_without_a_word_is_noticed() {
        let page = "```console\n# true\n# cat nosuch\ncat: nosuch: cannot open\n```\n";
        let steps = blocks(page)[0].steps();
        assert_eq!(steps[0].judge("", true, &[]), Ok(()));
        assert!(steps[0].judge("", false, &[]).is_err());
        let printed = "cat: nosuch: cannot open\n";
        assert_eq!(steps[1].judge(printed, false, &[]), Ok(()));
        assert!(steps[1].judge("", false, &[]).is_err());
    }

    #[test]
    fn only_what_may_differ_differs() {
        let alike = |shown: &[&str], printed: &str, varies: &[&str]| {
            let own = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
            compare(&own(shown), printed, &own(varies)).is_ok()
        };
        assert!(alike(&["a  b"], "a  b \n\n", &[]));
        assert!(!alike(&["a  b"], "a b", &[]));
        assert!(alike(&["243 chrmem_dev"], "7 chrmem_dev\n", &["243"]));
        assert!(!alike(&["243 chrmem_dev"], "7 other\n", &["243"]));
        assert!(!alike(&["243 chrmem_dev"], " chrmem_dev\n", &["243"]));
        assert!(alike(&["x=7f00-7f01 rw"], "x=aa-bb  rw", &["7f00", "7f01"]));
        assert!(!alike(&["x=7f00-7f01 rw"], "x=-bb rw", &["7f00", "7f01"]));
        assert!(alike(&["a", "...", "z"], "a\nb\nc\nz", &[]));
        assert!(alike(&["..."], "", &[]));
        assert!(!alike(&["a", "...", "z"], "a\nb\nc", &[]));
        assert!(!alike(&[], "something", &[]));
    }
}
