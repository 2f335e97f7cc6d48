//! The built binary: which file it reads, what it says, how it exits.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// m0v in `folder`, with nothing of this process's environment that concerns it.
fn m0v(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_m0v"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("M0V_")) {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("cargo has built m0v")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("m0v speaks UTF-8")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("m0v speaks UTF-8")
}

#[test]
fn reads_the_flag_then_the_variable_then_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let printed = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = m0v(folder.path(), &[&["check", "--print-config"], arguments].concat(), variables);
        assert!(output.status.success(), "{}", stderr(&output));
        let line = stdout(&output).lines().find(|line| line.starts_with("reply")).unwrap();
        line.to_owned()
    };
    assert_eq!(printed(&[], &[]), "reply = \"Thank you\"");
    for name in ["m0v.toml", "variable.toml", "flag.toml"] {
        fs::write(folder.path().join(name), format!("[meter]\nreply = \"{name}\"\n")).unwrap();
    }
    assert_eq!(printed(&[], &[]), "reply = \"m0v.toml\"");
    let variable = [("M0V_CONFIG", "variable.toml")];
    assert_eq!(printed(&[], &variable), "reply = \"variable.toml\"");
    assert_eq!(printed(&["--config", "flag.toml"], &variable), "reply = \"flag.toml\"");
    let key = [("M0V_METER__REPLY", "variable")];
    assert_eq!(printed(&["--config", "flag.toml"], &key), "reply = \"variable\"");
}

#[test]
fn says_each_fault_on_a_line_and_exits_78() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.toml"), "[meter]\nreply = \"\"\n[limits]\nmax_line = 12\n").unwrap();
    let faults = "bad.toml:2:9: [meter] reply: must not be empty; leave the key out\n\
        bad.toml:4:12: [limits] max_line: must be between 256 and 1048576, got 12\n";
    for (arguments, code) in [
        (&["serve"][..], 78),
        (&[], 78),
        (&["pub", "list"], 78),
        (&["check"], 1),
        (&["check", "--print-config"], 1),
    ] {
        let output = m0v(folder.path(), &[arguments, &["--config", "bad.toml"]].concat(), &[]);
        assert_eq!((output.status.code(), stderr(&output), stdout(&output)), (Some(code), faults, ""));
    }
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = m0v(folder.path(), &["--config", "missing.toml"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).starts_with("missing.toml: cannot be read: No such file"), "{}", stderr(&output));
    let output = m0v(folder.path(), &[], &[("M0V_CONFIG", ".")]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(78), ".: cannot be read: it is a folder\n"));
}

#[test]
fn wrong_usage_exits_64_and_help_0() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&["sevre"][..], 64),
        (&["pub"], 64),
        (&["--help"], 0),
        (&["check", "--help"], 0),
        (&["--version"], 0),
    ] {
        let output = m0v(folder.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(stdout(&output).is_empty(), code == 64, "{arguments:?}");
    }
}

#[test]
fn the_sample_is_valid() {
    let output = m0v(Path::new(env!("CARGO_MANIFEST_DIR")), &["check", "--config", "examples/m0v.toml"], &[]);
    assert!(stdout(&output).starts_with("ok: config: examples/m0v.toml\n"), "{}", stderr(&output));
}
