//! The TCP streams of a pcap or pcapng file, as far as a ClientHello needs them.

use std::collections::BTreeMap;

/// Streams looked at, and bytes kept of each: a hello comes first, and is not longer.
const MAX_STREAMS: usize = 1000;
const MAX_STREAM: usize = 64 * 1024;
const TCP: u8 = 6;
const SYN: u8 = 2;

/// Addresses and ports of one direction.
type Flow = Vec<u8>;

/// What each direction of each connection said first, in the order of the capture; `None` when the
/// file is no capture.
pub(super) fn streams(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let packets = packets(file)?;
    let (mut order, mut flows) = (Vec::new(), BTreeMap::<Flow, Vec<(u32, &[u8])>>::new());
    for (flow, sequence, payload) in packets.into_iter().filter_map(segment) {
        if !flows.contains_key(&flow) {
            if order.len() == MAX_STREAMS {
                continue;
            }
            order.push(flow.clone());
        }
        flows.entry(flow).or_default().push((sequence, payload));
    }
    Some(order.iter().filter_map(|flow| flows.get(flow)).map(|segments| assemble(segments)).collect())
}

/// Puts segments in order, passes over what is sent again, and stops at a hole.
fn assemble(segments: &[(u32, &[u8])]) -> Vec<u8> {
    let Some((begin, _)) = segments.first() else { return Vec::new() };
    let mut sorted: Vec<_> =
        segments.iter().map(|(at, bytes)| (at.wrapping_sub(*begin) as usize, bytes)).collect();
    sorted.sort_by_key(|(at, _)| *at);
    let mut stream = Vec::new();
    for (at, bytes) in sorted {
        let known = stream.len().checked_sub(at).and_then(|known| bytes.get(known..));
        match known {
            Some(new) if stream.len() < MAX_STREAM => stream.extend_from_slice(new),
            _ => {}
        }
    }
    stream
}

/// Link type and bytes of every packet.
fn packets(file: &[u8]) -> Option<Vec<(u32, &[u8])>> {
    let little = |bytes: [u8; 4]| u32::from_le_bytes(bytes);
    let big = |bytes: [u8; 4]| u32::from_be_bytes(bytes);
    match *file.first_chunk::<4>()? {
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => classic(file, little),
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => classic(file, big),
        [0x0a, 0x0d, 0x0d, 0x0a] if file.get(8..12)? == [0x4d, 0x3c, 0x2b, 0x1a] => {
            next_generation(file, little)
        }
        [0x0a, 0x0d, 0x0d, 0x0a] => next_generation(file, big),
        _ => None,
    }
}

type Number = fn([u8; 4]) -> u32;

fn number(bytes: &[u8], at: usize, order: Number) -> Option<usize> {
    usize::try_from(order(*bytes.get(at..)?.first_chunk()?)).ok()
}

fn classic(file: &[u8], order: Number) -> Option<Vec<(u32, &[u8])>> {
    let link = u32::try_from(number(file, 20, order)? & 0xffff).ok()?;
    let (mut at, mut packets) = (24, Vec::new());
    while let Some(len) = number(file, at + 8, order) {
        let Some(packet) = file.get(at + 16..).and_then(|rest| rest.get(..len)) else { break };
        packets.push((link, packet));
        at += 16 + len;
    }
    Some(packets)
}

fn next_generation(file: &[u8], order: Number) -> Option<Vec<(u32, &[u8])>> {
    const INTERFACE: usize = 1;
    const PACKET: usize = 6;
    let (mut at, mut links, mut packets) = (0, Vec::new(), Vec::new());
    while let (Some(kind), Some(len)) = (number(file, at, order), number(file, at + 4, order)) {
        let Some(block) = file.get(at..).and_then(|rest| rest.get(..len)).filter(|_| len >= 12) else {
            break;
        };
        if kind == INTERFACE {
            links.push(u32::try_from(number(block, 8, order)? & 0xffff).ok()?);
        } else if kind == PACKET
            && let (Some(interface), Some(captured)) = (number(block, 8, order), number(block, 20, order))
            && let (Some(link), Some(packet)) =
                (links.get(interface), block.get(28..).and_then(|rest| rest.get(..captured)))
        {
            packets.push((*link, packet));
        }
        at += len;
    }
    Some(packets)
}

