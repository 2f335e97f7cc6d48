//! s2n-tls' side of client certificates: asked for and proven there, judged by us.

use rustls::pki_types::CertificateDer;
use s2n_tls::config::Builder;
use s2n_tls::connection::Connection;
use s2n_tls::enums::ClientAuthType;
use s2n_tls::error::Error;

use super::super::client::{ClientAuth, PeerFault, examine};
use super::super::message::read_chain;
use super::super::peer::Peer;

/// Has a configuration ask its clients for a certificate, with no list of CAs.
pub(super) fn ask(builder: &mut Builder, auth: ClientAuth) -> Result<(), Error> {
    let kind = match auth {
        ClientAuth::Off => return Ok(()),
        ClientAuth::Optional => ClientAuthType::Optional,
        ClientAuth::Required => ClientAuthType::Required,
    };
    builder.set_client_auth_type(kind)?;
    leave_chains_to_us(builder)
}

/// s2n-tls knows one way to accept a certificate whose issuer is in no trust store, and an
/// allow-listed one has any issuer.
#[expect(
    unsafe_code,
    reason = "the one way to have s2n-tls hand over a chain it cannot judge; reviewed below"
)]
fn leave_chains_to_us(builder: &mut Builder) -> Result<(), Error> {
    // SAFETY: The call reads and writes the builder's own configuration, which the exclusive borrow
    // keeps alive and unshared; it is marked unsafe because it weakens security, not because of
    // memory. What it switches off is the judgement of chains: path, dates, purpose. It is made up
    // for by `device`, which judges each connection before a byte of it is read. What stays on is the
    // proof of possession: s2n-tls parses the leaf and verifies CertificateVerify with its key. The
    // configuration is for servers alone, so no server is ever left unverified by it.
    unsafe { builder.disable_x509_verification() }?;
    Ok(())
}

/// Who is at the other end of a finished handshake. s2n-tls has no place to bound a chain before
/// it computes with it, but libcrypto's own bounds on keys hold there.
pub(super) fn presented(connection: &Connection) -> Result<Option<Peer>, PeerFault> {
    let unreadable = |error: Error| PeerFault::Undecodable(error.to_string());
    let Some(bytes) = connection.client_cert_chain_bytes().map_err(unreadable)? else {
        return Ok(None);
    };
    let chain =
        read_chain(bytes).ok_or_else(|| PeerFault::Undecodable("its lengths do not fit".to_owned()))?;
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    examine(&chain)?;
    Ok(Peer::from_chain(chain.into_iter().map(CertificateDer::into_owned).collect()))
}
