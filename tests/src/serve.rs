//! A web server for a few pages of the tests' own: pages on another origin than the proxy's.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Result;

/// Serves pages on a free port of loopback until the program ends.
///
/// `page` gives the HTML of a path (with its query), or nothing for a 404. Returns the server's address, such as
/// `http://127.0.0.1:40001`.
pub fn pages(page: impl Fn(&str) -> Option<String> + Send + 'static) -> Result<String> {
    pages_at(Ipv4Addr::LOCALHOST, page)
}

/// As [`pages`], at another address of this machine's.
pub fn pages_at(host: Ipv4Addr, page: impl Fn(&str) -> Option<String> + Send + 'static) -> Result<String> {
    let listener = TcpListener::bind((host, 0))?;
    let address: SocketAddr = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A browser that asks for less than it connects for is its own affair.
            let _ = answer(connection, &page);
        }
    });
    Ok(format!("http://{address}"))
}

fn answer(mut connection: TcpStream, page: &impl Fn(&str) -> Option<String>) -> Result<()> {
    // Chromium opens connections in advance and sends nothing: they must not hold up the others for long.
    connection.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (status, body) = match page(path) {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", String::new()),
    };
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}
