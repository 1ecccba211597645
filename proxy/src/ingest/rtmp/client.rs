//! Pulling: a session of a stream on an RTMP server.

use std::path::Path;

use url::Url;

use super::{
    play::{self, Play, Target},
    socket::{Io, Socket},
    tags::Tags,
};
use crate::{
    config::Source,
    hub::Fault,
    ingest::{Event, dial, tls},
};

/// One session, from the answer to `play` on.
pub(crate) struct Session {
    socket: Socket,
    play: Play,
    tags: Tags,
}

impl Session {
    /// Connects and asks the server to play.
    pub(crate) async fn connect(source: &Source, trust: Option<&Path>) -> Result<Self, Fault> {
        let target = target(&source.url_without_credentials()).ok_or_else(|| Fault {
            code: "not_found",
            reason: "the address names no stream: rtmp://HOST/APPLICATION/NAME".into(),
        })?;
        let io: Box<dyn Io> = if source.uses_tls() {
            let tcp = dial::connect(source).await?;
            Box::new(tls::connect(source, trust, tcp).await?)
        } else {
            Box::new(dial::connect(source).await?)
        };
        let play = Play::new(target).map_err(|error| fault(&error))?;
        let mut session = Self { socket: Socket::new(io), play, tags: Tags::default() };
        while !session.step().await? {}
        session.socket.expect_pictures();
        Ok(session)
    }

    /// Takes in what comes next. Gives whether the server has begun to play.
    async fn step(&mut self) -> Result<bool, Fault> {
        let (used, event) = self.play.read(self.socket.pending()).map_err(|error| fault(&error))?;
        self.socket.consume(used);
        self.socket.send(self.play.outgoing()).await.map_err(|error| closed(&error))?;
        match event {
            Some(play::Event::Playing) => return Ok(true),
            Some(play::Event::Tag(kind, time_ms, payload)) => {
                self.tags.take(kind, time_ms, payload, self.socket.received)?;
                return Ok(true); // some servers say nothing and play
            }
            Some(play::Event::Ended) => {
                return Err(Fault {
                    code: "closed",
                    reason: "nobody publishes this stream on the server".into(),
                });
            }
            None if used == 0 => self.socket.fill().await.map_err(|error| closed(&error))?,
            None => {}
        }
        Ok(false)
    }
}

impl crate::ingest::Session for Session {
    async fn next(&mut self) -> Result<Event, Fault> {
        loop {
            if let Some(event) = self.tags.next() {
                return Ok(event);
            }
            self.step().await?;
        }
    }
}

/// The last segment of the path is the stream, and what stands before it the application.
fn target(url: &Url) -> Option<Target> {
    let (application, name) = url.path().trim_matches('/').rsplit_once('/')?;
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let application = decoded(application);
    let name = match url.query() {
        Some(query) => format!("{}?{query}", decoded(name)),
        None => decoded(name),
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let address = format!("{}://{}{port}/{application}", url.scheme(), url.host_str()?);
    Some(Target { application, name, address })
}

fn fault(error: &play::Error) -> Fault {
    let code = match error {
        play::Error::Link(_) => "closed",
        play::Error::Refused(_) => "connect_failed",
        play::Error::Unauthorized(_) => "unauthorized",
        play::Error::NotFound(_) => "not_found",
    };
    Fault { code, reason: format!("the server says: {error}") }
}

fn closed(error: &std::io::Error) -> Fault {
    let reason = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => format!("the connection broke: {error}"),
    };
    Fault { code: "closed", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Option<(String, String, String)> {
        let target = target(&url.parse().expect("a URL"))?;
        Some((target.application, target.name, target.address))
    }

    #[test]
    fn the_last_segment_is_the_stream_and_the_rest_the_application() {
        let expected = ("live".into(), "cam".into(), "rtmp://h/live".into());
        assert_eq!(parts("rtmp://h/live/cam"), Some(expected));
        let expected =
            ("app/_definst_".into(), "a b?token=x".into(), "rtmp://[::1]:1936/app/_definst_".into());
        assert_eq!(parts("rtmp://[::1]:1936/app/_definst_/a%20b?token=x"), Some(expected));
        assert_eq!(parts("rtmp://h/live"), None);
        assert_eq!(parts("rtmp://h"), None);
    }
}
