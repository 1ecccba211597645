//! What a viewer says, and what is answered.
//!
//! Invariant: what is not understood ends this viewer's connection and nothing else.

use std::sync::Arc;

use sightline_wire::{ClientMessage, ErrorCode, MAX_CLIENT_MESSAGE_LEN, ServerMessage, VERSIONS};
use tokio::time::Instant;
use tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::{
    super::{climb::Climb, socket, ws::Viewer},
    End, MAX_CODECS, MAX_ERROR_LEN, MAX_SUBSCRIPTIONS, Session, Subscription, cut, is_shown,
};
use crate::{
    hub::{self, Cursor, Epoch, unix_time_us},
    metrics::Limit,
};

impl Session {
    /// Answers all that was taken from the socket.
    pub(in super::super) fn hear_all(&mut self, viewer: &Arc<Viewer>) -> Result<(), End> {
        while let Some(message) = self.socket.hear() {
            self.hear(viewer, message)?;
        }
        Ok(())
    }

    fn hear(&mut self, viewer: &Arc<Viewer>, message: Result<Message, socket::Fault>) -> Result<(), End> {
        self.heard = Instant::now();
        match message {
            Ok(Message::Text(text)) => match serde_json::from_str(&text) {
                Ok(message) => self.answer(viewer, message),
                Err(error) => Err(End::bad_message(&format!("not a message of this protocol: {error}"))),
            },
            Ok(Message::Binary(_)) => Err(End::bad_message("binary messages only go to viewers")),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(()),
            Ok(Message::Close(_)) => Err(End::Left),
            Err(socket::Fault::Gone) => Err(End::Gone),
            Err(socket::Fault::Broken(error)) => {
                tracing::debug!(%error, "viewer's socket");
                let limit = format!(
                    "it breaks the WebSocket protocol or has more than {MAX_CLIENT_MESSAGE_LEN} bytes"
                );
                Err(End::bad_message(&limit))
            }
        }
    }

    fn answer(&mut self, viewer: &Arc<Viewer>, message: ClientMessage) -> Result<(), End> {
        match message {
            ClientMessage::Hello { version, codecs } => {
                if !VERSIONS.contains(&version) {
                    let reason = format!("version {version} is not spoken here; {VERSIONS:?} are");
                    let error = Some(ErrorCode::UnsupportedVersion);
                    return Err(End::Close { code: CloseCode::Protocol, reason, error });
                }
                if codecs.len() > MAX_CODECS {
                    return Err(End::bad_message(&format!("more than {MAX_CODECS} codecs")));
                }
                self.codecs = Some(codecs);
            }
            ClientMessage::Subscribe { stream, audio, max_height } => {
                self.subscribe(viewer, stream, audio, max_height);
            }
            ClientMessage::Quality { stream, max_height } => {
                let named = |s: &&mut Subscription| s.cursor.stream().name.as_str() == stream;
                if let Some(subscription) = self.subscriptions.iter_mut().find(named)
                    && let Some(climb) = &mut subscription.climb
                {
                    climb.show(max_height);
                    subscription.news = true;
                }
            }
            ClientMessage::Unsubscribe { stream } => {
                self.subscriptions.retain(|s| s.cursor.stream().name.as_str() != stream);
                match self.service.hub.get(&stream).map(|stream| stream.number) {
                    Some(number) => self.say(&ServerMessage::Unsubscribed { stream, number }),
                    None => self.unknown(&stream),
                }
            }
            ClientMessage::Ping { client_time_ms } => {
                self.say(&ServerMessage::Pong { client_time_ms, time_us: unix_time_us() });
            }
        }
        Ok(())
    }

    /// Subscribes, or begins anew where there is a subscription already.
    pub(in super::super) fn subscribe(
        &mut self,
        viewer: &Arc<Viewer>,
        name: String,
        audio: bool,
        max_height: Option<u32>,
    ) {
        let before = self.subscriptions.iter().position(|s| s.cursor.stream().name.as_str() == name);
        let before = before.and_then(|i| self.subscriptions.swap_remove(i).climb);
        let Some(stream) = self.service.hub.get(&name).cloned() else {
            return self.unknown(&name);
        };
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let message = format!("at most {MAX_SUBSCRIPTIONS} streams fit one connection");
            return self.refuse(name, message, false, Limit::SUBSCRIPTIONS);
        }
        let Some(admitted) = stream.admit() else {
            let message = format!("as many as may watch {name:?} do so already; it is tried again");
            return self.refuse(name, message, true, Limit::STREAM_VIEWERS);
        };
        self.say(&ServerMessage::Subscribed { stream: name, number: stream.number });
        let (climb, stream) = if stream.has_qualities() {
            let decodes = |epoch: &Epoch| is_shown(self.codecs.as_deref(), epoch);
            let (before, now) = (before.map(|climb| *climb), std::time::Instant::now());
            let (climb, stream) = Climb::new(&stream, max_height, before, decodes, now);
            (Some(Box::new(climb)), stream)
        } else {
            (None, stream)
        };
        self.switched(&stream);
        self.subscriptions.push(Subscription {
            climb,
            seat: self.service.crowds.join(&stream, viewer),
            cursor: Cursor::new(stream),
            news: true,
            audio,
            tracks: 0,
            history_until: None,
            _admitted: admitted,
        });
    }

    fn refuse(&mut self, stream: String, message: String, retryable: bool, limit: Limit) {
        self.service.metrics.refused.get_or_create(&limit).inc();
        self.say(&ServerMessage::Error {
            code: ErrorCode::TooMany,
            message,
            retryable,
            stream: Some(stream),
        });
    }

    fn unknown(&mut self, name: &str) {
        let name = cut(name, MAX_ERROR_LEN);
        let message = hub::unknown_stream(&name);
        let code = ErrorCode::UnknownStream;
        self.say(&ServerMessage::Error { code, message, retryable: false, stream: Some(name) });
    }
}
