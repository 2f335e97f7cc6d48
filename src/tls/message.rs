//! A client's chain as its Certificate message has it in TLS 1.2 (RFC 5246 §7.4.2): each certificate
//! behind three bytes of length. Pure; s2n-tls hands over nothing better.

/// The certificates, leaf first; `None` when the lengths do not add up.
#[must_use]
pub fn read_chain(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut chain = Vec::new();
    while let [high, middle, low, rest @ ..] = bytes {
        let len = u32::from_be_bytes([0, *high, *middle, *low]);
        let (der, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        chain.push(der);
        bytes = rest;
    }
    bytes.is_empty().then_some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_stand_behind_their_lengths_and_nothing_is_left_over() {
        assert_eq!(read_chain(&[]), Some(vec![]));
        assert_eq!(read_chain(&[0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 1, 9]), Some(vec![&[7, 8][..], &[], &[9]]));
        for broken in [&[0][..], &[0, 0], &[0, 0, 1], &[0, 0, 2, 7], &[255, 255, 255, 1], &[0, 0, 1, 7, 0]] {
            assert_eq!(read_chain(broken), None, "{broken:?}");
        }
    }
}
