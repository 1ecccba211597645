//! Reads JSON text (RFC 8259): the server's messages.
//!
//! A reader that is derived for each message is several times the size of this one, and all of it is downloaded by
//! every viewer.
//!
//! Invariant: what is taken is what a complete reader takes, and no depth of nesting exhausts the stack.

use crate::prelude::*;

/// Objects and lists in one another at most. Our messages have three.
const MAX_DEPTH: u32 = 16;

/// Any JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction and exponent.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// An object: names and values in their order.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Reads `text`, which is one value and nothing else. `None` when it is no JSON.
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(MAX_DEPTH)?;
        (reader.next() == 0).then_some(value)
    }

    /// The field called `name`; `None` when there is none, when it is `null`, and when this is no object.
    pub fn field(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value)
            .filter(|&value| *value != Self::Null)
    }

    /// The field `name`, which is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        if let Self::Text(text) = self.field(name)? { Some(text.clone()) } else { None }
    }

    /// The field `name`, which is `true` or `false`.
    pub fn bool(&self, name: &str) -> Option<bool> {
        if let Self::Bool(on) = self.field(name)? { Some(*on) } else { None }
    }

    /// The field `name`, which is a list.
    pub fn list(&self, name: &str) -> Option<&[Self]> {
        if let Self::List(values) = self.field(name)? { Some(values) } else { None }
    }

    /// The field `name`, which is a whole number that fits.
    pub fn int<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        self.field(name)?.as_int().and_then(|int| int.try_into().ok())
    }

    /// The field `name`, which is a number.
    pub fn num(&self, name: &str) -> Option<f64> {
        match *self.field(name)? {
            Self::Int(int) => Some(int as f64),
            Self::Float(float) => Some(float),
            _ => None,
        }
    }

    /// A whole number.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(int) = *self { Some(int) } else { None }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    /// The byte that is next; 0 at the end, as for the character that JSON has nowhere.
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Steps over white space; what is next then.
    fn next(&mut self) -> u8 {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.peek()
    }

    /// Steps over `byte` if it is next.
    fn takes(&mut self, byte: u8) -> bool {
        let is = self.peek() == byte;
        self.at += usize::from(is);
        is
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        let is = self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes());
        self.at += word.len();
        is.then_some(value)
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        match self.next() {
            b'{' => {
                let mut fields = Vec::new();
                self.items(depth, b'}', |reader, depth| {
                    let name = if reader.next() == b'"' { reader.string()? } else { return None };
                    reader.next();
                    let value = if reader.takes(b':') { reader.value(depth)? } else { return None };
                    fields.push((name, value));
                    Some(())
                })?;
                Some(Value::Object(fields))
            }
            b'[' => {
                let mut values = Vec::new();
                self.items(depth, b']', |reader, depth| {
                    values.push(reader.value(depth)?);
                    Some(())
                })?;
                Some(Value::List(values))
            }
            b'"' => self.string().map(Value::Text),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    /// What stands between an opening bracket and `end`, one by one.
    fn items(
        &mut self,
        depth: u32,
        end: u8,
        mut item: impl FnMut(&mut Self, u32) -> Option<()>,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.at += 1;
        if self.next() != end {
            loop {
                item(self, depth)?;
                self.next();
                if !self.takes(b',') {
                    break;
                }
            }
        }
        self.takes(end).then_some(())
    }

    /// From one quotation mark to the other.
    fn string(&mut self) -> Option<String> {
        let mut out = String::new();
        self.at += 1;
        loop {
            let begins = self.at;
            while !matches!(self.peek(), b'"' | b'\\' | 0..=0x1f) {
                self.at += 1;
            }
            out.push_str(self.text.get(begins..self.at)?);
            if self.takes(b'"') {
                return Some(out);
            }
            if !self.takes(b'\\') {
                return None;
            }
            let escaped = self.peek();
            self.at += 1;
            out.push(match escaped {
                b'"' | b'\\' | b'/' => char::from(escaped),
                b'b' => '\x08',
                b'f' => '\x0c',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.code_point()?,
                _ => return None,
            });
        }
    }

    /// What four digits stand for, or two times four (section 7: a surrogate pair).
    fn code_point(&mut self) -> Option<char> {
        let high = self.hex()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high);
        }
        let low = if self.takes(b'\\') && self.takes(b'u') { self.hex()? } else { return None };
        let low = low.checked_sub(0xdc00).filter(|&low| low < 0x400)?;
        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + low)
    }

    fn hex(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            value = value * 16 + char::from(self.peek()).to_digit(16)?;
            self.at += 1;
        }
        Some(value)
    }

    /// The digits that come next, appended to those in `value`; how many. There has to be one.
    fn digits(&mut self, value: &mut Number) -> Option<i32> {
        let begins = self.at;
        while let digit @ 0..=9 = self.peek().wrapping_sub(b'0') {
            value.float = value.float * 10.0 + f64::from(digit);
            value.int = value.int.and_then(|int| int.checked_mul(10)?.checked_sub(i64::from(digit)));
            self.at += 1;
        }
        i32::try_from(self.at - begins).ok().filter(|&count| count > 0)
    }

    fn number(&mut self) -> Option<Value> {
        let minus = self.takes(b'-');
        let begins_with_zero = self.peek() == b'0';
        let mut number = Number { float: 0.0, int: Some(0) };
        if self.digits(&mut number)? > 1 && begins_with_zero {
            return None;
        }
        // Gathered below zero, where there is room for one more.
        let mut int = if minus { number.int } else { number.int.and_then(i64::checked_neg) };
        let mut exponent = 0;
        if self.takes(b'.') {
            exponent = -self.digits(&mut number)?;
            int = None;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            let below = self.takes(b'-');
            if !below {
                self.takes(b'+');
            }
            let mut more = Number { float: 0.0, int: Some(0) };
            self.digits(&mut more)?;
            // Whatever lies beyond is 0 or no number.
            let more = more.float.min(1e3) as i32;
            exponent += if below { -more } else { more };
            int = None;
        }
        // -0 is a number of its own.
        if let Some(int) = int.filter(|&int| int != 0 || !minus) {
            return Some(Value::Int(int));
        }
        let mut scale = 1.0;
        for _ in 0..exponent.abs().min(400) {
            scale *= 10.0;
        }
        let size = if exponent < 0 { number.float / scale } else { number.float * scale };
        size.is_finite().then_some(Value::Float(if minus { -size } else { size }))
    }
}

