//! A web server for a few pages of the tests' own: pages on another origin than the proxy's, and folders that somebody built.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

/// What is sent for a path.
struct File {
    content_type: &'static str,
    /// Further lines of the head.
    headers: String,
    body: Vec<u8>,
}

/// Serves pages on a free port of loopback until the program ends.
///
/// `page` gives the HTML of a path (with its query), or nothing for a 404. Returns the server's address, such as
/// `http://127.0.0.1:40001`.
pub fn pages(page: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Result<String> {
    pages_at(Ipv4Addr::LOCALHOST, page)
}

/// As [`pages`], at another address of this machine's.
pub fn pages_at(
    host: Ipv4Addr,
    page: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) -> Result<String> {
    let html = "text/html; charset=utf-8";
    serve(host, move |path| {
        page(path).map(|body| File { content_type: html, headers: String::new(), body: body.into_bytes() })
    })
}

/// Serves a folder in the same way, each file with these further headers (`Name: value` lines).
pub fn folder(root: PathBuf, headers: impl Fn(&str) -> String + Send + Sync + 'static) -> Result<String> {
    serve(Ipv4Addr::LOCALHOST, move |path| {
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_start_matches('/');
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        let mut file = root.join(path);
        if file.is_dir() {
            file = file.join("index.html");
        }
        let content_type = match file.extension().and_then(|extension| extension.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("js" | "mjs") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("wasm") => "application/wasm",
            Some("json") => "application/json",
            _ => "application/octet-stream",
        };
        Some(File { content_type, headers: headers(path), body: std::fs::read(file).ok()? })
    })
}

fn serve(host: Ipv4Addr, file: impl Fn(&str) -> Option<File> + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind((host, 0))?;
    let address: SocketAddr = listener.local_addr()?;
    let file = Arc::new(file);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let file = Arc::clone(&file);
            // A browser that asks for less than it connects for is its own affair; it may connect in advance, and wait.
            std::thread::spawn(move || answer(connection, &*file));
        }
    });
    Ok(format!("http://{address}"))
}

fn answer(mut connection: TcpStream, file: &impl Fn(&str) -> Option<File>) -> Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (status, File { content_type, headers, body }) = match file(path) {
        Some(file) => ("200 OK", file),
        None => {
            ("404 Not Found", File { content_type: "text/plain", headers: String::new(), body: Vec::new() })
        }
    };
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n",
        body.len()
    )?;
    connection.write_all(&body)?;
    Ok(())
}
