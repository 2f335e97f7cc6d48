//! Framing: what arrived, cut into lines (DESIGN §2.2). `Incomplete` is a value.
