//! PURE: what is said between retina and a camera, on its way through the bridge (see `bridge`).
//!
//! retina speaks to a port of this machine. Here its requests get the camera's own address, and the answer to the camera's
//! challenge: Digest (RFC 7616, 3.4) signs the address, so only who writes it can sign it. Unlike retina this answers
//! a second challenge too, as cameras send when what they signed with has expired. Where a redirect leads is noted.
//! Everything else passes as it is, packets above all. Invariant: never holds more than a message and one read; each
//! request is answered for the camera's challenge at most twice.

use std::collections::VecDeque;

use http_auth::{PasswordClient, PasswordParams};

/// The longest head of a message, in bytes. Real ones have a few hundred.
const MAX_HEAD_LEN: usize = 16 << 10;

/// The longest body, in bytes: an SDP has some thousand.
const MAX_BODY_LEN: usize = 256 << 10;

/// Requests that wait for their answers; retina has one or two.
const MAX_WAITING: usize = 8;

/// Why a byte stream cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither a message nor an interleaved packet.
    #[error("not RTSP")]
    Malformed,
    /// Longer than anything that makes sense.
    #[error("a message that is too long")]
    TooLong,
    /// More questions than answers.
    #[error("too many requests without an answer")]
    TooMany,
}

/// Name and password, both as they are meant (not percent-encoded).
pub type Credentials = (String, String);

/// One connection's talk.
#[derive(Debug)]
pub struct Exchange {
    /// How retina's requests begin, `rtsp://127.0.0.1:40001`, and what stands there for the camera.
    local: String,
    remote: String,
    /// What retina calls itself, for this connection alone, and what the camera hears.
    secret_agent: String,
    agent: &'static str,
    credentials: Option<Credentials>,
    client: Option<PasswordClient>,
    waiting: VecDeque<Request>,
    /// Requests that were sent again have a number of their own: the camera's numbers run ahead.
    next_cseq: Option<u32>,
    location: Option<String>,
}

/// A request that was passed on.
#[derive(Debug)]
struct Request {
    /// Its number as retina knows it, and as the camera does.
    asked_cseq: String,
    sent_cseq: u32,
    head: Head,
    body: Vec<u8>,
    retries: u32,
}

/// A message's first line, and its header fields without what the bridge writes anew.
#[derive(Debug, Clone)]
struct Head {
    first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head, without the empty line behind it. Lenient, since cameras are not exact.
    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let field =
            |line: &str| line.split_once(':').map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned()));
        Self { first, fields: lines.filter_map(field).collect() }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        self.remove(name);
        self.fields.push((name.to_owned(), value));
    }

    fn remove(&mut self, name: &str) {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.first.as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.fields {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    fn uri(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// The status, where this is a response.
    fn status(&self) -> Option<u16> {
        self.first.strip_prefix("RTSP/")?.split(' ').nth(1)?.parse().ok()
    }
}

/// The next thing in a stream of messages and packets, by its lengths.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// An interleaved packet (RFC 2326, 10.12), or line ends between messages.
    Opaque(usize),
    /// A message: its head with the empty line, and its body.
    Message(usize, usize),
}

/// What stands at the beginning of `bytes`; nothing until it is whole. A packet need not be whole.
fn part(bytes: &[u8]) -> Result<Option<Part>, Error> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    match first {
        b'$' => Ok(match bytes {
            [_, _, high, low, ..] => Some(Part::Opaque(4 + usize::from(u16::from_be_bytes([*high, *low])))),
            _ => None,
        }),
        // Some cameras send an empty line behind a body.
        b'\r' | b'\n' => Ok(Some(Part::Opaque(1))),
        _ if !first.is_ascii_alphabetic() => Err(Error::Malformed),
        _ => {
            let sought = &bytes[..bytes.len().min(MAX_HEAD_LEN)];
            let Some(end) = sought.windows(4).position(|four| four == b"\r\n\r\n") else {
                return if sought.len() < MAX_HEAD_LEN { Ok(None) } else { Err(Error::TooLong) };
            };
            let head = Head::parse(&bytes[..end]);
            let body_len = match head.get("Content-Length") {
                Some(text) => text.parse().map_err(|_| Error::Malformed)?,
                None => 0,
            };
            if body_len > MAX_BODY_LEN {
                return Err(Error::TooLong);
            }
            let head_len = end + 4;
            Ok((bytes.len() - head_len >= body_len).then_some(Part::Message(head_len, body_len)))
        }
    }
}

