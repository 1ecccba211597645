//! The WebSocket. It opens, sends, receives and closes; when to do so is the session's matter.
//!
//! Invariant: after a drop no callback of the old socket is called.

use js_sys::{ArrayBuffer, Uint8Array};
use sightline_wire::{HEADER_LEN, Header, HeaderError};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

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
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl Transport {
    /// Opens a connection. `tell` is called for everything that happens on it.
    pub(crate) fn open(url: &str, tell: impl Fn(Message) + Clone + 'static) -> Result<Self, JsValue> {
        let socket = WebSocket::new(url)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let told = tell.clone();
        let on_open = Closure::<dyn FnMut()>::new(move || told(Message::Open));
        let told = tell.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            let data = event.data();
            told(match data.dyn_ref::<ArrayBuffer>() {
                Some(buffer) => fragment(buffer),
                None => data.as_string().map_or(Message::Unreadable, Message::Text),
            });
        });
        let on_close = Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| {
            tell(Message::Closed(event.code()));
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Ok(Self { socket, _on_open: on_open, _on_message: on_message, _on_close: on_close })
    }

    /// Sends a text message. A socket that is closing takes nothing; its close event follows.
    pub(crate) fn send(&self, text: &str) {
        let _ = self.socket.send_with_str(text);
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close();
    }
}

/// Copies the header's bytes and leaves the payload where it is.
fn fragment(buffer: &ArrayBuffer) -> Message {
    let len = buffer.byte_length();
    let mut bytes = [0; HEADER_LEN];
    if len < HEADER_LEN as u32 {
        return Message::Unreadable;
    }
    Uint8Array::new_with_byte_offset_and_length(buffer, 0, HEADER_LEN as u32).copy_to(&mut bytes);
    match Header::decode(&bytes) {
        Ok((header, begins)) if begins as u32 <= len => {
            Message::Fragment(Box::new(header), Uint8Array::new_with_byte_offset(buffer, begins as u32))
        }
        Ok(_) | Err(HeaderError::Short { .. } | HeaderError::UnknownKind(_)) => Message::Unreadable,
    }
}
