#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v_fuzz::protocol::line::{Framed, LineBuffer};

const MAX_LINE: usize = 16;

/// All lines of these pieces, `None` for one that is too long, and what is left.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Option<Vec<u8>>>, bool, Vec<u8>) {
    let (mut lines, mut found) = (LineBuffer::new(MAX_LINE), Vec::new());
    for piece in pieces {
        lines.extend(piece);
        while let Some(framed) = lines.next_line() {
            found.push(match framed {
                Framed::Line(line) => Some(line.to_vec()),
                Framed::TooLong => None,
            });
        }
        lines.holds_one_object();
    }
    (found, lines.holds_one_object(), lines.take_rest())
}

// The first byte says how large the pieces are.
fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let (found, is_object, rest) = frames(bytes.chunks(usize::from(*size).max(1)));
    assert!(found.iter().flatten().all(|line| !line.is_empty() && line.len() <= MAX_LINE));
    assert_eq!((found, is_object, rest), frames(std::iter::once(bytes)));
});
