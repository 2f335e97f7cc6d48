//! The parts that do no I/O, one line or one hello at a time: `cargo bench`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use m0v::{
    protocol::{
        confo,
        line::{Framed, LineBuffer},
        packet,
        reply::{Fault, Field, Refusal, push_line, render},
    },
    tls::{Compat, hello::Reader, verdict::verdict},
};
use std::hint::black_box;

const PACKET: &[u8] = br#"{"id":17,"timestamp":1732300000,"status":true,"voltage":231.4,"freq":49.98}"#;
const PACKET_WITH_SEQ: &[u8] =
    br#"{"id":17,"timestamp":1732300000,"status":true,"voltage":231.4,"freq":49.98,"seq":123456}"#;
const PACKET_WITH_EXTRA: &[u8] = br#"{"ID":17,"Timestamp":1732300000,"Status":true,"Voltage":231.4,"Freq":49.98,"rssi":-61,"fw":"1.4.2","temp":[20.5,21.0]}"#;
const PACKET_CUT_SHORT: &[u8] =
    br#"{"id":17,"timestamp":1732300000,"status":true,"voltage":231.4,"freq":49."#;
const CONFO: &[u8] =
    br#"{"deviceName":"Movprov","timestamp":1732300000,"ssid":"M0V","hash":13580,"email":"a@b.c"}"#;

/// Packets in one read of a pipelined burst.
const BURST: usize = 32;

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for (name, line) in [
        ("packet", PACKET),
        ("packet with seq", PACKET_WITH_SEQ),
        ("packet with extra keys", PACKET_WITH_EXTRA),
        ("packet cut short", PACKET_CUT_SHORT),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| packet::parse(black_box(line))));
    }
    group.bench_function("confirmation", |bencher| bencher.iter(|| confo::parse(black_box(CONFO))));
    group.finish();
}

fn framing(criterion: &mut Criterion) {
    let burst: Vec<u8> = [PACKET, b"\n"].concat().repeat(BURST);
    let mut group = criterion.benchmark_group("framing");
    group.throughput(Throughput::Bytes(burst.len() as u64));
    group.bench_function("burst of 32 lines", |bencher| {
        let mut lines = LineBuffer::new(8192);
        bencher.iter(|| {
            lines.extend(black_box(&burst));
            let mut bytes = 0;
            while let Some(Framed::Line(line)) = lines.next_line() {
                bytes += line.len();
            }
            bytes
        });
    });
    group.throughput(Throughput::Bytes(PACKET.len() as u64));
    group.bench_function("object without a line end", |bencher| {
        bencher.iter_batched_ref(
            || LineBuffer::new(8192),
            |lines| {
                lines.extend(black_box(PACKET));
                lines.holds_one_object()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn hello(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hello");
    for (name, text) in [
        ("cc3220sf", include_str!("../tests/hellos/cc3220sf-1.hex")),
        ("openssl 3.0", include_str!("../tests/hellos/openssl-3.0-tls13.hex")),
    ] {
        let bytes = bytes_of(text);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let hello = Reader::new().push(black_box(&bytes));
                hello.map(|hello| hello.map(|hello| verdict(&hello, Compat::Cc3220)))
            });
        });
    }
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    group.bench_function("32 thanks", |bencher| {
        bencher.iter(|| {
            let mut out = Vec::new();
            for _ in 0..BURST {
                push_line(&mut out, black_box("Thank you"));
            }
            out
        });
    });
    let refusal = Refusal::Field { field: Field::Status, fault: Fault::NotBool, column: 19 };
    group.bench_function("refusal", |bencher| bencher.iter(|| render(black_box(&refusal))));
    group.finish();
}

/// The bytes of a recorded hello.
fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

criterion_group!(pure, parse, framing, hello, replies);
criterion_main!(pure);
