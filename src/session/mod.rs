//! A connection after TLS: lines in, replies out, in order.
