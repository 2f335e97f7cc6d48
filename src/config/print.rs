//! The effective configuration as TOML, secrets left out.

use super::{
    Config,
    keys::Keys,
    value::{Shown, Value},
};

impl Config {
    /// Prints every key such that reading the text gives the same configuration. A secret is a
    /// comment that it is set; so is a key that has no value.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut printer = Printer(String::new());
        self.clone().visit(&mut printer);
        printer.0
    }
}

struct Printer(String);

impl Keys for Printer {
    fn section(&mut self, name: &'static str) {
        if !name.is_empty() {
            self.0.push_str(&format!("\n[{name}]\n"));
        }
    }

    fn checked<T: Value>(
        &mut self,
        name: &'static str,
        field: &mut T,
        _check: impl Fn(&T) -> Result<(), String>,
    ) {
        let line = match field.show() {
            Shown::Toml(value) => format!("{name} = {value}\n"),
            Shown::Secret => format!("# {name} is set, and secret\n"),
            Shown::Unset => format!("# {name} is not set\n"),
        };
        self.0.push_str(&line);
    }
}
