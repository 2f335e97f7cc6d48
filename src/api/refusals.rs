//! The refusals that routes share, for the description: `error` makes them. Of two for one status the
//! one named later counts, so [`Always`] comes first.

#![expect(dead_code, reason = "described, never made")]

use super::error::ErrorBody;
use utoipa::IntoResponses;

/// Of every route.
#[derive(IntoResponses)]
pub(super) enum Always {
    /// The client certificate of the connection is not accepted; the message says why
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "What is asked for")))]
    BadCertificate(ErrorBody),
    /// Another method than the path takes
    #[response(status = 405, headers(("Allow" = String, description = "The methods")))]
    WrongMethod(ErrorBody),
    /// A body over 65536 bytes
    #[response(status = 413)]
    TooLong(ErrorBody),
    /// Too many certificates of this address that nobody knows, too many new devices of a CA, or too many requests
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds")))]
    TooMany(ErrorBody),
    /// The client certificate cannot be looked up now: the database is away
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds")))]
    CannotTell(ErrorBody),
}

/// Of those with parameters or a body.
#[derive(IntoResponses)]
pub(super) enum BadRequest {
    /// A parameter, the body or its type is not what it must be; the message names it
    #[response(status = 400)]
    Invalid(ErrorBody),
}

/// Of those that ask for an API key or a certificate.
#[derive(IntoResponses)]
pub(super) enum NotEntitled {
    /// No API key or a wrong one, and no certificate that may do this
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "What is asked for")))]
    Unknown(ErrorBody),
    /// Too many wrong API keys of this address
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds")))]
    TooManyKeys(ErrorBody),
}

/// Of those for brokers.
#[derive(IntoResponses)]
pub(super) enum NoBroker {
    /// Not the broker token
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "What is asked for")))]
    WrongToken(ErrorBody),
    /// No broker token is configured
    #[response(status = 404)]
    NotConfigured(ErrorBody),
    /// Too many wrong tokens of this address
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds")))]
    TooManyTokens(ErrorBody),
}

/// Of those that anybody may ask.
#[derive(IntoResponses)]
pub(super) enum TooOften {
    /// Too many requests of this address, or too many held
    #[response(status = 429, headers(("Retry-After" = u64, description = "Seconds")))]
    Wait(ErrorBody),
}

/// Of those that need the database.
#[derive(IntoResponses)]
pub(super) enum Unavailable {
    /// The database is away, or too much is going on: send it again
    #[response(status = 503, headers(("Retry-After" = u64, description = "Seconds")))]
    TryAgain(ErrorBody),
}