/// The flow, sequence number and payload of a TCP segment that carries something, or begins a stream.
fn segment((link, packet): (u32, &[u8])) -> Option<(Flow, u32, &[u8])> {
    let ip = match link {
        // Ethernet, perhaps with a VLAN tag.
        1 if packet.get(12..14)? == [0x81, 0] => packet.get(18..)?,
        1 => packet.get(14..)?,
        // BSD loopback, raw IP, Linux cooked capture in both versions.
        0 | 108 => packet.get(4..)?,
        12 | 101 | 228 | 229 => packet,
        113 => packet.get(16..)?,
        276 => packet.get(20..)?,
        _ => return None,
    };
    let (protocol, addresses, tcp) = match ip.first()? >> 4 {
        4 => {
            let total = usize::from(u16::from_be_bytes(*ip.get(2..)?.first_chunk()?));
            // Offloaded packets say 0.
            let whole = if total == 0 { ip } else { ip.get(..total).unwrap_or(ip) };
            (ip.get(9)?, ip.get(12..20)?, whole.get(usize::from(ip.first()? & 15) * 4..)?)
        }
        6 => (ip.get(6)?, ip.get(8..40)?, ip.get(40..)?),
        _ => return None,
    };
    let payload = tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?;
    let sequence = u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?);
    // A SYN takes one number; what follows it begins one later.
    let syn = tcp.get(13)? & SYN != 0;
    let flow = [addresses, tcp.get(..4)?].concat();
    (*protocol == TCP && (syn || !payload.is_empty())).then_some((
        flow,
        sequence.wrapping_add(syn.into()),
        payload,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let head = [
            &[0x9c, 0x40, 0x98, 0x45][..],
            &sequence.to_be_bytes(),
            &[0; 4],
            &[0x50, flags, 0, 0, 0, 0, 0, 0],
        ];
        let tcp = [&head.concat()[..], payload].concat();
        let total = u16::try_from(tcp.len() + 20).unwrap().to_be_bytes();
        let ip = [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]].concat();
        [&[0; 12][..], &[8, 0], &ip, &tcp].concat()
    }

    fn segments() -> Vec<Vec<u8>> {
        let near_the_end = u32::MAX - 2;
        vec![
            tcp(near_the_end, SYN, b""),
            tcp(1, 0x18, b"lo"),
            tcp(near_the_end + 1, 0x18, b"hel"),
            tcp(near_the_end + 1, 0x18, b"hel"),
        ]
    }

    #[test]
    fn a_stream_is_put_together_from_either_format() {
        let mut classic = [&[0xd4, 0xc3, 0xb2, 0xa1][..], &[0; 16], &[1, 0, 0, 0]].concat();
        let mut next =
            [&[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a][..], &[0; 16]].concat();
        next.extend([1, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0]);
        for packet in segments() {
            let len = u32::try_from(packet.len()).unwrap();
            classic.extend([&[0; 8][..], &len.to_le_bytes(), &len.to_le_bytes(), &packet].concat());
            let padded = packet.len().next_multiple_of(4);
            let block = u32::try_from(padded + 32).unwrap().to_le_bytes();
            next.extend(
                [&[6, 0, 0, 0][..], &block, &[0; 12], &len.to_le_bytes(), &len.to_le_bytes(), &packet]
                    .concat(),
            );
            next.extend(vec![0; padded - packet.len()]);
            next.extend(block);
        }
        for file in [classic, next] {
            assert_eq!(streams(&file), Some(vec![b"hello".to_vec()]));
            for cut in 0..file.len() {
                streams(&file[..cut]);
            }
        }
        assert_eq!(streams(b"16 03 01"), None);
    }
}
