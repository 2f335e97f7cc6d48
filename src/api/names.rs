//! `deviceId` of a path or a body, by the rules of the device room.

use super::error::ApiError;
use crate::device::name::check_device_id;
use crate::protocol::body::Object;
use std::borrow::Cow;

/// Judges a deviceId that did not come in a body.
///
/// # Errors
/// A name that no device can have.
pub(super) fn device_id(text: &str) -> Result<&str, ApiError> {
    match check_device_id(text) {
        Ok(()) => Ok(text),
        Err(bad) => Err(ApiError::Parameter("deviceId", bad.to_string())),
    }
}

/// The member `deviceId`.
///
/// # Errors
/// Absent, no string, or a name that no device can have.
pub(super) fn device_id_of<'a>(body: &Object<'a>) -> Result<Cow<'a, str>, ApiError> {
    let part = body.part("deviceId")?;
    let device_id = part.string()?;
    check_device_id(&device_id).map_err(|bad| part.refuse(bad))?;
    Ok(device_id)
}
