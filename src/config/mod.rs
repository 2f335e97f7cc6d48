//! Every key of `m0v.toml`, its default and its check (DESIGN §2.7).