/// Digits as a number; of `int`, the number below zero, as long as it fits.
struct Number {
    float: f64,
    int: Option<i64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
        match (ours, theirs) {
            (Value::Null, serde_json::Value::Null) => true,
            (Value::Bool(a), serde_json::Value::Bool(b)) => a == b,
            (Value::Int(a), serde_json::Value::Number(b)) => b.as_i64() == Some(*a),
            (Value::Float(a), serde_json::Value::Number(b)) => {
                let b = b.as_f64().unwrap_or(f64::NAN);
                (a - b).abs() <= b.abs() * 1e-13 + f64::MIN_POSITIVE
            }
            (Value::Text(a), serde_json::Value::String(b)) => a == b,
            (Value::List(a), serde_json::Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Object(a), serde_json::Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
            }
            _ => false,
        }
    }

    fn anything() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1e12f64..1e12).prop_map(Into::into),
            (-1e200f64..1e200).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_a_complete_writer_writes_is_read(value in anything(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("serialises");
            let read = Value::parse(&text);
            prop_assert!(read.as_ref().is_some_and(|read| same(read, &value)), "{} {:?}", text, read);
        }

        #[test]
        fn what_a_complete_reader_refuses_is_refused(text in r#"[\[\]{}",:019eE.+ \\untrefalsd-]{0,12}"#) {
            if let Some(read) = Value::parse(&text) {
                let theirs = serde_json::from_str::<serde_json::Value>(&text)
                    .map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
                // Two fields of one name are both kept here.
                prop_assert!(same(&read, &theirs) || text.contains('{'), "{} {:?}", text, read);
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = Value::parse(&text);
        }
    }

    #[test]
    fn numbers_are_exact_as_far_as_they_are_used() {
        for text in ["1234567.891", "0.001", "-0.5", "1e3", "-1.5E-2", "1751234567890123.5", "-0"] {
            let expected: f64 = text.parse().expect("a number");
            assert_eq!(Value::parse(text), Some(Value::Float(expected)), "{text}");
        }
        for int in [0, -1, 1_764_034_772_123_456, i64::MAX, i64::MIN] {
            assert_eq!(Value::parse(&int.to_string()), Some(Value::Int(int)));
        }
        assert!(matches!(Value::parse("9223372036854775808"), Some(Value::Float(_))));
        for text in ["01", "-", "1.", ".5", "1e", "+1", "1e999", "0x1", "1 2", ""] {
            assert_eq!(Value::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_escape_is_read_and_half_a_pair_is_not() {
        let text = r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 é""#;
        assert_eq!(Value::parse(text), Some(Value::Text("\"\\/\u{8}\u{c}\n\r\té\u{1f600} é".into())));
        for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\x""#, "\"\n\"", r#""\"#, r#"""#]
        {
            assert_eq!(Value::parse(text), None, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Value::parse(&("[".repeat(16) + &"]".repeat(16))).is_some());
        assert_eq!(Value::parse(&"[".repeat(1_000_000)), None);
    }

    #[test]
    fn fields_are_told_apart_by_their_kind() {
        let value = json!({"t": "x", "b": true, "n": 5, "f": 1.5, "l": [1], "0": null}).to_string();
        let value = Value::parse(&value).expect("reads");
        assert_eq!(value.text("t").as_deref(), Some("x"));
        assert_eq!(value.bool("b"), Some(true));
        assert_eq!((value.int::<u8>("n"), value.num("n")), (Some(5), Some(5.0)));
        assert_eq!((value.int::<u8>("f"), value.num("f")), (None, Some(1.5)));
        assert_eq!(value.list("l").map(<[_]>::len), Some(1));
        assert_eq!((value.field("0"), value.text("n"), value.text("none")), (None, None, None));
    }
}
