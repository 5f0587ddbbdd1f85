//! How values are written.

/// A payload that is being written.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn kind(&mut self, kind: u8) {
        self.0.push(kind);
    }

    /// A length: 6 or 14 bits after two bits that say so, or 32 or 64 after a byte.
    pub(super) fn len(&mut self, len: u64) {
        match len {
            0..0x40 => self.0.push(len as u8),
            0x40..0x4000 => self.0.extend_from_slice(&(0x4000 | len as u16).to_be_bytes()),
            0x4000..=0xffff_ffff => {
                self.0.push(0x80);
                self.0.extend_from_slice(&(len as u32).to_be_bytes());
            }
            _ => {
                self.0.push(0x81);
                self.0.extend_from_slice(&len.to_be_bytes());
            }
        }
    }

    /// Bytes after their length; a small integer as one.
    pub(super) fn string(&mut self, bytes: &[u8]) {
        if bytes.len() <= 11
            && let Some(number) = weald_resp::parse_i64(bytes)
        {
            if let Ok(number) = i8::try_from(number) {
                self.0.push(0xc0);
                return self.0.extend_from_slice(&number.to_le_bytes());
            }
            if let Ok(number) = i16::try_from(number) {
                self.0.push(0xc1);
                return self.0.extend_from_slice(&number.to_le_bytes());
            }
            if let Ok(number) = i32::try_from(number) {
                self.0.push(0xc2);
                return self.0.extend_from_slice(&number.to_le_bytes());
            }
        }
        self.len(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn score(&mut self, score: f64) {
        self.0.extend_from_slice(&score.to_le_bytes());
    }
}
