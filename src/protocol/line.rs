//! Framing: what arrived, cut into lines (DESIGN §2.2). `Incomplete` is a value:
//! [`LineBuffer::next_line`] says `None` and is asked again when more has come.

/// What [`LineBuffer::next_line`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A line without its line end; never empty.
    Line(&'a [u8]),
    /// Over the limit. Nothing more comes out of this buffer: close the connection.
    TooLong,
}

/// Bytes of one connection that are not answered yet.
///
/// Holds no memory while it is empty. What may be waiting is bounded by the line limit
/// plus the largest piece given to [`extend`](Self::extend), if lines are taken out
/// until there is none before the next piece goes in.
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the first byte not taken out lies.
    start: usize,
    /// From `start` up to here there is no LF.
    searched: usize,
    max_line: usize,
    is_finished: bool,
    object: ObjectScan,
}

impl LineBuffer {
    /// `max_line` is in bytes, the line end not counted.
    #[must_use]
    pub const fn new(max_line: usize) -> Self {
        let object = ObjectScan { next: 0, depth: 0, state: ScanState::Before };
        Self { bytes: Vec::new(), start: 0, searched: 0, max_line, is_finished: false, object }
    }

    /// Appends what was read.
    pub fn extend(&mut self, bytes: &[u8]) {
        if !self.is_finished {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Takes the next line out. Empty ones are skipped, also those with nothing but CRs.
    /// Ask until `None`: that is when memory is given back.
    pub fn next_line(&mut self) -> Option<Framed<'_>> {
        while let Some(length) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') {
            let end = self.searched + length;
            let content = content_of(&self.bytes[self.start..end]);
            if content.len() > self.max_line {
                return self.finish();
            }
            let line = self.start..self.start + content.len();
            let is_empty = content.iter().all(|byte| *byte == b'\r');
            self.start = end + 1;
            self.searched = self.start;
            self.object = ObjectScan { next: self.start, depth: 0, state: ScanState::Before };
            if !is_empty {
                return Some(Framed::Line(&self.bytes[line]));
            }
        }
        self.compact();
        // One CR may yet turn out to be half a line end.
        if content_of(&self.bytes).len() > self.max_line { self.finish() } else { None }
    }

    /// Whether one complete JSON object waits without a line end, blanks around it allowed,
    /// and nothing else. Each byte is looked at once, however often this is asked.
    pub fn holds_one_object(&mut self) -> bool {
        self.object.run(&self.bytes, self.start);
        self.object.state == ScanState::Complete
    }

    /// Takes out what waits without a line end; like an empty line, CRs alone are nothing.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.compact();
        let mut rest = std::mem::take(&mut self.bytes);
        if rest.iter().all(|byte| *byte == b'\r') {
            rest.clear();
        }
        *self = Self { is_finished: self.is_finished, ..Self::new(self.max_line) };
        rest
    }

    /// How many bytes wait to be taken out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Drops what was taken out. Only the beginning of one line is ever moved, and it is
    /// not moved again before that line is taken out: each byte moves at most once.
    fn compact(&mut self) {
        if self.start > 0 {
            self.bytes = self.bytes[self.start..].to_vec();
            self.object.next -= self.start;
            self.start = 0;
        }
        self.searched = self.bytes.len();
    }

    fn finish(&mut self) -> Option<Framed<'_>> {
        *self = Self { is_finished: true, ..Self::new(self.max_line) };
        Some(Framed::TooLong)
    }
}

/// A line without its CR, if it has one.
fn content_of(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Follows braces and strings, so that only a closed object is ever shown to serde_json.
#[derive(Debug)]
struct ObjectScan {
    /// The first byte not looked at.
    next: usize,
    /// Open braces.
    depth: usize,
    state: ScanState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScanState {
    /// Nothing but blanks.
    Before,
    /// Inside the object, outside of strings.
    Inside,
    InString,
    AfterBackslash,
    /// The object is closed, and only blanks follow it.
    Complete,
    /// Whatever follows, this is not one object.
    Never,
}

impl ObjectScan {
    fn run(&mut self, bytes: &[u8], start: usize) {
        while let Some(byte) = bytes.get(self.next) {
            self.next += 1;
            self.state = self.step(*byte);
            if self.depth == 0 && *byte == b'}' && self.state == ScanState::Complete {
                let object = bytes.get(start..self.next).unwrap_or_default();
                if serde_json::from_slice::<serde::de::IgnoredAny>(object).is_err() {
                    self.state = ScanState::Never;
                }
            }
        }
    }

    fn step(&mut self, byte: u8) -> ScanState {
        match (self.state, byte) {
            (ScanState::Never, _) | (_, b'\n') => ScanState::Never,
            (ScanState::InString, b'\\') => ScanState::AfterBackslash,
            (ScanState::InString, b'"') | (ScanState::Inside, b'}') => self.leave(byte),
            (ScanState::InString | ScanState::AfterBackslash, _) => ScanState::InString,
            (ScanState::Inside, b'"') => ScanState::InString,
            (ScanState::Before | ScanState::Inside, b'{') => {
                self.depth += 1;
                ScanState::Inside
            }
            (ScanState::Inside, _) => ScanState::Inside,
            (state @ (ScanState::Before | ScanState::Complete), b' ' | b'\t' | b'\r') => state,
            (ScanState::Before | ScanState::Complete, _) => ScanState::Never,
        }
    }

    fn leave(&mut self, byte: u8) -> ScanState {
        self.depth -= usize::from(byte == b'}');
        if self.depth == 0 { ScanState::Complete } else { ScanState::Inside }
    }
}

#[cfg(test)]
mod tests;
