//! PURE: the name of a stream.

use std::fmt;
use std::str::FromStr;

/// A stream's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, not beginning with a dot. It stands in URLs, file names and metrics as
/// it is, so nothing in it ever needs escaping.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(String);

/// Why a text is no stream name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("a stream name must not be empty")]
    Empty,
    /// More than 64 characters.
    #[error("a stream name has at most 64 characters")]
    TooLong,
    /// Names with a dot in front are hidden files and `..`.
    #[error("a stream name must not begin with a dot")]
    LeadingDot,
    /// A character outside the set.
    #[error("a stream name consists of letters A-Z a-z, digits, dot, underscore and hyphen")]
    BadCharacter,
}

impl StreamName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        match text.as_bytes() {
            [] => Err(NameError::Empty),
            bytes if !bytes.iter().copied().all(allowed) => Err(NameError::BadCharacter),
            bytes if bytes.len() > 64 => Err(NameError::TooLong),
            [b'.', ..] => Err(NameError::LeadingDot),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths_as_they_are() {
        for good in ["gate", "cam-1", "A.b_c", "x", &"a".repeat(64)] {
            assert_eq!(good.parse::<StreamName>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", NameError::Empty),
            (".hidden", NameError::LeadingDot),
            ("..", NameError::LeadingDot),
            ("a/b", NameError::BadCharacter),
            ("a b", NameError::BadCharacter),
            ("a%00", NameError::BadCharacter),
            ("tür", NameError::BadCharacter),
            (&"a".repeat(65), NameError::TooLong),
        ] {
            assert_eq!(bad.parse::<StreamName>(), Err(why), "{bad}");
        }
    }
}
