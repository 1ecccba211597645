//! Writes flat JSON objects: our messages to the server and our notices to the page.
//!
//! A general serialiser brings float printing and string slicing with it, a fifth of the download; what is written
//! here are names, whole numbers, and times that three decimals are enough for.
//!
//! Invariant: what `finish` returns is valid JSON, whatever was put in.

mod read;

pub use read::Value;

use crate::prelude::*;

/// An object being written.
#[derive(Debug)]
pub struct Object(String);

impl Object {
    /// `{`
    pub fn new() -> Self {
        Self("{".into())
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        string(&mut self.0, name);
        self.0.push(':');
    }

    /// A field that is a string.
    #[must_use]
    pub fn str(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        string(&mut self.0, value);
        self
    }

    /// A field that is true or false.
    #[must_use]
    pub fn bool(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        self.0.push_str(if value { "true" } else { "false" });
        self
    }

    /// A field that is a whole number, or `null`.
    #[must_use]
    pub fn int(mut self, name: &str, value: impl Into<Option<i64>>) -> Self {
        self.name(name);
        match value.into() {
            Some(value) => whole(&mut self.0, value),
            None => self.0.push_str("null"),
        }
        self
    }

    /// A field that is a number, or `null`; to three decimals.
    #[must_use]
    pub fn num(mut self, name: &str, value: impl Into<Option<f64>>) -> Self {
        self.name(name);
        number(&mut self.0, value.into());
        self
    }

    /// A field that is a list of strings.
    #[must_use]
    pub fn list(mut self, name: &str, values: &[String]) -> Self {
        self.name(name);
        self.0.push('[');
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.0.push(',');
            }
            string(&mut self.0, value);
        }
        self.0.push(']');
        self
    }

    /// `}`
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

/// A number by itself.
pub fn number_text(value: f64) -> String {
    let mut out = String::new();
    number(&mut out, Some(value));
    out
}

fn number(out: &mut String, value: Option<f64>) {
    match value {
        Some(value) if value.abs() < 1e15 => {
            let thousandths = (value * 1e3 + 0.5_f64.copysign(value)) as i64;
            if thousandths < 0 {
                out.push('-');
            }
            digits(out, thousandths.unsigned_abs() / 1000, 1);
            out.push('.');
            digits(out, thousandths.unsigned_abs() % 1000, 3);
        }
        _ => out.push_str("null"),
    }
}

fn whole(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    digits(out, value.unsigned_abs(), 1);
}

/// At least so many, with zeros in front.
fn digits(out: &mut String, value: u64, least: u32) {
    if value >= 10 || least > 1 {
        digits(out, value / 10, least.saturating_sub(1));
    }
    out.push(char::from(b'0' + (value % 10) as u8));
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\0'..='\x1f' => {
                out.push_str(if c < '\x10' { "\\u000" } else { "\\u001" });
                out.extend(char::from_digit(c as u32 % 16, 16));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out_as_json(name: String, text: String, list: Vec<String>, int: i64, num: f64, on: bool) {
            let json = Object::new().str("s", &text).list("l", &list).int("i", int).num("n", num).bool(&name, on).finish();
            let value: Value = serde_json::from_str(&json).expect("valid JSON");
            if !["s", "l", "i", "n"].contains(&name.as_str()) {
                prop_assert_eq!(&value["s"], &Value::from(text));
                prop_assert_eq!(&value["l"], &Value::from(list));
                prop_assert_eq!(&value["i"], &Value::from(int));
                prop_assert_eq!(&value[&name], &Value::from(on));
            }
        }

        #[test]
        fn numbers_keep_three_decimals(num in -1e12f64..1e12) {
            let back: f64 = number_text(num).parse().expect("a number");
            prop_assert!((back - num).abs() <= 0.000_6 + num.abs() * 1e-15, "{} {}", num, back);
        }
    }

    #[test]
    fn what_is_no_number_is_null() {
        assert_eq!(
            Object::new().num("a", f64::NAN).num("b", None).int("c", None).finish(),
            r#"{"a":null,"b":null,"c":null}"#
        );
        assert_eq!(number_text(-0.25), "-0.250");
    }
}
