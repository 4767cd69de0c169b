//! The one error of the API.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What can go wrong.
///
/// `Clone`, so that callers that wait for one load share its failure too, instead of loading one after another. Errors
/// are never cached.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    #[error("there is no issue {0}")]
    NoSuchIssue(u64),
    #[error("the database failed")]
    Database(#[source] Arc<rusqlite::Error>),
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoSuchIssue(_) => StatusCode::NOT_FOUND,
            Self::Database(source) => {
                // The client learns that it was not its fault; the log learns the rest.
                tracing::error!(%source, "the database failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}
