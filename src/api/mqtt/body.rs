//! A question as a form or as a JSON object, whichever the broker is set to.

use crate::api::body::{FormBody, JsonBody, is_of_type};
use crate::api::error::ApiError;
use axum::extract::{FromRequest, Request};

/// What was asked.
pub(in crate::api) enum Question {
    /// `application/x-www-form-urlencoded`.
    Form(FormBody),
    /// `application/json`.
    Json(JsonBody),
}

impl Question {
    /// A text; an absent one is empty, and names nobody.
    pub(super) fn text(&self, name: &'static str) -> Result<String, ApiError> {
        match self {
            Self::Form(form) => Ok(form.find(name)?.unwrap_or_default().to_owned()),
            Self::Json(json) => {
                let part = json.object()?.find(name).map(|part| part.string()).transpose()?;
                Ok(part.unwrap_or_default().into_owned())
            }
        }
    }

    /// A small number, as one or as a text.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u8>, ApiError> {
        match self {
            Self::Form(form) => Ok(form.find(name)?.and_then(|text| text.parse().ok())),
            Self::Json(json) => {
                Ok(json.object()?.find(name).and_then(|part| part.text().trim_matches('"').parse().ok()))
            }
        }
    }
}

impl<S: Sync> FromRequest<S> for Question {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if is_of_type(request.headers(), "application/json") {
            return JsonBody::from_request(request, state).await.map(Self::Json);
        }
        FormBody::from_request(request, state).await.map(Self::Form)
    }
}
