//! Random bytes from the system.

/// As many hexadecimal digits.
pub(crate) fn hex(digits: usize) -> String {
    let mut bytes = vec![0; digits.div_ceil(2)];
    fill(&mut bytes);
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

fn fill(bytes: &mut [u8]) {
    let mut at = 0;
    while at < bytes.len() {
        let got = rustix::rand::getrandom(&mut bytes[at..], rustix::rand::GetRandomFlags::empty());
        match got {
            Ok(n) => at += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => unreachable!("the system has random bytes for everybody: {e}"),
        }
    }
}
