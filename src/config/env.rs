//! The environment as far as it concerns the configuration: passed in, never read from here.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Names the config file when `--config` does not.
const CONFIG_VARIABLE: &str = "M0V_CONFIG";
/// The config file when nobody names one, if it is there.
const CONFIG_FILE: &str = "m0v.toml";

/// The variables that begin with `M0V_`; all others are nobody's business here. Not `Debug`: some are secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let named = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let ours = named.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(ours.filter(|(name, _)| name.starts_with("M0V_")).collect())
    }
}

impl Environment {
    /// The file to read: `--config`, else `$M0V_CONFIG`, else `./m0v.toml` if it exists, else none.
    pub(super) fn config_file(&self, flag: Option<&Path>) -> Option<PathBuf> {
        let variable = self.0.get(CONFIG_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let named = flag.map(Path::to_owned).or(variable);
        named.or_else(|| Some(PathBuf::from(CONFIG_FILE)).filter(|file| file.exists()))
    }

    /// The variables that set keys: those whose name holds `__`.
    pub(super) fn into_keys(self) -> BTreeMap<String, OsString> {
        self.0.into_iter().filter(|(name, _)| name.contains("__")).collect()
    }
}

/// The variable that sets a key: `M0V_METER__LISTEN`; at the top `M0V__DATA_DIR`.
pub(super) fn variable(section: &str, key: &str) -> String {
    let section = if section.is_empty() { String::new() } else { format!("_{section}") };
    format!("M0V{section}__{key}").to_ascii_uppercase()
}
