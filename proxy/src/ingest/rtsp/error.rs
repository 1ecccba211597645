//! What retina says went wrong, in words for whoever runs the camera, without its secrets.

use super::connect::Carriage;
use crate::{config::Source, hub::Fault};

/// Why a camera cannot be reached, from what retina says before PLAY is answered.
pub(super) fn fault(error: &retina::Error, source: &Source) -> Fault {
    let first_line = first_line(error, source);
    let (code, reason) = match error.status_code() {
        Some(401 | 403) if source.credentials().is_some() => {
            ("unauthorized", "the camera refused the user name or password".to_owned())
        }
        Some(401 | 403) => (
            "unauthorized",
            "the camera asks for a user name and password: write them into its address, rtsp://USER:PASSWORD@…"
                .to_owned(),
        ),
        Some(404) => {
            ("not_found", format!("the camera has nothing at {source}: check the path of its address"))
        }
        Some(200..300) => {
            ("connect_failed", format!("what {source} answered cannot be used: {first_line}"))
        }
        Some(status) => ("connect_failed", format!("the camera answered with status {status}: {first_line}")),
        None => {
            let (host, port) = (source.host(), source.port());
            let why = first_line.strip_prefix("Unable to connect to RTSP server: ").unwrap_or(&first_line);
            ("connect_failed", format!("cannot connect to {host}:{port}: {why}"))
        }
    };
    Fault { code, reason }
}

/// Why a camera does not send by this transport, from its answer to SETUP.
pub(super) fn setup(error: &retina::Error, source: &Source, carriage: Carriage) -> Fault {
    let status = error.status_code().unwrap_or_default();
    let how = match carriage {
        Carriage::Tcp => "in its connection (TCP)",
        Carriage::Udp => "by UDP",
    };
    tracing::debug!(camera = %source, error = first_line(error, source), "SETUP");
    Fault {
        code: "connect_failed",
        reason: format!("the camera refuses to send its packets {how}: it answered with status {status}"),
    }
}

/// The camera said goodbye.
pub(super) fn closed() -> Fault {
    Fault { code: "closed", reason: "the camera ended the session".into() }
}

/// Why a session ended, from what retina says after PLAY.
pub(super) fn ended(error: &retina::Error, source: &Source) -> Fault {
    let at = match position(&error.to_string()) {
        Some(byte) => format!(" (at byte {byte} of what it sent)"),
        None => String::new(),
    };
    let what = first_line(error, source);
    Fault { code: "closed", reason: format!("the session with {source} ended: {what}{at}") }
}

/// Where in the connection it was, which retina says below the first line: `pkt: POSITION@TIME` or `msg: …`.
fn position(text: &str) -> Option<u64> {
    let line =
        text.lines().skip(1).find_map(|line| line.strip_prefix("pkt: ").or(line.strip_prefix("msg: ")))?;
    line.split_once('@')?.0.parse().ok()
}

/// retina's errors carry addresses and positions for a packet capture below their first line.
fn first_line(error: &retina::Error, source: &Source) -> String {
    let text = without_urls(&error.to_string(), source);
    tracing::debug!(camera = %source, error = text, "camera");
    text.lines().next().unwrap_or_default().to_owned()
}

/// `text` with every RTSP address in it replaced by the camera's as it may be shown: a query or a path may hold a
/// password.
fn without_urls(text: &str, source: &Source) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    let begin = |text: &str| ["rtsp://", "rtsps://"].iter().filter_map(|scheme| text.find(scheme)).min();
    while let Some(at) = begin(rest) {
        out.push_str(&rest[..at]);
        out.push_str(&source.to_string());
        let url = &rest[at..];
        rest = &url[url.find(|c: char| c.is_whitespace() || "\"'<>".contains(c)).unwrap_or(url.len())..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_packet_was_is_read_from_below_the_first_line() {
        let text = "Empty NAL\n\nconn: 127.0.0.1:1(me)->127.0.0.1:2@2026\nstream: TCP, 0-1\nssrc: 1\nseq: 2\n\
                    pkt: 8045@2026-11-24T22:00:00";
        assert_eq!(position(text), Some(8045));
        assert_eq!(position("RTSP framing error: x\n\nconn: a@b\nmsg: 17@2026"), Some(17));
        assert_eq!(position("by UDP\n\npkt: 2026-11-24T22:00:00"), None);
        assert_eq!(position(""), None);
    }

    #[test]
    fn an_address_in_an_error_is_shown_without_its_secrets() {
        let source: Source = "rtsp://admin:hunter2@cam/l?token=hunter3".parse().expect("a source");
        let text = "DESCRIBE response at rtsp://cam/l?token=hunter3 has \"rtsp://cam/l?token=hunter3\"\n";
        let shown = without_urls(text, &source);
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(
            shown.starts_with("DESCRIBE response at rtsp://***@cam") && shown.ends_with("\"\n"),
            "{shown}"
        );
    }
}
