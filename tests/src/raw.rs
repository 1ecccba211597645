//! A WebSocket without a library: for bytes that a library would not send, and for noting when a byte arrives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use crate::{proxy::Proxy, wait};

const BINARY: u8 = 2;
const PING: u8 = 9;

/// An upgraded connection that watches a stream, with a receive buffer of so many bytes.
pub fn connect(proxy: &Proxy, stream: &str, receive_buffer: Option<usize>) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let address: SocketAddr = proxy.authority().parse()?;
    socket.connect(&address.into())?;
    let mut connection = TcpStream::from(socket);
    connection.set_read_timeout(Some(wait::PATIENCE))?;
    connection.set_nodelay(true)?;
    write!(
        connection,
        "GET /ws?stream={stream} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let mut head = [0; 12];
    connection.read_exact(&mut head)?;
    ensure!(&head == b"HTTP/1.1 101", "{}", String::from_utf8_lossy(&head));
    Ok(connection)
}

/// Reads frames behind [`connect`]'s answer and answers pings.
#[derive(Debug)]
pub struct Frames {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Frames {
    /// Reads what is left of the upgrade's answer.
    pub fn new(connection: TcpStream) -> Result<Self> {
        let output = connection.try_clone()?;
        let mut input = BufReader::with_capacity(256 * 1024, connection);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            ensure!(input.read_line(&mut line)? > 0, "the connection ended in the answer's head");
        }
        Ok(Self { input, output })
    }

    /// The next binary message; it is returned as soon as its last byte has been read.
    pub fn next_binary(&mut self) -> Result<Vec<u8>> {
        loop {
            let [first, second] = self.array()?;
            let length = match second & 0x7f {
                126 => u64::from(u16::from_be_bytes(self.array()?)),
                127 => u64::from_be_bytes(self.array()?),
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).context("a frame too long for this machine")?];
            self.input.read_exact(&mut payload)?;
            match first & 0x0f {
                BINARY => return Ok(payload),
                PING => {
                    // Masked, as a client must, with zeros: the payload stays as it is.
                    let mut pong = vec![0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0];
                    pong.extend(payload);
                    self.output.write_all(&pong)?;
                }
                _ => {}
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
