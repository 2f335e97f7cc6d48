//! What a proxy that ends TLS says of its client in headers: the certificate, the address.
//!
//! Pure. Whether its word counts is decided per connection ([`Word`]); where it does not, its headers
//! are taken off the request, so that nothing behind can believe them.

use super::text;
use crate::net::remote::Remote;
use crate::tls;
use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::{IpAddr, SocketAddr};

/// RFC 9440: the certificates between the leaf and its root.
const CLIENT_CERT_CHAIN: &str = "client-cert-chain";
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Which of a proxy's words count on one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// That of whose certificate it saw.
    pub on_certificates: bool,
    /// That of whose request it is, by address.
    pub on_addresses: bool,
}

/// Where the certificate is, and in which form: `[api] client_cert_header`.
#[derive(Clone, Debug)]
pub struct CertificateHeader {
    name: HeaderName,
    form: Form,
}

/// The header's name tells the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `Client-Cert` (RFC 9440): DER in base64 between colons, its chain in another header.
    ByteSequence,
    /// `X-Forwarded-Client-Cert` (Envoy): elements with `Cert` or `Chain`.
    Envoy,
    /// Any other (nginx, AWS): PEM, percent-encoded; a plus sign is itself.
    Pem,
}

/// Why a header is no certificate; continues "the header NAME …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHeader {
    #[error("is there twice")]
    Twice,
    #[error("must be base64 between colons, as RFC 9440 has it")]
    ByteSequence,
    #[error("must be a certificate in percent-encoded PEM")]
    Pem,
    #[error("cannot be read: it must be NAME=VALUE;NAME=VALUE, with quotes around what has , ; or = in it")]
    Element,
    #[error("tells no certificate: Envoy must be set to send cert or chain")]
    NoCertificate,
}

impl CertificateHeader {
    /// `None` if the name is none that a header can have.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let name = HeaderName::try_from(name).ok()?;
        let form = match name.as_str() {
            "client-cert" => Form::ByteSequence,
            "x-forwarded-client-cert" => Form::Envoy,
            _ => Form::Pem,
        };
        Some(Self { name, form })
    }

    pub(super) const fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The chain that was presented to the proxy; `None` if the header is absent or empty.
    pub(super) fn read(&self, headers: &HeaderMap) -> Result<Option<tls::Peer>, BadHeader> {
        let mut values = headers.get_all(&self.name).into_iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if headers.contains_key(&self.name) { Err(BadHeader::Twice) } else { Ok(None) };
        };
        let value = value.to_str().map_err(|_| self.form.fault())?.trim();
        if value.is_empty() {
            return Ok(None);
        }
        let chain = match self.form {
            Form::ByteSequence => byte_sequences(value, headers)?,
            Form::Envoy => envoy(value)?,
            Form::Pem => pem(value)?,
        };
        Ok(tls::Peer::from_chain(chain))
    }

    /// Takes off what nobody may believe.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        while headers.remove(&self.name).is_some() {}
        if self.form == Form::ByteSequence {
            while headers.remove(CLIENT_CERT_CHAIN).is_some() {}
        }
    }
}

impl Form {
    const fn fault(self) -> BadHeader {
        match self {
            Self::ByteSequence => BadHeader::ByteSequence,
            Self::Envoy => BadHeader::Element,
            Self::Pem => BadHeader::Pem,
        }
    }
}

fn byte_sequences(leaf: &str, headers: &HeaderMap) -> Result<Vec<CertificateDer<'static>>, BadHeader> {
    let mut chain = vec![byte_sequence(leaf)?];
    for value in headers.get_all(CLIENT_CERT_CHAIN) {
        let list = value.to_str().map_err(|_| BadHeader::ByteSequence)?;
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            chain.push(byte_sequence(item)?);
        }
    }
    Ok(chain)
}

fn byte_sequence(item: &str) -> Result<CertificateDer<'static>, BadHeader> {
    let base64 = item.strip_prefix(':').and_then(|item| item.strip_suffix(':'));
    let der = STANDARD.decode(base64.ok_or(BadHeader::ByteSequence)?).map_err(|_| BadHeader::ByteSequence)?;
    if der.is_empty() { Err(BadHeader::ByteSequence) } else { Ok(der.into()) }
}

/// Nothing but certificates, each between its lines.
fn pem(encoded: &str) -> Result<Vec<CertificateDer<'static>>, BadHeader> {
    if encoded.contains(char::is_whitespace) {
        return Err(BadHeader::Pem);
    }
    let decoded = text::decode(encoded).ok_or(BadHeader::Pem)?;
    let begins = decoded.trim_start().starts_with("-----BEGIN CERTIFICATE-----");
    let ends = decoded.trim_end().ends_with("-----END CERTIFICATE-----");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(decoded.as_bytes()).collect();
    match chain {
        Ok(chain) if begins && ends && chain.len() == decoded.matches("-----BEGIN ").count() => Ok(chain),
        _ => Err(BadHeader::Pem),
    }
}

