// SPDX-License-Identifier: MIT OR Apache-2.0

//! Output of `--json` against its published schema: for the command's own tests and for those in the VM.

use serde_json::Value;

/// What is wrong with what `chrmem COMMAND --json` printed.
pub(crate) fn errors(command: &str, output: &Value) -> Vec<String> {
    let schema = include_str!("../../../docs/reference/output.schema.json");
    let mut schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    schema["$ref"] = format!("#/$defs/{command}").into();
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let errors = validator.iter_errors(output);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Fails unless the schema allows what `chrmem COMMAND --json` printed.
pub(crate) fn check(command: &str, output: &Value) {
    let errors = errors(command, output);
    assert!(
        errors.is_empty(),
        "{command} --json: {errors:#?}\nin {output:#}"
    );
}
