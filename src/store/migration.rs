//! Words about schema versions that both engines use.

/// `found` is 0 for a database without tables.
pub(super) fn describe(found: i64, known: i64) -> String {
    match found {
        0 => "no tables yet, m0v makes them at its first start".to_owned(),
        found if found < known => format!("schema version {found}, the next start upgrades it to {known}"),
        found => format!("schema version {found}"),
    }
}
