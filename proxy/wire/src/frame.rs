//! The head of the WebSocket frame around a binary message (RFC 6455, 5.2), for servers that send it without a library.

/// The longest head, in bytes.
pub const FRAME_HEAD_MAX: usize = 10;

/// FIN, and the opcode of binary data.
const BINARY: u8 = 0x82;

/// The head of the one frame of a binary message of `len` bytes, unmasked as a server's are; and how many of its bytes count.
pub fn frame_head(len: usize) -> ([u8; FRAME_HEAD_MAX], usize) {
    let mut head = [0; FRAME_HEAD_MAX];
    head[0] = BINARY;
    if len < 126 {
        head[1] = len as u8;
        (head, 2)
    } else if let Ok(len) = u16::try_from(len) {
        head[1] = 126;
        head[2..4].copy_from_slice(&len.to_be_bytes());
        (head, 4)
    } else {
        head[1] = 127;
        head[2..].copy_from_slice(&(len as u64).to_be_bytes());
        (head, FRAME_HEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_as_few_bytes_as_it_fits_in() {
        let head = |len| {
            let (head, used) = frame_head(len);
            head[..used].to_vec()
        };
        assert_eq!(head(0), [0x82, 0]);
        assert_eq!(head(125), [0x82, 125]);
        assert_eq!(head(126), [0x82, 126, 0, 126]);
        assert_eq!(head(65_535), [0x82, 126, 0xff, 0xff]);
        assert_eq!(head(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