impl Exchange {
    /// A talk in which requests for `local` (scheme, host and port) go to `remote`. Who does not call itself
    /// `secret_agent` is not retina; the camera hears `agent`.
    pub fn new(
        local: String,
        remote: String,
        secret_agent: String,
        agent: &'static str,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            local,
            remote,
            secret_agent,
            agent,
            credentials,
            client: None,
            waiting: VecDeque::new(),
            next_cseq: None,
            location: None,
        }
    }

    /// Whether what a connection begins with comes from retina: unknown until its first message is whole.
    ///
    /// # Errors
    /// Where it is no RTSP.
    pub fn is_ours(&self, bytes: &[u8]) -> Result<Option<bool>, Error> {
        Ok(match part(bytes)? {
            None => None,
            Some(Part::Opaque(_)) => Some(false),
            Some(Part::Message(head_len, _)) => {
                Some(Head::parse(&bytes[..head_len - 4]).get("User-Agent") == Some(&self.secret_agent))
            }
        })
    }

    /// Where the camera's last redirect leads, in its own words.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Takes what retina sent, and adds what the camera is to get. Gives how many of the bytes are done with.
    ///
    /// # Errors
    /// The stream has lost its place: close.
    pub fn requests(&mut self, bytes: &[u8], to_camera: &mut Vec<u8>) -> Result<usize, Error> {
        let mut used = 0;
        while let Some(part) = part(&bytes[used..])? {
            let rest = &bytes[used..];
            match part {
                Part::Opaque(len) if len > rest.len() => break,
                Part::Opaque(len) => {
                    to_camera.extend_from_slice(&rest[..len]);
                    used += len;
                }
                Part::Message(head_len, body_len) => {
                    let head = Head::parse(&rest[..head_len - 4]);
                    self.request(head, rest[head_len..head_len + body_len].to_vec(), to_camera)?;
                    used += head_len + body_len;
                }
            }
        }
        Ok(used)
    }

    fn request(&mut self, mut head: Head, body: Vec<u8>, to_camera: &mut Vec<u8>) -> Result<(), Error> {
        let asked_cseq = head.get("CSeq").unwrap_or_default().to_owned();
        if head.status().is_some() || asked_cseq.is_empty() {
            // An answer to the camera: none of ours to change.
            head.write(to_camera);
            to_camera.extend_from_slice(&body);
            return Ok(());
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(Error::TooMany);
        }
        if let Some(rest) = head.uri().strip_prefix(&self.local) {
            let version = head.first.rsplit(' ').next().unwrap_or_default();
            head.first = format!("{} {}{rest} {version}", head.method(), self.remote);
        }
        head.set("User-Agent", self.agent.to_owned());
        let mut request = Request { asked_cseq, sent_cseq: 0, head, body, retries: 0 };
        self.send(&mut request, to_camera);
        self.waiting.push_back(request);
        Ok(())
    }

    fn send(&mut self, request: &mut Request, to_camera: &mut Vec<u8>) {
        let asked = request.asked_cseq.parse().unwrap_or(1);
        request.sent_cseq = self.next_cseq.unwrap_or(asked);
        self.next_cseq = Some(request.sent_cseq.wrapping_add(1));
        let mut head = request.head.clone();
        head.set("CSeq", request.sent_cseq.to_string());
        if let (Some(client), Some((username, password))) = (&mut self.client, &self.credentials) {
            let params = PasswordParams {
                username,
                password,
                uri: request.head.uri(),
                method: request.head.method(),
                // With a body http-auth prefers auth-int where it is offered, and hashes the body itself in place of its
                // hash. No camera insists on it.
                body: None,
            };
            // It fails for a user name with a colon under Basic, which no camera can have meant.
            if let Ok(authorization) = client.respond(&params) {
                head.set("Authorization", authorization);
            }
        }
        head.write(to_camera);
        to_camera.extend_from_slice(&request.body);
    }

    /// Takes what the camera sent, and adds what retina is to get and what the camera is to get in its turn. Gives how
    /// many of the bytes are done with.
    ///
    /// # Errors
    /// The stream has lost its place: close.
    pub fn answers(
        &mut self,
        bytes: &[u8],
        to_retina: &mut Vec<u8>,
        to_camera: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let mut used = 0;
        while let Some(part) = part(&bytes[used..])? {
            let rest = &bytes[used..];
            match part {
                Part::Opaque(len) if len > rest.len() => break,
                Part::Opaque(len) => {
                    to_retina.extend_from_slice(&rest[..len]);
                    used += len;
                }
                Part::Message(head_len, body_len) => {
                    let message = &rest[..head_len + body_len];
                    used += message.len();
                    self.answer(message, head_len, to_retina, to_camera);
                }
            }
        }
        Ok(used)
    }

    fn answer(&mut self, message: &[u8], head_len: usize, to_retina: &mut Vec<u8>, to_camera: &mut Vec<u8>) {
        let mut head = Head::parse(&message[..head_len - 4]);
        let cseq = head.get("CSeq").and_then(|text| text.parse().ok());
        let place = self.waiting.iter().position(|request| Some(request.sent_cseq) == cseq);
        // What the camera itself asks has numbers of its own: it answers nothing of ours.
        let answered = head.status().and_then(|status| Some((status, self.waiting.remove(place?)?)));
        let Some((status, mut request)) = answered else {
            to_retina.extend_from_slice(message);
            return;
        };
        if status == 401 && self.takes_up(&head, &request) {
            request.retries += 1;
            self.send(&mut request, to_camera);
            self.waiting.push_back(request);
            return;
        }
        if (300..400).contains(&status) {
            self.location = head.get("Location").map(str::to_owned);
        }
        if request.asked_cseq == request.sent_cseq.to_string() {
            to_retina.extend_from_slice(message);
            return;
        }
        head.set("CSeq", request.asked_cseq);
        head.write(to_retina);
        to_retina.extend_from_slice(&message[head_len..]);
    }

    /// Whether the request is to be sent again, signed for this challenge. A password that was refused is not sent a
    /// second time, since cameras lock whoever does that; but what a request was signed with may have expired since
    /// (`stale`), or be good for one request only.
    fn takes_up(&mut self, challenge: &Head, request: &Request) -> bool {
        if self.credentials.is_none() {
            return false;
        }
        let values: Vec<_> = challenge.all("WWW-Authenticate").collect();
        let values = values.join(", ");
        let again = request.retries == 0 || (request.retries == 1 && stale(&values));
        match PasswordClient::try_from(values.as_str()) {
            Ok(client) if again => {
                self.client = Some(client);
                true
            }
            _ => false,
        }
    }
}

/// Whether a challenge says that only its number had expired (RFC 7616, 3.3).
fn stale(challenges: &str) -> bool {
    match PasswordClient::try_from(challenges) {
        Ok(PasswordClient::Digest(digest)) => digest.stale(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
