//! Just enough HTTP to ask the proxy's API.

use std::time::Duration;

use anyhow::{Context, Result};

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The `content-type`.
    pub content_type: String,
    /// The body as text.
    pub body: String,
}

/// Gets `url`.
pub fn get(url: &str) -> Result<Answer> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let mut answer = agent.get(url).call().with_context(|| url.to_owned())?;
    let content_type =
        answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let body = answer.body_mut().read_to_string().with_context(|| url.to_owned())?;
    Ok(Answer { status: answer.status().as_u16(), content_type, body })
}
