//! PURE: AMF0 values from a peer (Adobe's AMF0 specification), bounded in depth, count and bytes.

/// Values inside values.
pub const MAX_DEPTH: usize = 16;

/// Values of one message, those inside others counted. ffmpeg's `onMetaData` has about twenty.
pub const MAX_VALUES: usize = 1024;

/// Bytes of one message.
pub const MAX_LEN: usize = 64 << 10;

/// A value. What this program has no use for (dates, XML, references …) is read over and becomes `Other`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A truth value.
    Boolean(bool),
    /// A text.
    Text(String),
    /// An object or an ECMA array, in the order it was sent.
    Object(Vec<(String, Value)>),
    /// A strict array.
    Array(Vec<Value>),
    /// Null or undefined.
    Null,
    /// Anything else.
    Other,
}

impl Value {
    /// The text, where it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, where it is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The property of this name, where it is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(properties) = self else { return None };
        properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Why a peer's values cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AMF0 at byte {position}: {fault}")]
pub struct Error {
    /// Where the value begins that cannot be read.
    pub position: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More than [`MAX_LEN`].
    #[error("{0} bytes; at most {MAX_LEN} are read")]
    Length(usize),
    /// More than [`MAX_DEPTH`].
    #[error("objects and arrays more than {MAX_DEPTH} deep")]
    Depth,
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    Values,
    /// It ends in the middle of a value.
    #[error("the value is cut off")]
    CutOff,
    /// A marker that no value begins with.
    #[error("no value begins with {0:#04x}")]
    Marker(u8),
}

/// Reads all values in `bytes`.
pub fn read(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    if bytes.len() > MAX_LEN {
        return Err(Error { position: 0, fault: Fault::Length(bytes.len()) });
    }
    let mut reader = Reader { bytes, position: 0, values: 0 };
    let mut values = Vec::new();
    while !reader.at_end() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    values: usize,
}

impl Reader<'_> {
    fn at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    /// The next value, inside `depth` others. Calls itself no deeper than [`MAX_DEPTH`].
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        let start = self.position;
        let error = |fault| Error { position: start, fault };
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(error(Fault::Values));
        }
        let [marker] = self.array(start)?;
        if matches!(marker, 0x03 | 0x08 | 0x0a | 0x10) && depth == MAX_DEPTH {
            return Err(error(Fault::Depth));
        }
        Ok(match marker {
            0x00 => Value::Number(f64::from_be_bytes(self.array(start)?)),
            0x01 => Value::Boolean(self.array::<1>(start)? != [0]),
            0x02 => Value::Text(self.text(start)?),
            0x03 => self.properties(depth)?,
            0x05 | 0x06 => Value::Null,
            // An ECMA array. Its count is 0 or wrong with many encoders; the end marker tells.
            0x08 => {
                self.skip(4, start)?;
                self.properties(depth)?
            }
            0x0a => {
                let count = u32::from_be_bytes(self.array(start)?);
                let mut elements = Vec::new();
                for _ in 0..count {
                    elements.push(self.value(depth + 1)?);
                }
                Value::Array(elements)
            }
            0x0c => Value::Text(self.long_text(start)?),
            // A typed object: the name of its class, then as an object.
            0x10 => {
                self.text(start)?;
                self.properties(depth)?
            }
            // A reference to an object before it; a date and its time zone; "unsupported"; an XML document.
            0x07 => self.other(2, start)?,
            0x0b => self.other(10, start)?,
            0x0d => Value::Other,
            0x0f => {
                self.long_text(start)?;
                Value::Other
            }
            // AMF3 from here on, in which nothing is sent that we ask for.
            0x11 => {
                self.position = self.bytes.len();
                Value::Other
            }
            _ => return Err(error(Fault::Marker(marker))),
        })
    }

    /// Names and values up to the end marker. It may be missing where the message ends: some encoders' ECMA arrays have
    /// none, and SRS takes objects without it as well.
    fn properties(&mut self, depth: usize) -> Result<Value, Error> {
        let mut properties = Vec::new();
        while !self.at_end() {
            let start = self.position;
            let name = self.text(start)?;
            if name.is_empty() && self.bytes.get(self.position) == Some(&0x09) {
                self.position += 1;
                break;
            }
            properties.push((name, self.value(depth + 1)?));
        }
        Ok(Value::Object(properties))
    }

    fn other(&mut self, len: usize, start: usize) -> Result<Value, Error> {
        self.skip(len, start)?;
        Ok(Value::Other)
    }

    fn text(&mut self, start: usize) -> Result<String, Error> {
        let len = u16::from_be_bytes(self.array(start)?);
        self.utf8(len.into(), start)
    }

    fn long_text(&mut self, start: usize) -> Result<String, Error> {
        let len = u32::from_be_bytes(self.array(start)?);
        self.utf8(len as usize, start)
    }

    /// Encoders on Windows send names in the code page of their country.
    fn utf8(&mut self, len: usize, start: usize) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.skip(len, start)?).into_owned())
    }

    fn array<const N: usize>(&mut self, start: usize) -> Result<[u8; N], Error> {
        let bytes = self.skip(N, start)?;
        bytes.first_chunk().copied().ok_or(Error { position: start, fault: Fault::CutOff })
    }

    /// The next `len` bytes, of the value that begins at `start`.
    fn skip(&mut self, len: usize, start: usize) -> Result<&[u8], Error> {
        let rest = &self.bytes[self.position..];
        let bytes = rest.get(..len).ok_or(Error { position: start, fault: Fault::CutOff })?;
        self.position += len;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rml_rtmp::rml_amf0::{self, Amf0Value};

    fn fault(bytes: &[u8]) -> (usize, Fault) {
        let error = read(bytes).expect_err("it cannot be read");
        (error.position, error.fault)
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    /// What `rml_amf0` writes, and what is to be read. No NaN: it is not equal to itself.
    fn any_value() -> impl Strategy<Value = Amf0Value> {
        let leaf = prop_oneof![
            prop::num::f64::NORMAL.prop_map(Amf0Value::Number),
            any::<bool>().prop_map(Amf0Value::Boolean),
            ".{0,20}".prop_map(Amf0Value::Utf8String),
            Just(Amf0Value::Null),
            Just(Amf0Value::Undefined),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                prop::collection::hash_map(".{1,8}", inner.clone(), 0..6).prop_map(Amf0Value::Object),
                prop::collection::vec(inner, 0..6).prop_map(Amf0Value::StrictArray),
            ]
        })
    }

    fn same(read: &Value, written: &Amf0Value) -> bool {
        match (read, written) {
            (Value::Number(read), Amf0Value::Number(written)) => read.to_bits() == written.to_bits(),
            (Value::Boolean(read), Amf0Value::Boolean(written)) => read == written,
            (Value::Text(read), Amf0Value::Utf8String(written)) => read == written,
            (Value::Null, Amf0Value::Null | Amf0Value::Undefined) => true,
            (Value::Object(read), Amf0Value::Object(written)) => {
                read.len() == written.len()
                    && read
                        .iter()
                        .all(|(name, value)| written.get(name).is_some_and(|other| same(value, other)))
            }
            (Value::Array(read), Amf0Value::StrictArray(written)) => {
                read.len() == written.len() && read.iter().zip(written).all(|(a, b)| same(a, b))
            }
            _ => false,
        }
    }

    fn count(value: &Value) -> usize {
        match value {
            Value::Object(properties) => 1 + properties.iter().map(|(_, value)| count(value)).sum::<usize>(),
            Value::Array(elements) => 1 + elements.iter().map(count).sum::<usize>(),
            _ => 1,
        }
    }

    proptest! {
        #[test]
        fn what_rml_amf0_writes_comes_back(values in prop::collection::vec(any_value(), 0..6)) {
            let read = read(&rml_amf0::serialize(&values).expect("short texts")).expect("legal");
            prop_assert_eq!(read.len(), values.len());
            prop_assert!(read.iter().zip(&values).all(|(a, b)| same(a, b)), "{:?} of {:?}", read, values);
        }

        #[test]
        fn no_bytes_panic_and_what_is_read_is_bounded(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..3000),
                prop::collection::vec(0u8..=0x12, 0..3000),
            ],
        ) {
            match read(&bytes) {
                Ok(values) => prop_assert!(values.iter().map(count).sum::<usize>() <= MAX_VALUES),
                Err(error) => prop_assert!(error.position <= bytes.len()),
            }
        }

        #[test]
        fn what_is_cut_off_says_so_at_the_value_that_is(values in prop::collection::vec(any_value(), 1..4), at: prop::sample::Index) {
            let bytes = rml_amf0::serialize(&values).expect("short texts");
            let at = at.index(bytes.len());
            match read(&bytes[..at]) {
                Ok(read) => prop_assert!(read.len() <= values.len()),
                Err(error) => {
                    prop_assert_eq!(error.fault, Fault::CutOff);
                    prop_assert!(error.position <= at);
                }
            }
        }
    }

    #[test]
    fn every_kind_of_value_is_read_and_what_follows_it_too() {
        let kinds: [(&[u8], Value); 15] = [
            (&[0x00, 0x40, 0, 0, 0, 0, 0, 0, 0], Value::Number(2.0)),
            (&[0x01, 1], Value::Boolean(true)),
            (&[0x01, 0], Value::Boolean(false)),
            (&[0x02, 0, 2, b'h', b'i'], text("hi")),
            (&[0x03, 0, 1, b'a', 0x05, 0, 0, 0x09], Value::Object(vec![("a".to_owned(), Value::Null)])),
            (&[0x05], Value::Null),
            (&[0x06], Value::Null),
            (&[0x07, 0, 1], Value::Other),
            (
                &[0x08, 0xff, 0xff, 0xff, 0xff, 0, 1, b'a', 0x05, 0, 0, 0x09],
                Value::Object(vec![("a".to_owned(), Value::Null)]),
            ),
            (&[0x0a, 0, 0, 0, 2, 0x05, 0x01, 1], Value::Array(vec![Value::Null, Value::Boolean(true)])),
            (&[0x0b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Value::Other),
            (&[0x0c, 0, 0, 0, 2, b'h', b'i'], text("hi")),
            (&[0x0d], Value::Other),
            (&[0x0f, 0, 0, 0, 2, b'h', b'i'], Value::Other),
            (
                &[0x10, 0, 1, b'C', 0, 1, b'a', 0x05, 0, 0, 0x09],
                Value::Object(vec![("a".to_owned(), Value::Null)]),
            ),
        ];
        for (bytes, value) in kinds {
            let bytes = [bytes, &[0x02, 0, 1, b'x']].concat();
            assert_eq!(read(&bytes), Ok(vec![value, text("x")]), "{bytes:x?}");
        }
    }

    #[test]
    fn an_object_at_the_end_may_lack_its_end_marker() {
        let bytes = [0x02, 0, 1, b'x', 0x08, 0, 0, 0, 1, 0, 1, b'a', 0x05];
        assert_eq!(read(&bytes), Ok(vec![text("x"), Value::Object(vec![("a".to_owned(), Value::Null)])]));
        // Half a marker is none.
        assert_eq!(fault(&[&bytes[..], &[0, 0]].concat()), (15, Fault::CutOff));
        assert_eq!(fault(&[&bytes[..], &[0]].concat()), (13, Fault::CutOff));
    }

    #[test]
    fn a_name_may_be_empty() {
        let bytes = [0x03, 0, 0, 0x05, 0, 0, 0x09];
        assert_eq!(read(&bytes), Ok(vec![Value::Object(vec![(String::new(), Value::Null)])]));
    }

    #[test]
    fn text_that_is_not_utf_8_is_read_as_well_as_it_can_be() {
        assert_eq!(read(&[0x02, 0, 3, b'a', 0xe9, b'b']), Ok(vec![text("a\u{fffd}b")]));
    }

    #[test]
    fn amf3_ends_what_can_be_read() {
        let bytes = [0x05, 0x03, 0, 1, b'a', 0x11, 0xff, 0xff, 0x02];
        let object = Value::Object(vec![("a".to_owned(), Value::Other)]);
        assert_eq!(read(&bytes), Ok(vec![Value::Null, object]));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize, begin: &[u8]| [begin.repeat(depth), vec![0x05]].concat();
        for begin in [
            &[0x0a, 0, 0, 0, 1][..],
            &[0x03, 0, 1, b'a'],
            &[0x08, 0, 0, 0, 1, 0, 1, b'a'],
            &[0x10, 0, 0, 0, 1, b'a'],
        ] {
            assert_eq!(read(&nested(MAX_DEPTH, begin)).map(|values| values.len()), Ok(1));
            assert_eq!(fault(&nested(MAX_DEPTH + 1, begin)), (MAX_DEPTH * begin.len(), Fault::Depth));
            assert_eq!(fault(&nested(5000, begin)).1, Fault::Depth);
        }
    }

    #[test]
    fn values_are_counted_inside_others_too() {
        assert_eq!(read(&[0x05; MAX_VALUES]).map(|values| values.len()), Ok(MAX_VALUES));
        assert_eq!(fault(&[0x05; MAX_VALUES + 1]), (MAX_VALUES, Fault::Values));
        let array = [&[0x0a, 0xff, 0xff, 0xff, 0xff][..], &[0x05; MAX_VALUES]].concat();
        assert_eq!(fault(&array), (MAX_VALUES + 4, Fault::Values));
    }

    #[test]
    fn a_claimed_count_or_length_takes_no_memory() {
        assert_eq!(fault(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x05]), (6, Fault::CutOff));
        assert_eq!(fault(&[0x05, 0x0c, 0xff, 0xff, 0xff, 0xff]), (1, Fault::CutOff));
        assert_eq!(fault(&vec![0x05; MAX_LEN + 1]), (0, Fault::Length(MAX_LEN + 1)));
    }

    #[test]
    fn an_error_names_the_byte() {
        assert_eq!(fault(&[0x05, 0x04]), (1, Fault::Marker(0x04)));
        assert_eq!(fault(&[0x03, 0, 1, b'a', 0x09]), (4, Fault::Marker(0x09)), "the end of a property");
        let error = read(&[0x05, 0x09]).expect_err("no value");
        assert_eq!(error.to_string(), "AMF0 at byte 1: no value begins with 0x09");
    }
}
