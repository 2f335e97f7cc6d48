//! The list of keys. Each section names each of its keys once, in `visit`; reading, printing and
//! listing are three visitors, so none of them can know another set of keys.

use super::{Config, value::Value};

/// Something that goes over all keys of a [`Config`] in their order.
pub(super) trait Keys {
    /// The keys that follow are of this section; `""` is the top.
    fn section(&mut self, name: &'static str);

    /// One key. `check` judges a value that has the right type.
    fn checked<T: Value>(
        &mut self,
        name: &'static str,
        field: &mut T,
        check: impl Fn(&T) -> Result<(), String>,
    );

    /// One key, of which every value of the right type will do.
    fn key<T: Value>(&mut self, name: &'static str, field: &mut T) {
        self.checked(name, field, |_| Ok(()));
    }
}

impl Config {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { data_dir, meter, confirm, api, admin, tunnel, tls, acme, database, spool, limits, log } =
            self;
        keys.section("");
        keys.key("data_dir", data_dir);
        keys.section("meter");
        meter.visit(keys);
        keys.section("confirm");
        confirm.visit(keys);
        keys.section("api");
        api.visit(keys);
        keys.section("admin");
        admin.visit(keys);
        keys.section("tunnel");
        tunnel.visit(keys);
        keys.section("tls");
        tls.visit(keys);
        keys.section("acme");
        acme.visit(keys);
        keys.section("database");
        database.visit(keys);
        keys.section("spool");
        spool.visit(keys);
        keys.section("limits");
        limits.visit(keys);
        keys.section("log");
        log.visit(keys);
    }
}
