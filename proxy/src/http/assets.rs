//! The pages and the player, built by Trunk and carried inside this program.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::Write as _,
    sync::{Arc, OnceLock},
};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use rust_embed::RustEmbed;

use super::Server;

#[derive(RustEmbed)]
#[folder = "../www/dist"]
#[allow_missing = true]
struct Dist;

/// The page for every address a person opens; what it shows, it reads from its address.
const PAGE: &str = "index.html";

/// What a page may load: its own files, its own server's pictures, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; media-src blob:; img-src 'self' data: blob:; connect-src 'self' ws: wss:; \
    object-src 'none'; base-uri 'none'; form-action 'none'";

struct Asset {
    plain: Bytes,
    /// Absent where compressing does not help.
    gzip: Option<Bytes>,
    etag: String,
    content_type: String,
}

pub(super) async fn page(headers: HeaderMap) -> Response {
    respond(PAGE, StatusCode::OK, &headers)
}

pub(super) async fn stream_page(
    State(server): State<Server>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    // An unknown name gets the page too, for it says so in words and leads back to the wall.
    let known = server.hub.get(&name).is_some();
    respond(PAGE, if known { StatusCode::OK } else { StatusCode::NOT_FOUND }, &headers)
}

pub(super) async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    respond(uri.path().trim_start_matches('/'), StatusCode::OK, &headers)
}

fn respond(path: &str, status: StatusCode, request: &HeaderMap) -> Response {
    let Some(asset) = load(path) else {
        if path == PAGE {
            let message = "this build carries no pages: build it with `make demo` or `make release`";
            return super::api::error(StatusCode::SERVICE_UNAVAILABLE, "no_pages", message);
        }
        let message = "there is nothing here; the streams are at / and described at /api/v1/streams";
        return super::api::error(StatusCode::NOT_FOUND, "not_found", message);
    };
    let gzip = asset.gzip.as_ref().filter(|_| lists(request, header::ACCEPT_ENCODING, &["gzip", "*"]));
    let known = lists(request, header::IF_NONE_MATCH, &[&asset.etag, "*"]);
    let mut response = if status == StatusCode::OK && known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = gzip.unwrap_or(&asset.plain).clone();
        let mut response =
            (status, [(header::CONTENT_TYPE, asset.content_type.clone())], Body::from(body)).into_response();
        if gzip.is_some() {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    };
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    };
    set(header::VARY, "Accept-Encoding");
    set(header::ETAG, &asset.etag);
    // Names carry no hash, so a browser asks each time and mostly hears that nothing changed.
    set(header::CACHE_CONTROL, "no-cache");
    // The player is made to be loaded by pages from anywhere.
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    if path == PAGE {
        set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    }
    response
}

/// Whether a header that is a list (RFC 9110, 5.6.1) holds one of `values`, and not with a weight of 0.
fn lists(request: &HeaderMap, name: header::HeaderName, values: &[&str]) -> bool {
    let texts = request.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let listed = parts.next().is_some_and(|value| values.contains(&value));
        listed && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The file at `path` of the built pages. Release builds carry them, and each is compressed once; other builds read
/// them from disk, so that a page can be worked on without building the proxy.
fn load(path: &str) -> Option<Arc<Asset>> {
    static CACHE: OnceLock<HashMap<Cow<'static, str>, Arc<Asset>>> = OnceLock::new();
    if cfg!(debug_assertions) {
        return Dist::get(path).map(|file| Arc::new(Asset::new(&file)));
    }
    let all = CACHE.get_or_init(|| {
        let read = |name: Cow<'static, str>| Dist::get(&name).map(|file| (name, Arc::new(Asset::new(&file))));
        Dist::iter().filter_map(read).collect()
    });
    all.get(path).cloned()
}

impl Asset {
    fn new(file: &rust_embed::EmbeddedFile) -> Self {
        let plain = match &file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::copy_from_slice(bytes),
        };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let compressed = encoder.write_all(&plain).and_then(|()| encoder.finish()).ok();
        let gzip = compressed.filter(|c| c.len() < plain.len() * 9 / 10).map(Bytes::from);
        let hash = file.metadata.sha256_hash();
        let etag = hash[..12].iter().fold(String::from("W/\""), |mut etag, byte| {
            let _ = std::fmt::Write::write_fmt(&mut etag, format_args!("{byte:02x}"));
            etag
        }) + "\"";
        let mut content_type = file.metadata.mimetype().to_owned();
        if content_type.starts_with("text/") {
            content_type.push_str("; charset=utf-8");
        }
        Self { plain, gzip, etag, content_type }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_browser_takes_is_sent_to_it() {
        for (accepts, taken) in
            [("gzip", true), ("br, gzip;q=0.5", true), ("*", true), ("gzip;q=0", false), ("br", false)]
        {
            let mut request = HeaderMap::new();
            request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepts));
            assert_eq!(lists(&request, header::ACCEPT_ENCODING, &["gzip", "*"]), taken, "{accepts}");
        }
        assert!(!lists(&HeaderMap::new(), header::ACCEPT_ENCODING, &["gzip", "*"]));
    }
}
