//! Signed requests of our own (RFC 7515, RFC 8555 §6): for the calls whose answer's headers
//! or whose body's members `rustls_acme` does not know.

use super::{AcmeError, answer::Answer, call::Caller, options::Eab};
use aws_lc_rs::{
    digest, hmac,
    rand::SystemRandom,
    signature::{EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};

/// Who signs: the account's key, with its address once the server has given one.
#[derive(Clone, Copy)]
pub(crate) struct Signer<'a> {
    pub(crate) key: &'a EcdsaKeyPair,
    pub(crate) kid: Option<&'a str>,
}

impl Signer<'_> {
    /// Sends `payload` (empty: POST-as-GET) and answers what came back with success. A nonce
    /// the server calls bad is replaced by the one in its refusal.
    pub(crate) async fn post(
        &self,
        caller: &Caller,
        new_nonce: &str,
        call: &'static str,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, AcmeError> {
        let payload = payload.map_or_else(String::new, Value::to_string);
        let mut nonce = caller.nonce(new_nonce).await?;
        let mut tries = Caller::NONCE_TRIES;
        loop {
            let body = self.sign(&nonce, url, &payload)?;
            let answer = caller.send(call, Caller::signed_post(url, body)?).await?;
            match answer.success(call) {
                Ok(answer) => return Ok(answer),
                Err(refusal) if tries > 0 && Caller::is_bad_nonce(&refusal.problem) => {
                    tries -= 1;
                    nonce = match refusal.nonce {
                        Some(fresh) => fresh,
                        None => caller.nonce(new_nonce).await?,
                    };
                }
                Err(refusal) => return Err(refusal.into_error()),
            }
        }
    }

    fn sign(&self, nonce: &str, url: &str, payload: &str) -> Result<String, AcmeError> {
        let mut protected = json!({ "alg": "ES256", "nonce": nonce, "url": url });
        match self.kid {
            Some(kid) => protected["kid"] = kid.into(),
            None => protected["jwk"] = jwk(self.key)?,
        }
        let (protected, payload) = (BASE64URL.encode(protected.to_string()), BASE64URL.encode(payload));
        let signature = self
            .key
            .sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes())
            .map_err(|_| AcmeError::Crypto("a signature"))?;
        let signature = BASE64URL.encode(signature.as_ref());
        Ok(json!({ "protected": protected, "payload": payload, "signature": signature }).to_string())
    }
}

/// Binds the account's key to an account the CA knows from elsewhere (RFC 8555 §7.3.4).
pub(crate) fn binding(eab: &Eab, key: &EcdsaKeyPair, url: &str) -> Result<Value, AcmeError> {
    let secret =
        BASE64URL.decode(eab.key.expose()).map_err(|_| AcmeError::Crypto("a binding from eab_key"))?;
    let protected = json!({ "alg": "HS256", "kid": eab.kid, "url": url }).to_string();
    let (protected, payload) = (BASE64URL.encode(protected), BASE64URL.encode(jwk(key)?.to_string()));
    let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signature = BASE64URL.encode(hmac::sign(&hmac_key, format!("{protected}.{payload}").as_bytes()));
    Ok(json!({ "protected": protected, "payload": payload, "signature": signature }))
}

/// What the CA expects to find under a challenge's token (RFC 8555 §8.1).
pub(crate) fn key_authorization(key: &EcdsaKeyPair, token: &str) -> Result<String, AcmeError> {
    let jwk = jwk(key)?;
    // RFC 7638: these members, in this order, without blanks.
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
    let thumbprint = digest::digest(&digest::SHA256, canonical.as_bytes());
    Ok(format!("{token}.{}", BASE64URL.encode(thumbprint)))
}

/// SHA-256 in lower-case hex: names of files, never of secrets.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn jwk(key: &EcdsaKeyPair) -> Result<Value, AcmeError> {
    // An uncompressed point: 04, x, y.
    let point = key.public_key().as_ref();
    match (point.get(1..33), point.get(33..65)) {
        (Some(x), Some(y)) => {
            Ok(json!({ "kty": "EC", "crv": "P-256", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y) }))
        }
        _ => Err(AcmeError::Crypto("a P-256 public key")),
    }
}
