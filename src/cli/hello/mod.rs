//! `m0v hello`: explains a captured ClientHello.

mod capture;

use super::{CliError, complain, say};
use crate::tls::hello::{ClientHello, Reader};
use crate::tls::{Explanation, Failure};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Captures are cut to this; the hello is near the beginning of its own.
const MAX_INPUT: u64 = 16 * 1024 * 1024;

/// What `m0v hello` is given.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A TLS record: raw bytes, hex text (spaces, colons and 0x are passed over), or a pcap or pcapng
    /// file; - is stdin
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let explained = read(&args.file)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(|bytes| understand(&bytes));
    match explained {
        Ok(hello) => {
            say(Explanation(&hello).to_string().trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            complain(format_args!("m0v: {}: {why}", args.file.display()));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().take(MAX_INPUT).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(MAX_INPUT).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Whatever form it comes in.
fn understand(input: &[u8]) -> Result<ClientHello, String> {
    if let Some(streams) = capture::streams(input) {
        let mut found = streams.iter().map(|stream| parse(stream));
        return match found.find(Result::is_ok) {
            Some(hello) => hello,
            None => Err(format!("holds no ClientHello among {} TCP streams", streams.len())),
        };
    }
    match input {
        [] => Err("is empty".to_owned()),
        // A control character that no text begins with.
        [0x16 | 0x01, ..] => parse(input),
        _ => parse(&unhex(input).unwrap_or_else(|| input.to_vec())),
    }
}

/// One record or more, or the handshake message alone as some tools copy it.
fn parse(bytes: &[u8]) -> Result<ClientHello, String> {
    let wrapped = match bytes {
        [1, 0, ..] => {
            let len = u16::try_from(bytes.len()).map_err(|_| "is too long for a ClientHello".to_owned())?;
            [&[22, 3, 1][..], &len.to_be_bytes(), bytes].concat()
        }
        _ => bytes.to_vec(),
    };
    match Reader::new().push(&wrapped) {
        Ok(Some(hello)) => Ok(hello),
        Ok(None) => Err("ends before the ClientHello does".to_owned()),
        Err(why) => Err(format!("the peer {}", Failure::from(why))),
    }
}

/// `None` when it is not hex.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
    let plain = text.replace("0x", "").replace("\\x", "");
    let digits: Vec<u8> = plain
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, ':' | ',' | '-' | ';'))
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello of TLS 1.2 with TLS_RSA_WITH_AES_256_CBC_SHA alone.
    fn record() -> Vec<u8> {
        let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0, 0x35, 1, 0]].concat();
        let len = u8::try_from(body.len()).unwrap();
        [&[22, 3, 1, 0, len + 4, 1, 0, 0, len][..], &body].concat()
    }

    fn hex(bytes: &[u8], between: &str, before: &str) -> String {
        bytes.iter().map(|byte| format!("{before}{byte:02X}")).collect::<Vec<_>>().join(between)
    }

    #[test]
    fn takes_a_hello_in_every_form() {
        let record = record();
        let expected = understand(&record).unwrap();
        let forms = [
            hex(&record, "", ""),
            hex(&record, ":", ""),
            hex(&record, ", ", "0x"),
            hex(&record, "", "\\x"),
            format!("{}\n", hex(&record, "\n", "")),
        ];
        for form in forms {
            assert_eq!(understand(form.as_bytes()), Ok(expected.clone()), "{form}");
        }
        assert_eq!(understand(&record[5..]), Ok(expected), "the message without its record");
    }

    #[test]
    fn says_why_it_cannot_be_explained() {
        for (input, words) in [
            (&b""[..], "is empty"),
            (b"GET / HTTP/1.1", "a plain HTTP request"),
            (b"16 03 01", "ends before"),
            (&[22, 3, 1, 0, 4, 2, 0, 0, 0], "instead of a ClientHello"),
        ] {
            let why = understand(input).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
