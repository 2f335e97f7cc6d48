//! What follows the addresses of a v2 header: its checksum, and what the proxy knows of the client's TLS.

use super::fault::Fault;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, Crc};
use ppp::v2::{Header, TypeLengthValue, TypeLengthValues};

/// The client's certificate, from a range that is left to agreement: what HAProxy 2.9 sends when told
/// `set-proxy-v2-tlv-fmt(0xE5) %[ssl_c_der,base64]`. In base64, because HAProxy ends such a value at its
/// first NUL; DER is taken too. Registered by nobody; AWS uses 0xEA, Azure 0xEE, Google 0xE0.
pub const CERTIFICATE_TLV: u8 = 0xe5;

const CRC32C: u8 = 0x03;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const SSL_CLIENT_CERT: u8 = 0x28;

const CLIENT_SSL: u8 = 0x01;
/// On this connection, or earlier in a session that was resumed.
const CLIENT_CERT: u8 = 0x02 | 0x04;

/// The client's TLS connection to the proxy, as the proxy tells it. Nothing here is checked by us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The client reached the proxy over TLS, which the proxy ended.
    pub ended: bool,
    /// The client presented a certificate and proved that it holds the key.
    pub presented: bool,
    /// The proxy found that certificate good. False without one, though a proxy then says "no error".
    pub verified: bool,
    /// As the proxy calls it: `TLSv1.2`.
    pub version: Option<Box<str>>,
    /// As the proxy calls it: `ECDHE-RSA-AES128-GCM-SHA256`.
    pub cipher: Option<Box<str>>,
    /// The certificate's common name.
    pub common_name: Option<Box<str>>,
    /// The certificate itself, in DER.
    pub certificate: Option<Box<[u8]>>,
}

/// Reads every TLV; those of unknown types are skipped.
pub(super) fn read(header: &Header<'_>) -> Result<Option<ClientTls>, Fault> {
    let mut found = Found::default();
    let mut at = header.len() - header.tlv_bytes().len();
    let mut checksum = None;
    for tlv in header.tlvs() {
        let tlv = tlv.map_err(Fault::V2)?;
        let value = at + TLV_FIXED;
        at = value + tlv.value.len();
        match tlv.kind {
            CRC32C => once(&mut checksum, CRC32C, value..at)?,
            SSL => once(&mut found.ssl, SSL, tlv.value.to_vec())?,
            CERTIFICATE_TLV => once(&mut found.certificate, CERTIFICATE_TLV, agreed(&tlv.value)?)?,
            _ => {}
        }
    }
    if let Some(range) = checksum {
        verify(header.as_bytes(), range)?;
    }
    found.into_client_tls()
}

/// Type and length.
const TLV_FIXED: usize = 3;

#[derive(Default)]
struct Found {
    ssl: Option<Vec<u8>>,
    certificate: Option<Box<[u8]>>,
}

impl Found {
    fn into_client_tls(self) -> Result<Option<ClientTls>, Fault> {
        let mut client = match self.ssl {
            Some(value) => ssl(&value)?,
            None if self.certificate.is_none() => return Ok(None),
            None => ClientTls::default(),
        };
        // The registered type is preferred to the agreed one, which may be empty for a client without a
        // certificate.
        let agreed = self.certificate.filter(|der| !der.is_empty());
        client.certificate = client.certificate.or(agreed);
        client.presented |= client.certificate.is_some();
        Ok(Some(client))
    }
}

/// Keeps a value that may come once.
fn once<T>(slot: &mut Option<T>, kind: u8, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Twice(kind)),
    }
}

/// DER, or DER in base64.
fn agreed(value: &[u8]) -> Result<Box<[u8]>, Fault> {
    const SEQUENCE: u8 = 0x30;
    let der: Box<[u8]> = match value.first() {
        Some(&SEQUENCE) => value.into(),
        _ => STANDARD.decode(value).map_err(|_| Fault::Value(CERTIFICATE_TLV))?.into(),
    };
    // The length of anything that is larger than 255 bytes and smaller than 64 KB.
    let told = match der.first_chunk() {
        Some(&[SEQUENCE, 0x82, high, low]) => 4 + usize::from(u16::from_be_bytes([high, low])),
        _ => der.len(),
    };
    if der.len() < told { Err(Fault::CutShort) } else { Ok(der) }
}

/// CRC-32C of the whole header with the checksum's own four bytes as zeros.
fn verify(header: &[u8], range: std::ops::Range<usize>) -> Result<(), Fault> {
    const ALGORITHM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
    let sent: Result<[u8; 4], _> = header.get(range.clone()).unwrap_or_default().try_into();
    let sent = u32::from_be_bytes(sent.map_err(|_| Fault::Value(CRC32C))?);
    let mut digest = ALGORITHM.digest();
    digest.update(header.get(..range.start).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(header.get(range.end..).unwrap_or_default());
    if digest.finalize() == sent { Ok(()) } else { Err(Fault::Checksum) }
}

/// Flags, the proxy's verdict, then TLVs of its own.
fn ssl(value: &[u8]) -> Result<ClientTls, Fault> {
    let Some((&[flags, a, b, c, d], rest)) = value.split_first_chunk() else { return Err(Fault::Value(SSL)) };
    let presented = flags & CLIENT_CERT != 0;
    let mut client = ClientTls {
        ended: flags & CLIENT_SSL != 0,
        presented,
        verified: presented && [a, b, c, d] == [0; 4],
        ..ClientTls::default()
    };
    for tlv in TypeLengthValues::from(rest) {
        let tlv = tlv.map_err(Fault::V2)?;
        match tlv.kind {
            SSL_VERSION => once(&mut client.version, SSL_VERSION, text(&tlv)?)?,
            SSL_CN => once(&mut client.common_name, SSL_CN, text(&tlv)?)?,
            SSL_CIPHER => once(&mut client.cipher, SSL_CIPHER, text(&tlv)?)?,
            SSL_CLIENT_CERT => once(&mut client.certificate, SSL_CLIENT_CERT, tlv.value.into())?,
            _ => {}
        }
    }
    Ok(client)
}

fn text(tlv: &TypeLengthValue<'_>) -> Result<Box<str>, Fault> {
    std::str::from_utf8(&tlv.value).map(Into::into).map_err(|_| Fault::Value(tlv.kind))
}
