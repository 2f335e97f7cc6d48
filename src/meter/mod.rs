//! Port 38981: packets.
