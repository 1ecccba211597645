//! The WebSocket. It opens, sends, receives and closes; when to do so is the session's matter.
//!
//! Invariant: after a drop no callback of the old socket is called.

use sightline_wire::{HEADER_LEN, Header};
use wasm_bindgen::prelude::*;

use crate::browser::{Callback, Listener, SocketEvent, Uint8Array, WebSocket, read};
use crate::prelude::*;

/// What the socket tells.
pub(crate) enum Message {
    Open,
    Closed(u16),
    Text(String),
    Fragment(Box<Header>, Uint8Array),
    Unreadable,
}

/// One connection.
pub(crate) struct Transport {
    socket: WebSocket,
    _listener: Listener,
}

impl Transport {
    /// Opens a connection. `tell` is called for everything that happens on it.
    pub(crate) fn open(url: &str, tell: impl Fn(Message) + 'static) -> Result<Self, JsValue> {
        let socket = WebSocket::new(url)?;
        socket.set_binary_type("arraybuffer");
        let callback = Callback::new(move |event: JsValue| tell(message(event.unchecked_ref())));
        let listener = Listener::new(&socket, &["open", "message", "close"], callback);
        Ok(Self { socket, _listener: listener })
    }

    /// Sends a text message. A socket that is closing takes nothing; its close event follows.
    pub(crate) fn send(&self, text: &str) {
        let _ = self.socket.send(text);
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.socket.close();
    }
}

/// What an event means: only that of an end has a code, and only that of a message has data.
fn message(event: &SocketEvent) -> Message {
    if let Some(code) = event.code() {
        return Message::Closed(code);
    }
    let data = event.data();
    if data.is_undefined() {
        return Message::Open;
    }
    data.as_string().map_or_else(|| fragment(&Uint8Array::new(&data)), Message::Text)
}

/// Copies the header's bytes and leaves the payload where it is.
fn fragment(message: &Uint8Array) -> Message {
    let len = message.length();
    let mut bytes = [0; HEADER_LEN];
    if len < HEADER_LEN as u32 {
        return Message::Unreadable;
    }
    read(&mut bytes, &message.subarray(0, HEADER_LEN as u32));
    match Header::decode(&bytes) {
        Ok((header, begins)) if begins as u32 <= len => {
            Message::Fragment(Box::new(header), message.subarray(begins as u32, len))
        }
        _ => Message::Unreadable,
    }
}