/// The last element is what the proxy next to us saw; those before it are hearsay.
fn envoy(value: &str) -> Result<Vec<CertificateDer<'static>>, BadHeader> {
    let element = split(value, ',')?.pop().unwrap_or_default();
    let (mut cert, mut chain) = (None, None);
    for pair in split(element, ';')?.into_iter().filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(BadHeader::Element)?;
        let slot = match key.trim().to_ascii_lowercase().as_str() {
            "cert" => &mut cert,
            "chain" => &mut chain,
            _ => continue,
        };
        if slot.replace(unquote(value.trim())).is_some() {
            return Err(BadHeader::Twice);
        }
    }
    // The chain begins with the leaf.
    match chain.or(cert).filter(|pem| !pem.is_empty()) {
        Some(encoded) => pem(encoded),
        None => Err(BadHeader::NoCertificate),
    }
}

/// Splits outside quotes.
fn split(text: &str, separator: char) -> Result<Vec<&str>, BadHeader> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(|c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == separator && !quoted && !escaped
    });
    let parts = parts.collect();
    if quoted { Err(BadHeader::Element) } else { Ok(parts) }
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// The address that the proxy next to us added: the last one. `None` if there is none, or no address.
pub(super) fn client_address(headers: &HeaderMap) -> Option<Remote> {
    let last = headers.get_all(X_FORWARDED_FOR).into_iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    let with_port = |address: SocketAddr| Remote { ip: address.ip().to_canonical(), ..address.into() };
    let bare = last.parse().map(|ip: IpAddr| Remote { ip: ip.to_canonical(), port: None });
    bare.or_else(|_| last.parse().map(with_port)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    const DER: &[u8] = b"\x30\x03\x02\x01\x01";
    const OTHER: &[u8] = b"\x30\x03\x02\x01\x02";

    /// As nginx encodes: everything but letters, digits and `-._~`.
    fn encoded(text: &str) -> String {
        let byte = |b: u8| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        };
        text.bytes().map(byte).collect()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let value = |value: &str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        pairs.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
    }

    /// What the header of that name, and no other, says.
    fn read(name: &'static str, value: &str) -> Result<Option<Vec<Vec<u8>>>, BadHeader> {
        let peer = CertificateHeader::new(name).unwrap().read(&headers(&[(name, value)]))?;
        Ok(peer.map(|peer| peer.chain.iter().map(|der| der.to_vec()).collect()))
    }

    fn one() -> Result<Option<Vec<Vec<u8>>>, BadHeader> {
        Ok(Some(vec![DER.to_vec()]))
    }

    fn two() -> Result<Option<Vec<Vec<u8>>>, BadHeader> {
        Ok(Some(vec![DER.to_vec(), OTHER.to_vec()]))
    }

    #[test]
    fn reads_percent_encoded_pem() {
        let chain = PEM.to_owned() + &PEM.replace("AQE=", "AQI=");
        // AWS leaves + = and / as they are.
        let amazon = |text: &str| encoded(text).replace("%2B", "+").replace("%3D", "=").replace("%2F", "/");
        for name in ["x-ssl-client-cert", "x-amzn-mtls-clientcert", "x-anything"] {
            assert_eq!(read(name, &encoded(PEM)), one());
            assert_eq!(read(name, &amazon(PEM)), one());
            assert_eq!(read(name, &encoded(PEM.trim_end())), one());
            assert_eq!(read(name, &encoded(&PEM.replace('\n', "\r\n"))), one());
            assert_eq!(read(name, &encoded(&chain)), two());
            assert_eq!((read(name, ""), read(name, "  ")), (Ok(None), Ok(None)));
            for junk in [
                "junk",
                PEM.replace('\n', " ").trim(),
                &encoded(PEM).replace("%0A", " "),
                &encoded(PEM.trim_start_matches("-----BEGIN")),
                &encoded(&(PEM.to_owned() + "junk")),
                &encoded(&("junk".to_owned() + PEM)),
                &encoded(&PEM.replace("CERTIFICATE", "PRIVATE KEY")),
                &encoded(&(PEM.to_owned() + &PEM.replace("CERTIFICATE", "PRIVATE KEY") + PEM)),
                &encoded(&PEM.replace("MAMC", "MA!C")),
                &encoded(PEM).replace("%3D", "%zz"),
                "%ff",
                "-----BEGIN%20CERTIFICATE-----",
                "(null)",
                "ü",
            ] {
                assert_eq!(read(name, junk), Err(BadHeader::Pem), "{junk}");
            }
        }
    }

    #[test]
    fn reads_plus_signs_as_themselves() {
        let der: Vec<u8> = (0..96).map(|n| n | 0xf8).collect();
        let pem = PEM.replace("MAMCAQE=", &STANDARD.encode(&der));
        assert!(pem.contains('+') || pem.contains('/'), "{pem}");
        let awss = encoded(&pem).replace("%2B", "+").replace("%3D", "=").replace("%2F", "/");
        assert_eq!(read("x-amzn-mtls-clientcert", &awss), Ok(Some(vec![der])));
    }

    #[test]
    fn reads_byte_sequences_of_rfc_9440() {
        assert_eq!(read("client-cert", ":MAMCAQE=:"), one());
        assert_eq!(read("client-cert", " :MAMCAQE=: "), one());
        assert_eq!(read("client-cert", ""), Ok(None));
        for junk in
            ["MAMCAQE=", ":MAMCAQE=", ":MAMCAQE:", "::", ":", ":MAM CAQE=:", ":MAMCAQE=:;a=1", &encoded(PEM)]
        {
            assert_eq!(read("client-cert", junk), Err(BadHeader::ByteSequence), "{junk}");
        }
        let header = CertificateHeader::new("Client-Cert").unwrap();
        let with_chain = [("client-cert", ":MAMCAQE=:"), ("client-cert-chain", ":MAMCAQI=:, :MAMCAQE=:")];
        assert_eq!(header.read(&headers(&with_chain)).unwrap().unwrap().chain.len(), 3);
        let bad_chain = [("client-cert", ":MAMCAQE=:"), ("client-cert-chain", "MAMCAQI=")];
        assert_eq!(header.read(&headers(&bad_chain)), Err(BadHeader::ByteSequence));
    }

    #[test]
    fn reads_envoys_elements() {
        let name = "x-forwarded-client-cert";
        let cert = encoded(PEM);
        let other = encoded(&PEM.replace("AQE=", "AQI="));
        let subject = r#"Subject="/C=US/O=\"a,b;c=d\"";URI=spiffe://a"#;
        for value in [
            format!("Cert=\"{cert}\""),
            format!("cert={cert}"),
            format!("By=spiffe://b;Hash=ab12;Cert=\"{cert}\";{subject}"),
            format!("Hash=ab12;{subject};Cert=\"{cert}\";DNS=a;DNS=b"),
            format!("Hash=00;Cert=\"{other}\",Hash=ab12;Cert=\"{cert}\""),
        ] {
            assert_eq!(read(name, &value), one(), "{value}");
        }
        assert_eq!(read(name, &format!("Cert=\"{cert}\";Chain=\"{cert}{other}\"")), two());
        for (value, fault) in [
            ("Hash=ab12", BadHeader::NoCertificate),
            ("Hash=ab12;Cert=", BadHeader::NoCertificate),
            (&format!("Cert=\"{cert}\",Hash=ab12"), BadHeader::NoCertificate),
            (&format!("Cert=\"{cert}\";Cert=\"{other}\""), BadHeader::Twice),
            (&format!("Cert=\"{cert}"), BadHeader::Element),
            ("junk", BadHeader::Element),
            ("Cert=junk", BadHeader::Pem),
        ] {
            assert_eq!(read(name, value), Err(fault), "{value}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_is_no_certificate_and_one_that_is_absent_none() {
        let header = CertificateHeader::new("X-SSL-Client-Cert").unwrap();
        let value = encoded(PEM);
        let twice = headers(&[("x-ssl-client-cert", &value), ("x-ssl-client-cert", &value)]);
        assert_eq!(header.read(&twice), Err(BadHeader::Twice));
        assert_eq!(header.read(&HeaderMap::new()), Ok(None));
        assert!(CertificateHeader::new("no header").is_none());
    }

    #[test]
    fn strips_every_copy() {
        let mut all =
            headers(&[("client-cert", "a"), ("client-cert-chain", "b"), ("client-cert", "c"), ("host", "d")]);
        CertificateHeader::new("client-cert").unwrap().strip(&mut all);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["host"]);
    }

    #[test]
    fn the_last_address_is_the_one_the_proxy_added() {
        for (values, expected) in [
            (&["203.0.113.9"][..], Some("203.0.113.9")),
            (&["1.1.1.1, 203.0.113.9"], Some("203.0.113.9")),
            (&["1.1.1.1", "2.2.2.2,203.0.113.9"], Some("203.0.113.9")),
            (&["2001:db8::9"], Some("2001:db8::9")),
            (&["[2001:db8::9]:4711"], Some("[2001:db8::9]:4711")),
            (&["203.0.113.9:4711"], Some("203.0.113.9:4711")),
            (&["::ffff:203.0.113.9"], Some("203.0.113.9")),
            (&["[::ffff:203.0.113.9]:4711"], Some("203.0.113.9:4711")),
            (&["1.1.1.1, unknown"], None),
            (&["1.1.1.1,"], None),
            (&[], None),
        ] {
            let pairs: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
            let told = client_address(&headers(&pairs)).map(|client| client.to_string());
            assert_eq!(told.as_deref(), expected, "{values:?}");
        }
    }
}
