// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the command says where there is no device: every `$ chrmem …` in `tests/cmd`, with its
//! output and exit status.

#[test]
fn commands_say_what_is_written_down() {
    // Help is as wide as the terminal says.
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .case("tests/cmd/*.trycmd");
}
