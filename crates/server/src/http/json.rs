//! JSON, written as it comes.

use weald_resp::Frame;

use crate::http::encoding::base64;

/// A text of JSON that grows. Bytes that are no UTF-8 are `{"base64": "…"}`.
#[derive(Default)]
pub(super) struct Json {
    text: String,
}

impl Json {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    /// A comma, unless this is the first in its object or array, or what belongs to a name.
    fn separate(&mut self) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(',');
        }
    }

    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Json)) {
        self.separate();
        self.text.push('{');
        fill(self);
        self.text.push('}');
    }

    pub(super) fn array(&mut self, fill: impl FnOnce(&mut Json)) {
        self.separate();
        self.text.push('[');
        fill(self);
        self.text.push(']');
    }

    pub(super) fn name(&mut self, name: &str) -> &mut Json {
        self.text(name);
        self.text.push(':');
        self
    }

    pub(super) fn object_at(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.name(name).object(fill);
    }

    pub(super) fn array_at(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        self.name(name).array(fill);
    }

    pub(super) fn text_at(&mut self, name: &str, text: &str) {
        self.name(name).text(text);
    }

    pub(super) fn number_at(&mut self, name: &str, number: impl Into<i128>) {
        self.name(name).raw(&number.into().to_string());
    }

    pub(super) fn raw(&mut self, raw: &str) {
        self.separate();
        self.text.push_str(raw);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.separate();
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                '\n' => self.text.push_str("\\n"),
                // Neither markup nor the line ends of scripts, wherever this is put.
                c if c.is_control() || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                    self.text.push_str(&format!("\\u{:04x}", c as u32));
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(text),
            Err(_) => self.object(|json| json.text_at("base64", &base64(bytes))),
        }
    }

    /// A reply of the server. A map is an object where its keys are texts, and an array of pairs otherwise.
    pub(super) fn frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Null => self.raw("null"),
            Frame::Integer(number) => self.raw(&number.to_string()),
            Frame::Boolean(yes) => self.raw(if *yes { "true" } else { "false" }),
            Frame::Double(number) if number.is_finite() => self.raw(&number.to_string()),
            Frame::Double(number) => self.text(&number.to_string()),
            Frame::Array(frames) | Frame::Set(frames) | Frame::Push(frames) => {
                self.array(|json| frames.iter().for_each(|frame| json.frame(frame)));
            }
            Frame::Map(pairs) => {
                let name = |frame: &Frame| {
                    let bytes = frame.as_bytes()?.to_vec();
                    String::from_utf8(bytes).ok()
                };
                let names: Option<Vec<String>> = pairs.iter().map(|(key, _)| name(key)).collect();
                match names {
                    Some(names) => self.object(|json| {
                        for (name, (_, value)) in names.iter().zip(pairs) {
                            json.name(name).frame(value);
                        }
                    }),
                    None => self.array(|json| {
                        for (key, value) in pairs {
                            json.array(|json| {
                                json.frame(key);
                                json.frame(value);
                            });
                        }
                    }),
                }
            }
            frame => self.bytes(frame.as_bytes().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_bytes_are_base64() {
        let mut json = Json::default();
        json.array(|json| {
            json.text("a\"\\\n\u{1}</script>\u{2028}é");
            json.bytes(b"\xff");
            json.frame(&Frame::Map(vec![(
                Frame::Bulk(b"k".to_vec()),
                Frame::Double(f64::INFINITY),
            )]));
            json.frame(&Frame::Map(vec![(Frame::Bulk(vec![0xff]), Frame::Null)]));
        });
        assert_eq!(
            String::from_utf8(json.into_bytes()).expect("it is text"),
            r#"["a\"\\\n\u0001\u003c/script\u003e\u2028é",{"base64":"/w=="},{"k":"inf"},[[{"base64":"/w=="},null]]]"#
        );
    }
}
